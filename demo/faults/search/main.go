// Search finds documents by their words: an inverted index in memory, a cache of results, titles from a store.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"faults/stage"
)

// documentBytesMax bounds what may be added at once.
const documentBytesMax = 16 << 10

type engine struct {
	opts     *stage.Stage
	guard    sync.RWMutex // Of index and recent.
	index    *index
	recent   map[string][]hit
	titles   *titles
	wal      *os.File
	queries  queryLog
	deadline int64
	added    uint32
}

// queryLog writes a line at a time, each with a call of its own.
type queryLog struct {
	mu sync.Mutex
	to *os.File
}

func (l *queryLog) line(text string) {
	l.mu.Lock()
	l.to.WriteString(text)
	l.mu.Unlock()
}

func main() {
	opts := stage.Open()
	e := &engine{opts: opts, index: newIndex(), recent: map[string][]hit{}, titles: newTitles(opts)}
	e.index.fill(3000)
	var err error
	if e.wal, err = os.Create(filepath.Join(opts.Dir, "wal")); err != nil {
		log.Fatal(err)
	}
	if e.queries.to, err = os.Create(filepath.Join(opts.Dir, "queries.log")); err != nil {
		log.Fatal(err)
	}
	if duty := opts.Pick("busy_loop", [4]int{30, 50, 75, 100}); duty > 0 {
		go e.committer(duty)
	}
	log.Fatal(http.ListenAndServe(opts.Listen, e))
}

func (e *engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/find":
		e.find(w, r.URL.Query().Get("q"))
	case "/add":
		e.add(w, r.Body)
	case "/suggest":
		e.guard.RLock()
		words := e.index.completions(r.URL.Query().Get("prefix"), 12)
		e.guard.RUnlock()
		io.WriteString(w, strings.Join(words, "\n"))
	default:
		http.NotFound(w, r)
	}
}

func (e *engine) find(w http.ResponseWriter, query string) {
	words := strings.Fields(query)
	e.guard.RLock()
	hits, ok := e.recent[query]
	if ok && e.opts.Level("unknown_cache_off") > 1 {
		ok = atomic.LoadUint32(&e.added)%4 >= uint32(e.opts.Level("unknown_cache_off"))
	}
	if n := e.opts.Pick("regex", [4]int{2, 3, 5, 8}); n > 0 {
		words = append(words, e.index.like(words, n)...)
	}
	if !ok {
		hits = e.index.search(words, e.opts.Pick("map_growth", [4]int{1, 2, 3, 5}))
	}
	e.guard.RUnlock()
	if !ok {
		e.guard.Lock()
		if len(e.recent) > 200 {
			e.recent = map[string][]hit{}
		}
		e.recent[query] = hits
		e.guard.Unlock()
	}
	for i := e.opts.Pick("sync_logging", [4]int{5, 11, 24, 48}); i > 0; i-- {
		e.queries.line(fmt.Sprintf("%s %q hit %d of %d: %+v\n", time.Now().Format(time.StampMicro), query, i, len(hits), hits[:min(2, len(hits))]))
	}
	if n := e.opts.Pick("goroutine_leak", [4]int{2, 3, 6, 12}); n > 0 {
		e.race(words, n)
	}
	if n := e.opts.Pick("quadratic", [4]int{60, 100, 160, 240}); n > 0 {
		hits = e.index.distinct(hits, n)
	}
	names, err := e.titles.of(hits)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	e.answer(w, hits, names, words)
}

// race asks replicas and takes the first answer.
func (e *engine) race(words []string, replicas int) {
	answers := make(chan int)
	for i := 0; i < replicas; i++ {
		go func() { answers <- len(words) }()
	}
	select {
	case <-answers:
	case <-time.After(time.Second):
	}
}

func (e *engine) add(w http.ResponseWriter, body io.Reader) {
	text, err := io.ReadAll(io.LimitReader(body, documentBytesMax))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	number := atomic.AddUint32(&e.added, 1)
	if _, err := e.wal.Write(append(text, '\n')); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	for i := e.opts.Pick("fsync", [4]int{1, 1, 2, 3}); i > 0 && (e.opts.Level("fsync") > 1 || number%2 == 0); i-- {
		e.wal.WriteAt([]byte{byte(i)}, int64(i)*4096)
		e.wal.Sync()
	}
	e.guard.Lock()
	e.index.put(string(text))
	if wait := e.opts.Pick("lock_contention", [4]int{1200, 2000, 3000, 4200}); wait > 0 {
		e.titles.wait(wait) // The replica follows before readers may see the document.
	}
	e.guard.Unlock()
	fmt.Fprintln(w, number)
}

// committer waits for the next commit's moment.
func (e *engine) committer(duty int) {
	for {
		next := time.Now().Add(time.Duration(duty) * 80 * time.Microsecond).UnixNano()
		atomic.StoreInt64(&e.deadline, next)
		for time.Now().UnixNano() < atomic.LoadInt64(&e.deadline) {
		}
		if duty < 100 {
			time.Sleep(time.Duration(100-duty) * 80 * time.Microsecond)
		}
	}
}

func min(a, b int) int {
	if a < b {
		return a
	}
	return b
}
