// `static serve` serves HTTP at port 7000 and TCP at port 7001; `static call HOST` asks them and prints what
// comes. Built without C, it has no library to load and asks for names itself.
package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sort"
	"strings"
	"sync"
	"time"
)

func main() {
	if os.Args[1] == "serve" {
		serve()
	}
	call(os.Args[2])
}

func serve() {
	http.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL, body)
	})
	told := make(chan bool, 1)
	http.HandleFunc("/forever", func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		told <- true
	})
	http.HandleFunc("/told", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, <-told) })
	listener := must(net.Listen("tcp", ":7001"))
	go func() {
		for {
			connection := must(listener.Accept())
			go greet(connection)
		}
	}()
	panic(http.ListenAndServe(":7000", nil))
}

// greet speaks first, then echoes until the caller has said all, and has the last word.
func greet(connection net.Conn) {
	defer connection.Close()
	fmt.Fprintln(connection, "welcome")
	count, _ := io.Copy(connection, connection)
	fmt.Fprintf(connection, "%d bytes", count)
}

func call(host string) {
	base := "http://" + host + ":7000"
	answer := must(http.Get(base + "/echo?go"))
	if answer.StatusCode == 403 {
		fmt.Printf("refused: %s\n", must(io.ReadAll(answer.Body)))
		connection := must(net.Dial("tcp", host+":7001"))
		said, _ := io.ReadAll(connection)
		fmt.Printf("the server said %q\n", said)
		os.Exit(1)
	}
	fmt.Println(answer.Status, answer.Proto, string(must(io.ReadAll(answer.Body))))

	large := bytes.Repeat([]byte("large "), 1<<20)
	answer = must(http.Post(base+"/echo", "text/plain", bytes.NewReader(large)))
	fmt.Println("6 MiB there and back:", bytes.HasSuffix(must(io.ReadAll(answer.Body)), large))
	cancelled(base)

	connection := must(net.Dial("tcp", host+":7001")).(*net.TCPConn)
	lines := bufio.NewReader(connection)
	fmt.Print("the server speaks first: ", must(lines.ReadString('\n')))
	go func() {
		connection.Write(large)
		connection.CloseWrite()
	}()
	rest := must(io.ReadAll(lines))
	fmt.Println("half closed:", bytes.HasPrefix(rest, large), string(rest[len(large):]))
	atOnce(base)
}

func cancelled(base string) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	request := must(http.NewRequestWithContext(ctx, "GET", base+"/forever", nil))
	_, err := http.DefaultClient.Do(request)
	fmt.Println("cancelled:", strings.HasSuffix(fmt.Sprint(err), "context deadline exceeded"))
	answer := must(http.Get(base + "/told"))
	fmt.Println("its server was told:", string(must(io.ReadAll(answer.Body))))
}

func atOnce(base string) {
	var wait sync.WaitGroup
	var lock sync.Mutex
	var answers []string
	for number := 0; number < 100; number++ {
		wait.Add(1)
		go func(number int) {
			defer wait.Done()
			answer := must(http.Get(fmt.Sprintf("%s/echo?%03d", base, number)))
			body := must(io.ReadAll(answer.Body))
			lock.Lock()
			defer lock.Unlock()
			answers = append(answers, string(body))
		}(number)
	}
	wait.Wait()
	sort.Strings(answers)
	fmt.Println("at once:", len(answers), answers[0], answers[99])
}

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}
