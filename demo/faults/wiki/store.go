package main

import (
	"bufio"
	"compress/gzip"
	"crypto/tls"
	"fmt"
	"math/rand"
	"net"
	"net/http"
	"strings"
)

// connections to the store that wait for their next question.
var connections = make(chan *connection, 256)

type connection struct {
	net.Conn
	*bufio.ReadWriter
}

func (c *connection) exchange(line string) (string, error) {
	if _, err := c.WriteString(line + "\n"); err != nil {
		return "", err
	}
	if err := c.Flush(); err != nil {
		return "", err
	}
	return c.ReadString('\n')
}

func ask(line string, keep bool) (string, error) {
	var c *connection
	if keep {
		select {
		case c = <-connections:
		default:
		}
	}
	if c == nil {
		var raw net.Conn
		var err error
		if keep {
			raw, err = net.Dial("tcp", at.BackLine)
		} else {
			dialer := &tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"}}
			raw, err = dialer.Dial("tcp", at.BackLineTS)
		}
		if err != nil {
			return "", err
		}
		c = &connection{raw, bufio.NewReadWriter(bufio.NewReader(raw), bufio.NewWriter(raw))}
	}
	answer, err := c.exchange(line)
	if err != nil || !keep {
		c.Close()
		return answer, err
	}
	select {
	case connections <- c:
	default:
		c.Close()
	}
	return answer, nil
}

// known asks the store which links have a page.
func known(links []string) error {
	if n := at.Pick("n_plus_one", [4]int{3, 6, 12, 24}); n > 0 {
		for i, link := range links {
			if i == n {
				break
			}
			if _, err := ask("GET "+link, true); err != nil {
				return fmt.Errorf("link %s: %w", link, err)
			}
		}
		return nil
	}
	share := at.Pick("connection_churn", [4]int{10, 25, 45, 80})
	_, err := ask("GET "+strings.Join(append(links, "index"), " "), rand.Intn(100) >= share)
	return err
}

type squeezer struct {
	http.ResponseWriter
	out *gzip.Writer
}

func (s squeezer) Write(b []byte) (int, error) { return s.out.Write(b) }

// squeezed compresses answers where the configuration asks for it.
func squeezed(next http.Handler) http.Handler {
	times := at.Pick("unknown_compression", [4]int{1, 2, 4, 7})
	if times == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		out, _ := gzip.NewWriterLevel(w, gzip.HuffmanOnly+2+times)
		defer out.Close()
		next.ServeHTTP(squeezer{w, out}, r)
	})
}
