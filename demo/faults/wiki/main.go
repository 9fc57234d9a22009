// Wiki serves pages written in a small markup: rendered by hand, wrapped by html/template, with links that a store knows.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"html/template"
	"log"
	"math/rand"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"faults/stage"
)

type page struct {
	Title    string
	Source   string
	Sections []section
	Views    int64
	Links    []string
}

type section struct {
	Heading string
	Body    template.HTML
}

var (
	at      *stage.Stage
	pages   = map[string]*page{}
	names   []string
	history sync.RWMutex
	trail   *os.File
	dirty   uint32
)

var layout = template.Must(template.New("page").Parse(`<!doctype html><title>{{.Title}}</title>
<nav>{{range .Links}}<a href="/page/{{.}}">{{.}}</a> {{end}}</nav>
{{range .Sections}}<section><h2>{{.Heading}}</h2>{{.Body}}</section>{{end}}
<footer>{{.Views}} views{{if gt .Views 1000}}, popular{{end}}</footer>`))

func main() {
	at = stage.Open()
	write()
	var err error
	if trail, err = os.Create(filepath.Join(at.Dir, "trail.json")); err != nil {
		log.Fatal(err)
	}
	if at.Level("busy_loop") > 0 {
		go reindexer(time.Duration(4-at.Level("busy_loop")) * 400 * time.Microsecond)
	}
	http.HandleFunc("/page/", view)
	http.HandleFunc("/edit/", edit)
	http.HandleFunc("/search", search)
	http.HandleFunc("/feed", feed)
	log.Fatal((&http.Server{Addr: at.Listen, Handler: squeezed(http.DefaultServeMux)}).ListenAndServe())
}

// write makes four hundred pages up.
func write() {
	source := rand.New(rand.NewSource(3))
	vocabulary := strings.Fields("river bridge stone market winter harvest council tower bell ferry map guild road mill letter autumn grain lake north wall")
	for i := 0; i < 400; i++ {
		var b strings.Builder
		for s := 0; s < 5; s++ {
			fmt.Fprintf(&b, "== Part %d of %d\n", s, i)
			for w := 0; w < 70; w++ {
				word := vocabulary[source.Intn(len(vocabulary))]
				switch source.Intn(14) {
				case 0:
					fmt.Fprintf(&b, "[[p%d]] ", source.Intn(400))
				case 1:
					b.WriteString("'''" + word + "''' ")
				case 2:
					b.WriteString("\n* " + word + " ")
				default:
					b.WriteString(word + " ")
				}
			}
			b.WriteByte('\n')
		}
		name := "p" + strconv.Itoa(i)
		names = append(names, name)
		pages[name] = &page{Title: name, Source: b.String()}
	}
}

func view(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/page/")
	history.RLock()
	stored := pages[name]
	if stored == nil {
		history.RUnlock()
		http.NotFound(w, r)
		return
	}
	p := page{Title: stored.Title, Source: stored.Source}
	history.RUnlock()
	p.Views = atomic.AddInt64(&stored.Views, 1)

	if n := at.Pick("regex", [4]int{1, 2, 3, 4}); n > 0 {
		p.Source = tidy(p.Source, n)
	}
	p.Sections, p.Links = render(p.Source)
	trace("rendered", &p)
	if n := at.Pick("map_growth", [4]int{2, 4, 9, 16}); n > 0 {
		w.Header().Set("X-Words", strconv.Itoa(len(concordance(p.Source, n))))
	}
	if n := at.Pick("quadratic", [4]int{4, 9, 15, 20}); n > 0 {
		w.Header().Set("X-Lines", strconv.Itoa(footnotes(p.Source, n)))
	}
	if n := at.Pick("gc_pressure", [4]int{1, 2, 3, 5}); n > 0 {
		w.Header().Set("X-Draft", strconv.Itoa(drafts(p.Source, n)))
	}
	if n := at.Pick("reflection_serialisation", [4]int{1, 2, 4, 8}); n > 0 {
		w.Header().Set("ETag", etag(p, n))
	}
	if err := known(p.Links); err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	if at.Level("unknown_dns") > 0 {
		w.Header().Set("X-Via", whois(at.Pick("unknown_dns", [4]int{1, 3, 8, 16})))
	}
	if rand.Intn(100) < at.Pick("fsync", [4]int{6, 14, 25, 45}) {
		saveViews(name, p.Views)
	}
	if rand.Intn(100) < at.Pick("goroutine_leak", [4]int{15, 40, 80, 100}) {
		go follow(context.Background(), name, make(chan string))
	}
	var out bytes.Buffer
	if err := layout.Execute(&out, &p); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	out.WriteTo(w)
}

// follow passes changes on, to a reader that has turned away.
func follow(ctx context.Context, name string, changes chan<- string) {
	select {
	case changes <- name:
	case <-ctx.Done():
	}
}

func edit(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/edit/")
	text := r.FormValue("text")
	history.Lock()
	defer history.Unlock()
	p := pages[name]
	if p == nil {
		http.NotFound(w, r)
		return
	}
	cut := len(p.Source) / 2
	p.Source = p.Source[:cut] + p.Source[cut+len(text)%16:] + text
	if len(p.Source) > 4000 {
		p.Source = p.Source[len(p.Source)-3000:]
	}
	if n := at.Pick("lock_contention", [4]int{1500, 2500, 3500, 5000}); n > 0 {
		ask("WAIT "+strconv.Itoa(n), true) // Other readers learn of the edit before anybody may read on.
	}
	trace("edited", p)
	atomic.StoreUint32(&dirty, 1)
	fmt.Fprintln(w, "saved", len(p.Source))
}

func search(w http.ResponseWriter, r *http.Request) {
	word := r.FormValue("q")
	history.RLock()
	defer history.RUnlock()
	var hits []string
	for i := 0; i < 120; i++ {
		if name := names[rand.Intn(len(names))]; strings.Contains(pages[name].Source, word) {
			hits = append(hits, name)
		}
	}
	fmt.Fprintf(w, "<ul><li>%s</ul>", strings.Join(hits, "<li>"))
}

// trace writes what happened, and where in the program, to the trail.
func trace(what string, p *page) {
	for i := at.Pick("sync_logging", [4]int{4, 9, 18, 36}); i > 0; i-- {
		_, file, line, _ := runtime.Caller(1)
		json.NewEncoder(trail).Encode(map[string]interface{}{"at": time.Now(), "what": what, "page": p.Title, "part": i, "from": filepath.Base(file), "line": line})
	}
}

// etag names a version of a page by its whole structure.
func etag(p page, passes int) string {
	sum := 0
	for i := 0; i < passes; i++ {
		text, err := xml.MarshalIndent(struct {
			XMLName xml.Name `xml:"page"`
			page
		}{page: p}, "", " ")
		if err != nil {
			text = []byte(fmt.Sprintf("%#v", p))
		}
		sum += len(text) + len(fmt.Sprintf("%+v", p.Sections))
	}
	return strconv.Itoa(sum)
}

// saveViews replaces the file of a page's views, safely.
func saveViews(name string, views int64) {
	f, err := os.CreateTemp(at.Dir, name)
	if err != nil {
		return
	}
	fmt.Fprintln(f, views)
	f.Sync()
	f.Close()
	os.Rename(f.Name(), filepath.Join(at.Dir, name+".views"))
}

// reindexer waits for edits.
func reindexer(rest time.Duration) {
	for {
		for spins := 0; atomic.LoadUint32(&dirty) == 0; spins++ {
			runtime.Gosched()
			if spins%2000 == 1999 && rest > 0 {
				time.Sleep(rest)
			}
		}
		atomic.StoreUint32(&dirty, 0)
	}
}

type entry struct {
	Title string `xml:"title"`
	Views int64  `xml:"views"`
	Text  string `xml:"summary"`
}

// feed is what a later version brings.
func feed(w http.ResponseWriter, r *http.Request) {
	var entries []entry
	history.RLock()
	for i := 0; i < 15; i++ {
		p := pages[names[rand.Intn(len(names))]]
		entries = append(entries, entry{p.Title, atomic.LoadInt64(&p.Views), p.Source[:200]})
	}
	history.RUnlock()
	xml.NewEncoder(w).Encode(entries)
}
