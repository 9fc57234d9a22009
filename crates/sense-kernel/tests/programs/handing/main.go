// A page whose parts are fetched by goroutines. After the line `late` they take longer than whoever asked for them waits, and then
// wait for ever to hand over what they have: the commonest leak. Says where it listens; ends with its standard input.
package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync/atomic"
	"time"
)

const (
	parts = 30
	// No more are leaked: whoever looks may be slow, and memory is not what this is about.
	goroutinesMax = 30000
)

var late int32

func fetch(part int, out chan<- int) {
	if atomic.LoadInt32(&late) != 0 {
		time.Sleep(300 * time.Millisecond)
	}
	out <- part
}

func page(answer http.ResponseWriter, _ *http.Request) {
	fetched := make(chan int)
	limit := time.After(150 * time.Millisecond)
	if runtime.NumGoroutine() < goroutinesMax {
		for part := 0; part < parts; part++ {
			go fetch(part, fetched)
		}
	}
	for part := 0; part < parts; part++ {
		select {
		case <-fetched:
		case <-limit:
			http.Error(answer, "too late", http.StatusGatewayTimeout)
			return
		}
	}
	fmt.Fprintln(answer, "whole")
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	http.HandleFunc("/", page)
	go func() {
		panic(http.Serve(listener, nil))
	}()
	fmt.Println(listener.Addr())
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		atomic.StoreInt32(&late, 1)
	}
}
