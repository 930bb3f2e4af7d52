// A ticket for a page of tidings: TIDINGS_SECRET=… go run ticket.go USER [MILLISECONDS]
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"
)

func sign(user string, lifetime int64, secret string) string {
	expires := time.Now().UnixMilli() + lifetime
	content, _ := json.Marshal(map[string]any{"u": user, "x": expires})
	signed := "t1." + base64.RawURLEncoding.EncodeToString(content)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func main() {
	lifetime := int64(600_000)
	if len(os.Args) > 2 {
		lifetime, _ = strconv.ParseInt(os.Args[2], 10, 64)
	}
	fmt.Println(sign(os.Args[1], lifetime, os.Getenv("TIDINGS_SECRET")))
}
