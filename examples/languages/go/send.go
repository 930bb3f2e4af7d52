// Sends a message to all pages of a user: TIDINGS_ADMIN_TOKEN=… go run send.go USER JSON [KEY]
package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"
)

var client = http.Client{Timeout: 12 * time.Second}

// Returns the receipt. With the same key again nothing is stored twice, so it is safe to ask again.
func send(server, token, user string, data json.RawMessage, key string) (receipt string, problem error) {
	address := server + "/api/users/" + url.PathEscape(user) + "/messages"
	for attempt := 1; attempt <= 3; attempt++ {
		if attempt > 1 {
			time.Sleep(time.Duration(attempt) * time.Second)
		}
		request, err := http.NewRequest("POST", address, bytes.NewReader(data))
		if err != nil {
			return "", err
		}
		request.Header.Set("Authorization", "Bearer "+token)
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Idempotency-Key", key)
		response, err := client.Do(request)
		if err != nil {
			problem = err
			continue
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err == nil && response.StatusCode == 201 {
			return string(body), nil
		}
		problem = fmt.Errorf("%s: %s", response.Status, body)
		if err == nil && response.StatusCode < 500 {
			break
		}
	}
	return "", problem
}

func main() {
	server := os.Getenv("TIDINGS_URL")
	if server == "" {
		server = "http://127.0.0.1:8080"
	}
	random := make([]byte, 16)
	rand.Read(random)
	key := hex.EncodeToString(random)
	if len(os.Args) > 3 {
		key = os.Args[3]
	}
	receipt, err := "", errors.New("not JSON")
	if json.Valid([]byte(os.Args[2])) {
		receipt, err = send(server, os.Getenv("TIDINGS_ADMIN_TOKEN"), os.Args[1], json.RawMessage(os.Args[2]), key)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "not sent:", err)
		os.Exit(1)
	}
	fmt.Print(receipt)
}
