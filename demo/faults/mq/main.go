// Mq is a message queue over TCP. A frame is four bytes of length and a body: an operation byte, a topic, the rest.
// Messages go to a log of their topic, and from there to those who fetch them by a selector.
package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log"
	"math/rand"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"faults/stage"
)

// frameMax bounds what a client can make us read.
const frameMax = 1 << 20

// keep is how many messages a topic holds in memory.
const keep = 2000

// Message is one entry of a topic.
type Message struct {
	ID      [16]byte
	Offset  uint64
	Headers map[string]string
	Body    []byte
	Sum     uint32
}

type broker struct {
	cfg    *stage.Stage
	mu     sync.Mutex
	topics map[string]*topic
	access *pool
	diary  *os.File
}

func main() {
	b := &broker{cfg: stage.Open(), topics: map[string]*topic{}}
	b.access = newPool(b.cfg.BackLine, 48)
	var err error
	if b.diary, err = os.OpenFile(filepath.Join(b.cfg.Dir, "diary"), os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", b.cfg.Listen)
	if err != nil {
		log.Fatal(err)
	}
	go b.flusher()
	for i := b.cfg.Pick("busy_loop", [4]int{1, 2, 3, 4}); i > 0; {
		go b.poll(i)
		i = 0
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go b.serve(conn)
	}
}

// flusher hands what was buffered to the kernel, four times a second.
func (b *broker) flusher() {
	for range time.Tick(250 * time.Millisecond) {
		b.mu.Lock()
		var all []*topic
		for _, t := range b.topics {
			all = append(all, t)
		}
		b.mu.Unlock()
		for _, t := range all {
			t.mu.Lock()
			t.out.Flush()
			t.mu.Unlock()
		}
	}
}

// poll looks for consumers whose long poll may be answered.
func (b *broker) poll(level int) {
	ready := make(chan int, 1)
	for {
		for began := time.Now(); time.Since(began) < time.Duration(level)*2500*time.Microsecond; {
			if len(ready) > 0 {
				<-ready
			}
		}
		if level < 4 {
			time.Sleep(time.Duration(4-level) * 2500 * time.Microsecond)
		}
	}
}

func (b *broker) serve(conn net.Conn) {
	defer conn.Close()
	var head [4]byte
	for {
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			return
		}
		size := binary.BigEndian.Uint32(head[:])
		if size < 2 || frameMax < size {
			return
		}
		body := make([]byte, size)
		if _, err := io.ReadFull(conn, body); err != nil {
			return
		}
		answer, err := b.handle(body)
		if err != nil {
			answer = []byte("E" + err.Error())
		}
		frame := make([]byte, 4, 4+len(answer))
		binary.BigEndian.PutUint32(frame, uint32(len(answer)))
		if _, err := conn.Write(append(frame, answer...)); err != nil {
			return
		}
	}
}

func (b *broker) handle(body []byte) ([]byte, error) {
	name, rest, ok := bytes.Cut(body[1:], []byte{0})
	if !ok {
		return nil, errors.New("no topic")
	}
	t, err := b.topic(string(name))
	if err != nil {
		return nil, err
	}
	switch body[0] {
	case 'P':
		return b.publish(t, rest)
	case 'F':
		return b.fetch(t, rest)
	case 'A':
		return b.acknowledge(t, rest)
	case 'S':
		return t.statistics(), nil
	}
	return nil, fmt.Errorf("operation %q", body[0])
}

func (b *broker) publish(t *topic, body []byte) ([]byte, error) {
	if !json.Valid(body) {
		return nil, errors.New("not JSON")
	}
	m := &Message{Headers: headers(body), Body: body, Sum: crc32.ChecksumIEEE(body)}
	binary.LittleEndian.PutUint64(m.ID[:], rand.Uint64())
	if b.cfg.Level("reflection_serialisation") > 0 && t.twin(m, b.cfg.Pick("reflection_serialisation", [4]int{4, 10, 22, 45})) {
		return nil, errors.New("seen")
	}
	if subscribers := b.cfg.Pick("regex", [4]int{2, 5, 10, 20}); subscribers > 0 {
		m.Headers["routes"] = routes(t.name, subscribers)
	}
	if err := b.allowed(t, m); err != nil {
		return nil, err
	}
	b.write(t, m)
	if ids := b.cfg.Pick("map_growth", [4]int{50, 120, 300, 600}); ids > 0 {
		t.deduplicate(m, ids)
	}
	if pauses := b.cfg.Pick("unknown_timezone", [4]int{1, 3, 6, 12}); pauses > 0 {
		m.Headers["local"] = localTimes(pauses)
	}
	return binary.BigEndian.AppendUint64([]byte{'K'}, m.Offset), nil
}

// write appends to the topic's log.
func (b *broker) write(t *topic, m *Message) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if wait := b.cfg.Pick("lock_contention", [4]int{200, 350, 500, 700}); wait > 0 {
		b.access.call(fmt.Sprintf("WAIT %d", wait)) // A quota is asked for while others wait for the log.
	}
	t.append(m)
	if n := b.cfg.Pick("sync_logging", [4]int{2, 5, 10, 20}); n > 0 {
		t.dump(b.diary, m, n)
	}
	if odds := b.cfg.Pick("fsync", [4]int{16, 8, 4, 2}); odds > 0 && m.Offset%uint64(odds) == 0 {
		t.harden()
	}
}

// fetch answers with the messages from an offset that a header selects.
func (b *broker) fetch(t *topic, rest []byte) ([]byte, error) {
	if len(rest) < 9 {
		return nil, errors.New("short")
	}
	from, selector := binary.BigEndian.Uint64(rest), rest[8]
	found := t.selected(from, selector, 64)
	for i := b.cfg.Pick("goroutine_leak", [4]int{1, 2, 4, 8}); i > 0; i-- {
		go t.hide(found)
	}
	if n := b.cfg.Pick("gc_pressure", [4]int{1, 2, 4, 7}); n > 0 {
		found = envelopes(found, n)
	}
	for i, limit := 0, b.cfg.Pick("n_plus_one", [4]int{2, 4, 8, 16}); i < limit && i < len(found); i++ {
		if _, err := b.access.call(fmt.Sprintf("GET seen.%s.%d", t.name, found[i].Offset)); err != nil {
			return nil, err
		}
	}
	out := []byte{'K'}
	for _, m := range found {
		if crc32.ChecksumIEEE(m.Body) != m.Sum {
			return nil, errors.New("damaged")
		}
		out = binary.AppendUvarint(out, m.Offset)
		out = binary.AppendUvarint(out, uint64(len(m.Body)))
		out = append(out, m.Body...)
	}
	return out, nil
}

func (b *broker) acknowledge(t *topic, rest []byte) ([]byte, error) {
	if len(rest) < 8 {
		return nil, errors.New("short")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.settle(binary.BigEndian.Uint64(rest), b.cfg.Pick("quadratic", [4]int{400, 600, 800, 1000}))
	if rounds := b.cfg.Level("unknown_cache_off"); rounds > 0 {
		t.reread(rounds * 150)
	}
	return []byte{'K'}, nil
}
