package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
)

// pool lends connections to the access service over a channel; there are never more than its size.
type pool struct {
	address string
	slots   chan *bufio.ReadWriter
}

func newPool(address string, size int) *pool {
	p := &pool{address, make(chan *bufio.ReadWriter, size)}
	for i := 0; i < size; i++ {
		p.slots <- nil
	}
	return p
}

func (p *pool) call(line string) (answer string, err error) {
	rw := <-p.slots
	defer func() {
		if err != nil {
			rw = nil
		}
		p.slots <- rw
	}()
	if rw == nil {
		conn, err := net.Dial("tcp", p.address)
		if err != nil {
			return "", err
		}
		rw = bufio.NewReadWriter(bufio.NewReader(conn), bufio.NewWriter(conn))
	}
	rw.WriteString(line)
	rw.WriteByte('\n')
	if err = rw.Flush(); err != nil {
		return "", err
	}
	return rw.ReadString('\n')
}

// allowed asks whether the topic may be written to.
func (b *broker) allowed(t *topic, m *Message) error {
	if share := b.cfg.Pick("connection_churn", [4]int{6, 15, 30, 60}); rand.Intn(100) < share {
		once := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
		defer once.CloseIdleConnections()
		ask, err := http.NewRequest(http.MethodPost, "https://"+b.cfg.BackHTTPS+"/get?key="+t.name, bytes.NewReader(m.ID[:]))
		if err != nil {
			return err
		}
		answer, err := once.RoundTrip(ask)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		_, err = io.Copy(io.Discard, answer.Body)
		return err
	}
	_, err := b.access.call(fmt.Sprintf("GET acl.%s", t.name))
	return err
}
