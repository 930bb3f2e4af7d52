// Prints what comes for the user of a ticket or token, as lines of JSON: go run listen.go TICKET
//
// By SockJS and server-sent events, as the standard library has no WebSocket; the frames are those of docs/wire.md. After
// an interruption it goes on where it was. Ends with status 1 where the server says not to come back.
package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
)

type position struct {
	Epoch  string `json:"epoch"`
	Offset int64  `json:"offset"`
	ID     string `json:"id"`
}

type place struct {
	Position  position
	Recovered bool
	Reason    string
}

type frame struct {
	position
	place
	Type, Channel string
	Data          json.RawMessage
	Gone          bool
	Channels      map[string]place
}

type refused struct{ error }

type listener struct {
	sockjs, ticket string
	// Keep it in a file to go on where you were after a restart, too.
	positions map[string]position
	show      func(data json.RawMessage)
}

func (l *listener) request(method, address string, body []byte) (*http.Response, error) {
	request, err := http.NewRequest(method, address, bytes.NewReader(body))
	if err != nil {
		return nil, refused{err}
	}
	request.Header.Set("Cookie", "tidings_ticket="+l.ticket)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode >= 300 {
		response.Body.Close()
		err = fmt.Errorf("the server says %s", response.Status)
		if strings.Contains("400 401 403 404", response.Status[:3]) {
			err = refused{err}
		}
		return nil, err
	}
	return response, nil
}

// One session, until it is closed.
func (l *listener) session() error {
	random := make([]byte, 16)
	rand.Read(random)
	address := l.sockjs + "/go/" + hex.EncodeToString(random)
	for { // a response ends after 128 KiB; the session goes on with the next
		response, err := l.request("GET", address+"/eventsource?protocol=tidings.1", nil)
		if err != nil {
			return err
		}
		// The server says something every 25 s.
		silence := time.AfterFunc(time.Minute, func() { response.Body.Close() })
		lines := bufio.NewScanner(response.Body)
		lines.Buffer(nil, 16<<20)
		for lines.Scan() {
			silence.Reset(time.Minute)
			if line := lines.Text(); strings.HasPrefix(line, "data: ") {
				if isOver, err := l.event(address, line[6], []byte(line[7:])); isOver || err != nil {
					silence.Stop()
					response.Body.Close()
					return err
				}
			}
		}
		silence.Stop()
		response.Body.Close()
		if err := lines.Err(); err != nil {
			return err
		}
	}
}

func (l *listener) event(address string, kind byte, content []byte) (isOver bool, err error) {
	switch kind {
	case 'o':
		hello, _ := json.Marshal(map[string]any{"type": "hello", "positions": l.positions})
		body, _ := json.Marshal([]string{string(hello)})
		// Should it be lost, the stream ends and says why.
		if answer, err := l.request("POST", address+"/xhr_send", body); err == nil {
			answer.Body.Close()
		}
	case 'a':
		var texts []string
		if err := json.Unmarshal(content, &texts); err != nil {
			return true, err
		}
		for _, text := range texts {
			var f frame
			if err := json.Unmarshal([]byte(text), &f); err != nil {
				return true, err
			}
			l.take(f)
		}
	case 'c':
		var code int
		var reason string
		json.Unmarshal(content, &[]any{&code, &reason})
		if code >= 4500 && code < 5000 {
			return true, refused{fmt.Errorf("%d %s", code, reason)}
		}
		return true, fmt.Errorf("closed with %d %s", code, reason)
	}
	return false, nil
}

func (l *listener) take(f frame) {
	if f.Type == "welcome" {
		f.Type, f.Channel, f.place = "gap", "inbox", f.Channels["inbox"]
	}
	if f.Channel != "inbox" {
		return
	}
	if f.Type == "message" {
		l.positions["inbox"] = f.position
		if !f.Gone {
			l.show(f.Data)
		}
	} else if f.Type == "gap" {
		l.positions["inbox"] = f.Position
		if !f.Recovered {
			fmt.Fprintln(os.Stderr, "messages were missed:", f.Reason)
		}
	}
}

func main() {
	server := os.Getenv("TIDINGS_URL")
	if server == "" {
		server = "http://127.0.0.1:8080"
	}
	l := &listener{server + "/sockjs/socketServer", os.Args[1], map[string]position{}, func(data json.RawMessage) {
		fmt.Println(string(data))
	}}
	for {
		err := l.session()
		if _, isFinal := err.(refused); isFinal {
			fmt.Fprintln(os.Stderr, "refused:", err)
			os.Exit(1)
		}
		fmt.Fprintln(os.Stderr, "connecting again:", err)
		time.Sleep(2 * time.Second)
	}
}
