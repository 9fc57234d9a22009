package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

// flightsMax bounds requests under way: a service that no longer keeps up must not take the generator's memory. What
// does not fit is counted as late by the wait that it would have had.
const flightsMax = 192

// client sends one request of the mix and reads its answer.
type client func(source *rand.Rand) error

// generator sends at a fixed rate, whether or not answers come: a request's latency counts from when it was due.
type generator struct {
	connect func() (client, error)
	rate    float64
	stop    chan struct{}
	done    sync.WaitGroup
	mu      sync.Mutex
	taken   []float64 // Latencies in milliseconds since the last reset.
	failed  atomic.Int64
	first   error
}

func (g *generator) run() {
	g.stop = make(chan struct{})
	due := make(chan time.Time, 4*flightsMax)
	g.done.Add(1)
	go func() {
		defer g.done.Done()
		defer close(due)
		gaps := rand.New(rand.NewSource(1))
		next := time.Now()
		for {
			next = next.Add(time.Duration(gaps.ExpFloat64() / g.rate * float64(time.Second)))
			if wait := time.Until(next); wait > 0 {
				select {
				case <-g.stop:
					return
				case <-time.After(wait):
				}
			}
			select {
			case due <- next:
			case <-g.stop:
				return
			}
		}
	}()
	for i := 0; i < flightsMax; i++ {
		g.done.Add(1)
		go g.work(due, int64(i))
	}
}

func (g *generator) work(due chan time.Time, seed int64) {
	defer g.done.Done()
	source := rand.New(rand.NewSource(seed))
	var send client
	for at := range due {
		select {
		case <-g.stop:
			continue
		default:
		}
		var err error
		if send == nil {
			send, err = g.connect()
		}
		if err == nil {
			err = send(source)
		}
		if err != nil {
			send = nil
			g.failed.Add(1)
			g.mu.Lock()
			if g.first == nil {
				g.first = err
			}
			g.mu.Unlock()
			continue
		}
		took := time.Since(at).Seconds() * 1000
		g.mu.Lock()
		g.taken = append(g.taken, took)
		g.mu.Unlock()
	}
}

// reset forgets what was measured so far.
func (g *generator) reset() {
	g.mu.Lock()
	g.taken = g.taken[:0]
	g.mu.Unlock()
	g.failed.Store(0)
}

// latencies are those since the reset, sorted.
func (g *generator) latencies() []float64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := append([]float64(nil), g.taken...)
	sort.Float64s(all)
	return all
}

func (g *generator) end() {
	close(g.stop)
	g.done.Wait()
}

func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(q*float64(len(sorted)-1))]
}

// request is one HTTP request.
type request struct {
	method, path string
	body         []byte
}

// patience is how long an answer is waited for.
const patience = 20 * time.Second

// overHTTP sends what make gives, on connections that are kept.
func overHTTP(address string, make func(*rand.Rand) request) func() (client, error) {
	return overHTTPTo("http://"+address, 0, make)
}

// overHTTPTo is the same for any scheme; a percentage of requests opens a connection of its own.
func overHTTPTo(base string, anew int, make func(*rand.Rand) request) func() (client, error) {
	secure := &tls.Config{InsecureSkipVerify: true}
	kept := &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: flightsMax, MaxIdleConns: 4 * flightsMax, TLSClientConfig: secure}}
	once := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: secure}}
	return func() (client, error) {
		return func(source *rand.Rand) error {
			r := make(source)
			ask, err := http.NewRequest(r.method, base+r.path, bytes.NewReader(r.body))
			if err != nil {
				return err
			}
			by := kept
			if source.Intn(100) < anew {
				by = once
			}
			answer, err := by.Do(ask)
			if err != nil {
				return err
			}
			defer answer.Body.Close()
			if _, err := io.Copy(io.Discard, answer.Body); err != nil {
				return err
			}
			if answer.StatusCode >= 400 {
				return fmt.Errorf("%s %s: %s", r.method, r.path, answer.Status)
			}
			return nil
		}, nil
	}
}

// overLines sends a line and reads a line.
func overLines(address string, make func(*rand.Rand) string) func() (client, error) {
	return func() (client, error) {
		conn, err := net.DialTimeout("tcp", address, 5*time.Second)
		if err != nil {
			return nil, err
		}
		in := bufio.NewReaderSize(conn, 64<<10)
		return func(source *rand.Rand) error {
			conn.SetDeadline(time.Now().Add(20 * time.Second))
			if _, err := io.WriteString(conn, make(source)+"\n"); err != nil {
				return err
			}
			line, err := in.ReadString('\n')
			if err == nil && (len(line) > 3 && line[:4] == "-ERR") {
				err = errors.New(line)
			}
			return err
		}, nil
	}
}

// overFrames sends a frame (four bytes of length, then the body) and reads one; a first byte of 'E' is an error.
func overFrames(address string, make func(*rand.Rand) []byte) func() (client, error) {
	return func() (client, error) {
		conn, err := net.DialTimeout("tcp", address, 5*time.Second)
		if err != nil {
			return nil, err
		}
		in := bufio.NewReaderSize(conn, 64<<10)
		return func(source *rand.Rand) error {
			conn.SetDeadline(time.Now().Add(20 * time.Second))
			body := make(source)
			frame := append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
			if _, err := conn.Write(frame); err != nil {
				return err
			}
			var size [4]byte
			if _, err := io.ReadFull(in, size[:]); err != nil {
				return err
			}
			answer := append([]byte(nil), size[:]...)[:0]
			answer = append(answer, bytes.Repeat([]byte{0}, int(binary.BigEndian.Uint32(size[:])))...)
			if _, err := io.ReadFull(in, answer); err != nil {
				return err
			}
			if len(answer) > 0 && answer[0] == 'E' {
				return errors.New(string(answer))
			}
			return nil
		}, nil
	}
}
