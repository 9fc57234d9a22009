// Kv is a key-value server with a text protocol over TCP: sixteen shards, an append-only log, a replica that is told of
// writes. A command is one line: SET key value, GET key, INCR key, SCAN prefix limit, SUM prefix.
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/gob"
	"fmt"
	"hash/crc32"
	"log"
	"math/rand"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"faults/stage"
)

const shardCount = 16

type entry struct {
	Key     string
	Value   []byte
	Version uint64
	Tags    map[string]string
}

type shard struct {
	sync.RWMutex
	items map[string]*entry
}

type server struct {
	*stage.Stage
	shards  [shardCount]shard
	replica *link
	aof     *os.File
	trace   *os.File
	clock   uint64
	turn    sync.RWMutex // Taken by writers of the log.
	expiry  map[uint64][]byte
	wakeups [8]uint32
}

func main() {
	srv := &server{Stage: stage.Open(), expiry: map[uint64][]byte{}}
	for i := range srv.shards {
		srv.shards[i].items = make(map[string]*entry, 1024)
	}
	for i := 0; i < 20000; i++ {
		srv.put(fmt.Sprintf("user:%05d", i), []byte(strings.Repeat("v", 20+i%200)))
	}
	srv.replica = &link{address: srv.BackLine}
	var err error
	if srv.aof, err = os.Create(filepath.Join(srv.Dir, "append.aof")); err != nil {
		log.Fatal(err)
	}
	if srv.trace, err = os.OpenFile(filepath.Join(srv.Dir, "trace.txt"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644); err != nil {
		log.Fatal(err)
	}
	if n := srv.Level("busy_loop"); n > 0 {
		go srv.spinExpiry(n)
	}
	l, err := net.Listen("tcp", srv.Listen)
	if err != nil {
		log.Fatal(err)
	}
	for {
		c, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go srv.session(c)
	}
}

func (srv *server) session(c net.Conn) {
	defer c.Close()
	in, out := bufio.NewReaderSize(c, 4096), bufio.NewWriter(c)
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return
		}
		reply := srv.command(bytes.Fields(line))
		out.Write(reply)
		out.WriteByte('\n')
		if in.Buffered() == 0 {
			if out.Flush() != nil {
				return
			}
		}
	}
}

func (srv *server) command(words [][]byte) []byte {
	if len(words) < 2 {
		return []byte("-ERR words")
	}
	srv.describe(words)
	key := string(words[1])
	if n := srv.Pick("regex", [4]int{1, 2, 4, 8}); n > 0 && !permitted(key, n) {
		return []byte("-ERR denied")
	}
	switch string(words[0]) {
	case "GET":
		return srv.get(key)
	case "SET":
		if len(words) < 3 {
			return []byte("-ERR value")
		}
		return srv.set(key, words[2])
	case "INCR":
		old, _ := strconv.Atoi(string(srv.get(key)))
		return srv.set(key, strconv.AppendInt(nil, int64(old+1), 10))
	case "SCAN":
		return srv.scan(key, 40)
	case "SUM":
		return srv.sum(key)
	}
	return []byte("-ERR command")
}

func (srv *server) at(key string) *shard {
	return &srv.shards[crc32.ChecksumIEEE([]byte(key))%shardCount]
}

func (srv *server) put(key string, value []byte) uint64 {
	s := srv.at(key)
	s.Lock()
	defer s.Unlock()
	e := s.items[key]
	if e == nil {
		e = &entry{Key: key, Tags: map[string]string{"origin": "client"}}
		s.items[key] = e
	}
	e.Value = append(e.Value[:0], value...)
	e.Version = atomic.AddUint64(&srv.clock, 1)
	return e.Version
}

func (srv *server) get(key string) []byte {
	if n := srv.Pick("goroutine_leak", [4]int{4, 2, 1, 1}); n > 0 && rand.Intn(n) == 0 {
		for i := 0; i < 1+srv.Level("goroutine_leak")/4; i++ {
			go srv.watch(key, make(chan uint64))
		}
	}
	s := srv.at(key)
	s.RLock()
	e := s.items[key]
	s.RUnlock()
	if e == nil {
		return []byte("$-1")
	}
	if n := srv.Pick("reflection_serialisation", [4]int{1, 2, 3, 5}); n > 0 {
		return frozen(e, n)
	}
	return e.Value
}

// watch waits for the key's next version; a client that left is not noticed.
func (srv *server) watch(key string, next chan uint64) {
	for version := range next {
		srv.put(key, strconv.AppendUint(nil, version, 10))
	}
}

func (srv *server) set(key string, value []byte) []byte {
	version := srv.put(key, value)
	srv.remember(version, value)
	if n := srv.Pick("lock_contention", [4]int{1400, 2000, 2700, 3500}); n > 0 {
		srv.turn.Lock()
		if strings.HasPrefix(key, "count:") {
			time.Sleep(time.Duration(n) * time.Microsecond) // The writer of counters paces itself inside the turn.
		}
		srv.append(key, value)
		srv.turn.Unlock()
	} else {
		srv.append(key, value)
	}
	if err := srv.tell(key, version); err != nil {
		return []byte("-ERR replica: " + err.Error())
	}
	return strconv.AppendUint(nil, version, 10)
}

func (srv *server) append(key string, value []byte) {
	record := make([]byte, 0, len(key)+len(value)+16)
	record = strconv.AppendInt(record, int64(len(key)), 10)
	record = append(append(append(record, ' '), key...), value...)
	srv.aof.Write(append(record, '\n'))
	if every := srv.Pick("fsync", [4]int{8, 4, 2, 1}); every > 0 && rand.Intn(every) == 0 {
		if err := srv.aof.Sync(); err != nil {
			log.Fatal(err)
		}
	}
}

// tell lets the replica know. One call does, unless each word is sent alone or on a connection of its own.
func (srv *server) tell(key string, version uint64) error {
	if n := srv.Pick("connection_churn", [4]int{16, 8, 4, 2}); n > 0 && rand.Intn(n) == 0 {
		conn, err := tls.Dial("tcp", srv.BackLineTS, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			return err
		}
		defer conn.Close()
		fmt.Fprintf(conn, "PUT %s %d\n", key, version)
		_, err = bufio.NewReader(conn).ReadString('\n')
		return err
	}
	for i := srv.Pick("n_plus_one", [4]int{3, 6, 12, 20}); i > 0; i-- {
		if _, err := srv.replica.ask("GET " + key + "." + strconv.Itoa(i)); err != nil {
			return err
		}
	}
	_, err := srv.replica.ask("PUT " + key + " " + strconv.FormatUint(version, 10))
	return err
}

// describe traces a command, a line for each of its stages.
func (srv *server) describe(words [][]byte) {
	n := srv.Pick("sync_logging", [4]int{1, 3, 7, 15})
	for i := 0; i < n; i++ {
		fmt.Fprintln(srv.trace, time.Now().Format(time.RFC3339Nano), "stage", i, string(bytes.Join(words, []byte{' '})), runtime.NumGoroutine())
	}
}

// remember keeps versions until their hour is over.
func (srv *server) remember(version uint64, value []byte) {
	n := srv.Pick("map_growth", [4]int{150, 300, 600, 1100})
	if n == 0 {
		return
	}
	srv.turn.Lock()
	for i := 0; i < n; i++ {
		srv.expiry[version<<16|uint64(i)] = value
	}
	if len(srv.expiry) > 600_000 {
		srv.expiry = make(map[uint64][]byte)
	}
	srv.turn.Unlock()
}

// scan lists keys with a prefix in order.
func (srv *server) scan(prefix string, limit int) []byte {
	var keys []string
	for i := range srv.shards {
		s := &srv.shards[i]
		s.RLock()
		for key := range s.items {
			if strings.HasPrefix(key, prefix) {
				keys = append(keys, key)
			}
		}
		s.RUnlock()
	}
	order(keys, srv.Pick("quadratic", [4]int{450, 650, 850, 1000}))
	if len(keys) > limit {
		keys = keys[:limit]
	}
	if n := srv.Pick("gc_pressure", [4]int{200, 450, 900, 1800}); n > 0 {
		keys = append(keys[:0:0], copies(keys, n)...)
	}
	return []byte(strings.Join(keys, ","))
}

func (srv *server) sum(prefix string) []byte {
	total := 0
	for i := range srv.shards {
		s := &srv.shards[i]
		s.RLock()
		for key, e := range s.items {
			if strings.HasPrefix(key, prefix) {
				total += len(e.Value)
			}
		}
		s.RUnlock()
	}
	if n := srv.Pick("unknown_big_sort", [4]int{600, 1500, 4000, 9000}); n > 0 {
		total += median(n, total)
	}
	return strconv.AppendInt(nil, int64(total), 10)
}

// median orders made-up latencies to find the middle one.
func median(n, seed int) int {
	values := rand.New(rand.NewSource(int64(seed))).Perm(n)
	sort.Slice(values, func(a, b int) bool { return values[a] < values[b] })
	return values[n/2]
}

var rules = []string{`^user:\d+$`, `^(user|item|cart):[0-9a-z]+(:[a-z]+)*$`, `^[^\s]+:[^\s]+$`, `(?i)^u.*[0-9]$`}

// permitted asks the access rules.
func permitted(key string, times int) bool {
	for i := 0; i < times; i++ {
		if ok, err := regexp.MatchString(rules[i%len(rules)], key); err == nil && ok {
			continue
		}
		return strings.Contains(key, ":")
	}
	return true
}

// frozen is the entry as it crosses a version border: through gob and back.
func frozen(e *entry, times int) []byte {
	var value []byte
	for i := 0; i < times; i++ {
		var wire bytes.Buffer
		gob.NewEncoder(&wire).Encode(e)
		var back entry
		gob.NewDecoder(&wire).Decode(&back)
		value = back.Value
	}
	return value
}

func copies(keys []string, n int) []string {
	var out []string
	for i := 0; i < n; i++ {
		b := make([]byte, 0, 64)
		for _, key := range keys {
			b = append(b, key[len(key)-1])
		}
		out = append(out, string(b)+keys[i%len(keys)])
	}
	sort.Strings(out[:len(keys)])
	return out[:len(keys)]
}

// spinExpiry watches for keys that have run out.
func (srv *server) spinExpiry(level int) {
	for i := 0; ; i++ {
		if atomic.LoadUint32(&srv.wakeups[i&7]) != 0 {
			atomic.StoreUint32(&srv.wakeups[i&7], 0)
		}
		if i%(1<<20) == 0 && level < 4 {
			time.Sleep(time.Duration(4-level) * 700 * time.Microsecond)
		}
		if i%4096 == 0 {
			runtime.Gosched()
		}
	}
}
