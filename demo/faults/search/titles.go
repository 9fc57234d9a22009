package main

import (
	"bufio"
	"crypto/tls"
	"io"
	"math/rand"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"faults/stage"
)

// titles knows what documents are called, from a store.
type titles struct {
	opts *stage.Stage
	mu   sync.Mutex
	free []net.Conn
}

func newTitles(opts *stage.Stage) *titles { return &titles{opts: opts} }

// of asks for all titles at once.
func (t *titles) of(hits []hit) ([]string, error) {
	names := make([]string, len(hits))
	if len(hits) == 0 {
		return names, nil
	}
	if n := t.opts.Pick("n_plus_one", [4]int{3, 6, 11, 20}); n > 0 {
		for i := range hits {
			if i == n {
				break
			}
			name, err := t.question("GET title."+strconv.Itoa(hits[i].Document), false)
			if err != nil {
				return nil, err
			}
			names[i] = name
		}
		return names, nil
	}
	var b strings.Builder
	b.WriteString("GET")
	for _, h := range hits {
		b.WriteString(" title." + strconv.Itoa(h.Document))
	}
	answer, err := t.question(b.String(), rand.Float64()*100 < float64(t.opts.Pick("connection_churn", [4]int{9, 20, 45, 85})))
	if err != nil {
		return nil, err
	}
	copy(names, strings.Fields(answer))
	return names, nil
}

func (t *titles) wait(microseconds int) { t.question("WAIT "+strconv.Itoa(microseconds), false) }

func (t *titles) question(line string, secretly bool) (string, error) {
	conn, err := t.open(secretly)
	if err != nil {
		return "", err
	}
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, line+"\n"); err != nil {
		conn.Close()
		return "", err
	}
	// One question at a time: nothing is left in the reader.
	answer, err := bufio.NewReaderSize(conn, 256).ReadString('\n')
	if err != nil || secretly {
		conn.Close()
		return answer, err
	}
	t.mu.Lock()
	t.free = append(t.free, conn)
	t.mu.Unlock()
	return answer, nil
}

// open takes a connection that is free, or shakes hands for a secret one.
func (t *titles) open(secretly bool) (net.Conn, error) {
	if secretly {
		raw, err := net.Dial("tcp", t.opts.BackLineTS)
		if err != nil {
			return nil, err
		}
		secret := tls.Client(raw, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
		if err := secret.Handshake(); err != nil {
			raw.Close()
			return nil, err
		}
		return secret, nil
	}
	t.mu.Lock()
	if n := len(t.free); n > 0 {
		conn := t.free[n-1]
		t.free = t.free[:n-1]
		t.mu.Unlock()
		return conn, nil
	}
	t.mu.Unlock()
	return net.Dial("tcp", t.opts.BackLine)
}
