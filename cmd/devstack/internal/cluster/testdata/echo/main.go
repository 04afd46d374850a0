// Command echo is the program in the images of this package's tests: it says
// which version it is, and fetches a URL on behalf of a test.
package main

import (
	"io"
	"net/http"
	"os"
	"time"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, os.Getenv("VERSION"))
	})
	client := http.Client{Timeout: 2 * time.Second}
	http.HandleFunc("/relay", func(w http.ResponseWriter, r *http.Request) {
		answer, err := client.Get(r.URL.Query().Get("url"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer func() { _ = answer.Body.Close() }()
		_, _ = io.Copy(w, answer.Body)
	})
	listen := os.Getenv("LISTEN")
	if listen == "" {
		listen = ":8080"
	}
	println("echo serves version", os.Getenv("VERSION"))
	if err := http.ListenAndServe(listen, nil); err != nil {
		println(err.Error())
		os.Exit(1)
	}
}
