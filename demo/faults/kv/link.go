package main

import (
	"bufio"
	"fmt"
	"net"
	"sync"
)

// link is a small pool of connections to the replica.
type link struct {
	address string
	mu      sync.Mutex
	idle    []*wire
}

type wire struct {
	net.Conn
	in *bufio.Reader
}

// ask sends one line and reads one.
func (l *link) ask(line string) (string, error) {
	w, err := l.take()
	if err != nil {
		return "", err
	}
	fmt.Fprintf(w, "%s\n", line)
	answer, err := w.in.ReadString('\n')
	if err != nil {
		w.Close()
		return "", err
	}
	l.mu.Lock()
	l.idle = append(l.idle, w)
	l.mu.Unlock()
	return answer, nil
}

func (l *link) take() (*wire, error) {
	l.mu.Lock()
	if n := len(l.idle); n > 0 {
		w := l.idle[n-1]
		l.idle = l.idle[:n-1]
		l.mu.Unlock()
		return w, nil
	}
	l.mu.Unlock()
	c, err := net.Dial("tcp", l.address)
	if err != nil {
		return nil, err
	}
	return &wire{c, bufio.NewReader(c)}, nil
}
