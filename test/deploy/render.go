// Renders a template of a Helm chart as Helm does, with those of its functions that deploy/helm uses: helm itself needs
// more than the standard library. The values come as JSON by standard input.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"text/template"
)

func sum(numbers ...any) int {
	total := 0
	for _, number := range numbers {
		total += whole(number)
	}
	return total
}

func product(numbers ...any) int {
	total := 1
	for _, number := range numbers {
		total *= whole(number)
	}
	return total
}

func whole(number any) int {
	switch n := number.(type) {
	case int:
		return n
	case float64:
		return int(n)
	}
	panic(fmt.Sprintf("%v is no number", number))
}

func main() {
	var values any
	if err := json.NewDecoder(os.Stdin).Decode(&values); err != nil {
		panic(err)
	}
	functions := template.FuncMap{
		"add":   sum,
		"mul":   product,
		"list":  func(items ...any) []any { return items },
		"quote": func(text any) string { return fmt.Sprintf("%q", fmt.Sprint(text)) },
	}
	name := os.Args[1]
	text, err := os.ReadFile(name)
	if err != nil {
		panic(err)
	}
	// A value that is not there is an error here; Helm would write <no value>.
	parsed := template.Must(template.New(name).Option("missingkey=error").Funcs(functions).Parse(string(text)))
	if err := parsed.Execute(os.Stdout, values); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
