package main

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

type topic struct {
	name    string
	mu      sync.Mutex
	gone    *sync.Cond // Told when hidden messages come back.
	ring    []*Message
	next    uint64
	file    *os.File
	out     *bufio.Writer
	known   map[[16]byte]time.Time
	pending []uint64
}

func (b *broker) topic(name string) (*topic, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t := b.topics[name]; t != nil {
		return t, nil
	}
	if len(b.topics) == 64 || strings.ContainsAny(name, "/.") {
		return nil, fmt.Errorf("topic %q", name)
	}
	f, err := os.Create(filepath.Join(b.cfg.Dir, name+".log"))
	if err != nil {
		return nil, err
	}
	t := &topic{name: name, file: f, out: bufio.NewWriterSize(f, 64<<10), known: map[[16]byte]time.Time{}}
	t.gone = sync.NewCond(&sync.Mutex{})
	b.topics[name] = t
	return t, nil
}

// append needs the lock.
func (t *topic) append(m *Message) {
	m.Offset = t.next
	t.next++
	if len(t.ring) < keep {
		t.ring = append(t.ring, m)
	} else {
		t.ring[m.Offset%keep] = m
	}
	record := binary.AppendUvarint(m.ID[:16:16], uint64(len(m.Body)))
	t.out.Write(record)
	t.out.Write(m.Body)
}

// harden waits until the disk has the log.
func (t *topic) harden() {
	t.out.Flush()
	syscall.Fdatasync(int(t.file.Fd()))
}

// dump shows a message in hex, line by line.
func (t *topic) dump(diary *os.File, m *Message, most int) {
	for i, line := range strings.Split(hex.Dump(m.Body), "\n") {
		if i == most {
			break
		}
		fmt.Fprintf(diary, "%s %d %v %s\n", t.name, m.Offset, m.Headers, line)
	}
}

// twin tells whether a message equals one of the last.
func (t *topic) twin(m *Message, most int) bool {
	t.mu.Lock()
	last := append([]*Message(nil), t.ring...)
	t.mu.Unlock()
	if len(last) > most {
		last = last[:most]
	}
	for _, other := range last {
		if reflect.DeepEqual(canonical(m), canonical(other)) {
			return true
		}
	}
	return false
}

// canonical walks a value of any type into maps.
func canonical(value interface{}) map[string]interface{} {
	fields := map[string]interface{}{}
	v := reflect.Indirect(reflect.ValueOf(value))
	for i := 0; i < v.NumField(); i++ {
		f := v.Field(i)
		if f.Kind() == reflect.Map {
			for _, key := range f.MapKeys() {
				fields["headers."+key.String()] = f.MapIndex(key).Interface()
			}
			continue
		}
		fields[v.Type().Field(i).Name] = f.Interface()
	}
	return fields
}

// routes says which subscribers' wildcards match.
func routes(name string, subscribers int) string {
	var out []string
	for i := 0; i < subscribers; i++ {
		wildcard := fmt.Sprintf("t*%d.#", i%10)
		expression := "^" + strings.NewReplacer("*", "[^.]+", ".#", "(\\..*)?", ".", "\\.").Replace(wildcard) + "$"
		if compiled, err := regexp.Compile(expression); err == nil && compiled.MatchString(name) {
			out = append(out, wildcard)
		}
	}
	return strings.Join(out, ",")
}

// deduplicate remembers identities of a message and of what it may be resent as.
func (t *topic) deduplicate(m *Message, resends int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	id := m.ID
	for i := 0; i < resends; i++ {
		binary.LittleEndian.PutUint64(id[8:], uint64(i)*0x9e3779b97f4a7c15)
		t.known[id] = time.Time{}
	}
	if len(t.known) > 1_000_000 {
		t.known = map[[16]byte]time.Time{}
	}
}

// hide keeps fetched messages from others until somebody says that they are gone.
func (t *topic) hide(found []*Message) {
	t.gone.L.Lock()
	defer t.gone.L.Unlock()
	for len(found) < keep {
		t.gone.Wait()
	}
}

// envelopes wraps messages anew for each of the hops.
func envelopes(found []*Message, hops int) []*Message {
	for h := 0; h < hops; h++ {
		wrapped := make([]*Message, 0)
		for _, m := range found {
			c := *m
			c.Headers = map[string]string{"hop": "x"}
			for k, v := range m.Headers {
				c.Headers[k] = v
			}
			c.Body = append([]byte(nil), m.Body...)
			wrapped = append(wrapped, &c)
		}
		found = wrapped
	}
	return found
}

// settle takes an acknowledged offset out of those that are pending; needs the lock.
func (t *topic) settle(offset uint64, backlog int) {
	t.pending = append(t.pending, offset)
	if len(t.pending) < backlog {
		for i := uint64(0); len(t.pending) < backlog; i++ {
			t.pending = append(t.pending, offset+i)
		}
	}
	if backlog == 0 {
		t.pending = t.pending[:0]
		return
	}
	// Each pending offset is looked for among all the others.
	unique := 0
	for i := range t.pending {
		for j := range t.pending {
			if t.pending[i] == t.pending[j] && i != j {
				unique--
			}
		}
		unique++
	}
	t.pending = t.pending[len(t.pending)-backlog/2:]
}

// reread checks messages again that were checked before; needs the lock.
func (t *topic) reread(most int) {
	for i := 0; i < most && i < len(t.ring); i++ {
		if crc32.Checksum(t.ring[i].Body, crc32.MakeTable(crc32.Koopman)) == 0 {
			t.ring[i].Sum = 0
		}
	}
}

func (t *topic) statistics() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	sizes := map[int]int{}
	for _, m := range t.ring {
		sizes[len(m.Body)/64]++
	}
	return []byte(fmt.Sprintf("K%d %d %v", t.next, len(t.ring), sizes))
}

// localTimes gives the time of day in some cities.
func localTimes(cities int) string {
	zones := []string{"Europe/Berlin", "Asia/Tokyo", "America/New_York", "Australia/Sydney"}
	out := ""
	for i := 0; i < cities; i++ {
		zone, err := time.LoadLocation(zones[i%len(zones)])
		if err != nil {
			zone = time.FixedZone("none", 3600)
		}
		if parsed, err := time.ParseInLocation("2006-01-02 15:04:05 MST", "2024-03-10 02:30:00 EST", zone); err == nil {
			out += parsed.Format(time.Kitchen)
		}
	}
	return out
}
