// A ticket for a page of USER, a JSON Web Token (HS256): TIDINGS_JWT_SECRET=… go run ticket.go USER [SECONDS]
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

func sign(user string, seconds int64, secret string) string {
	base64url := base64.RawURLEncoding.EncodeToString
	claims, _ := json.Marshal(map[string]any{"sub": user, "exp": time.Now().Unix() + seconds})
	signed := base64url([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + base64url(claims)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(signed))
	return signed + "." + base64url(mac.Sum(nil))
}

func main() {
	seconds := int64(600)
	if len(os.Args) > 2 {
		seconds, _ = strconv.ParseInt(os.Args[2], 10, 64)
	}
	fmt.Println(sign(os.Args[1], seconds, os.Getenv("TIDINGS_JWT_SECRET")))
}
