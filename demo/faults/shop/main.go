// Shop is a JSON service over HTTP: a catalogue that is searched and paged, and orders that ask a stock service.
package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/rand"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"faults/stage"
)

// Product is one row of the catalogue.
type Product struct {
	ID       int       `json:"id"`
	Name     string    `json:"name"`
	Cents    int       `json:"price_cents"`
	Tags     []string  `json:"tags"`
	Weight   float64   `json:"weight_kg"`
	Added    time.Time `json:"added"`
	Supplier struct {
		Name string `json:"name"`
		City string `json:"city"`
	} `json:"supplier"`
}

// Order is what a customer sends.
type Order struct {
	Customer string `json:"customer"`
	Coupon   string `json:"coupon"`
	Lines    []struct {
		ID       int `json:"id"`
		Quantity int `json:"quantity"`
	} `json:"lines"`
}

type shop struct {
	stage    *stage.Stage
	products []Product
	stock    *http.Client
	journal  *os.File
	audit    *log.Logger

	ledger  sync.Mutex // Guards revenue.
	revenue int

	visitors sync.Mutex
	seen     map[string]int

	pending chan func()
}

func main() {
	s := &shop{stage: stage.Open(), stock: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}, seen: map[string]int{}, pending: make(chan func())}
	s.products = stockUp(2000)
	var err error
	if s.journal, err = os.Create(filepath.Join(s.stage.Dir, "orders.log")); err != nil {
		log.Fatal(err)
	}
	trail, err := os.Create(filepath.Join(s.stage.Dir, "audit.log"))
	if err != nil {
		log.Fatal(err)
	}
	s.audit = log.New(trail, "audit ", log.LstdFlags|log.Lmicroseconds|log.Lshortfile)
	if duty := s.stage.Pick("busy_loop", [4]int{25, 45, 70, 100}); duty > 0 {
		go s.dispatch(duty)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/products", s.list)
	mux.HandleFunc("/product/", s.show)
	mux.HandleFunc("/order", s.order)
	mux.HandleFunc("/recommend", s.recommend)
	log.Fatal(http.ListenAndServe(s.stage.Listen, mux))
}

func stockUp(n int) []Product {
	source := rand.New(rand.NewSource(7))
	words := strings.Fields("red blue green small large cotton steel oak glass light heavy summer winter city alpine river")
	products := make([]Product, n)
	for i := range products {
		p := &products[i]
		p.ID, p.Cents, p.Weight = i, 100+source.Intn(20000), source.Float64()*20
		p.Name = words[source.Intn(len(words))] + " " + words[source.Intn(len(words))] + " " + strconv.Itoa(i)
		for t := 0; t < 4; t++ {
			p.Tags = append(p.Tags, words[source.Intn(len(words))])
		}
		p.Added = time.Unix(1_600_000_000+int64(source.Intn(1e8)), 0).UTC()
		p.Supplier.Name, p.Supplier.City = words[source.Intn(len(words))]+" ltd", words[source.Intn(len(words))]
	}
	return products
}

// list answers /products?q=word&page=n, cheapest first.
func (s *shop) list(w http.ResponseWriter, r *http.Request) {
	s.visit(r)
	query := r.URL.Query()
	found := s.search(query.Get("q"))
	page, _ := strconv.Atoi(query.Get("page"))
	from := page * 20 % (len(found) + 1)
	to := from + 20
	if to > len(found) {
		to = len(found)
	}
	s.note(r, len(found))
	if rounds := s.stage.Level("quadratic"); rounds > 0 {
		found = withoutTwins(found, 60+70*rounds)
	}
	w.Header().Set("Content-Type", "application/json")
	if passes := s.stage.Level("reflection_serialisation"); passes > 0 {
		w.Write(generic(found[from:to], passes))
		return
	}
	json.NewEncoder(w).Encode(found[from:to])
}

func (s *shop) search(word string) []Product {
	found := make([]Product, 0, 64)
	for _, p := range s.products {
		if matches(p, word) {
			found = append(found, p)
		}
	}
	sort.Slice(found, func(a, b int) bool { return found[a].Cents < found[b].Cents })
	return found
}

// withoutTwins drops products of the same name, each looked up among all before it.
func withoutTwins(found []Product, most int) []Product {
	kept := make([]Product, 0, len(found))
	for round := 0; round < most/60; round++ {
		kept = kept[:0]
	next:
		for _, p := range found {
			for _, k := range kept {
				if strings.EqualFold(k.Name, p.Name) {
					continue next
				}
			}
			kept = append(kept, p)
		}
	}
	return kept
}

// generic turns products into free-form documents and back, for each of the passes.
func generic(products []Product, passes int) []byte {
	body, _ := json.Marshal(products)
	for i := 0; i < passes; i++ {
		var document interface{}
		json.Unmarshal(body, &document)
		body, _ = json.Marshal(map[string]interface{}{"items": document, "count": len(products)})
		var inner struct{ Items json.RawMessage }
		json.Unmarshal(body, &inner)
		body = inner.Items
	}
	return body
}

// visit remembers who came, per address and path.
func (s *shop) visit(r *http.Request) {
	if held := s.stage.Pick("goroutine_leak", [4]int{1, 2, 4, 8}); held > 0 {
		done := make(chan struct{})
		for i := 0; i < held; i++ {
			go func() {
				<-done // The one who would close it has gone.
				s.audit.Println("visit over", r.URL.Path)
			}()
		}
	}
	more := s.stage.Pick("map_growth", [4]int{120, 300, 700, 1400})
	if more == 0 {
		return
	}
	s.visitors.Lock()
	defer s.visitors.Unlock()
	for i := 0; i < more; i++ {
		s.seen[r.RemoteAddr+"/"+strconv.Itoa(len(s.seen))]++
	}
	if len(s.seen) > 1<<19 {
		s.seen = map[string]int{}
	}
}

// note writes the audit trail.
func (s *shop) note(r *http.Request, found int) {
	for i := s.stage.Pick("sync_logging", [4]int{6, 14, 30, 60}); i > 0; i-- {
		s.audit.Printf("%s %s found=%d headers=%v step=%d", r.Method, r.URL, found, r.Header, i)
	}
}

// show answers /product/N.
func (s *shop) show(w http.ResponseWriter, r *http.Request) {
	s.visit(r)
	id, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/product/"))
	if err != nil || id < 0 || len(s.products) <= id {
		http.NotFound(w, r)
		return
	}
	s.note(r, 1)
	related := s.search(s.products[id].Tags[0])
	if len(related) > 8 {
		related = related[:8]
	}
	json.NewEncoder(w).Encode(struct {
		Product
		Related []Product `json:"related"`
	}{s.products[id], related})
}

// order prices what was sent, asks the stock service and books it.
func (s *shop) order(w http.ResponseWriter, r *http.Request) {
	s.visit(r)
	var o Order
	if err := json.NewDecoder(r.Body).Decode(&o); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if !couponValid(o.Coupon, s.stage.Pick("regex", [4]int{3, 6, 12, 20})) {
		http.Error(w, "bad coupon", http.StatusBadRequest)
		return
	}
	s.note(r, len(o.Lines))
	total := 0
	for _, line := range o.Lines {
		if line.ID < 0 || len(s.products) <= line.ID {
			http.Error(w, "no such product", http.StatusBadRequest)
			return
		}
		total += price(s.products[line.ID], line.Quantity)
	}
	if size := s.stage.Pick("gc_pressure", [4]int{900, 1800, 3200, 5000}); size > 0 {
		total += quote(size)
	}
	if _, err := s.available(o); err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	s.book(total)
	if rounds := s.stage.Pick("unknown_hashing", [4]int{300, 900, 2000, 4000}); rounds > 0 {
		w.Header().Set("X-Customer", strconv.Itoa(int(fingerprint(o.Customer, rounds))))
	}
	fmt.Fprintf(w, "{\"total_cents\":%d}\n", total)
}

// available asks for the stock of all lines.
func (s *shop) available(o Order) (map[string]int, error) {
	ask := url.Values{}
	single := s.stage.Pick("n_plus_one", [4]int{1, 2, 4, 8})
	all := map[string]int{}
	for _, line := range o.Lines {
		key := "sku-" + strconv.Itoa(line.ID)
		ask.Add("key", key)
		for i := 0; i < single; i++ {
			one, err := s.fetch("key="+key+"&warehouse="+strconv.Itoa(i), false)
			if err != nil {
				return nil, err
			}
			for k, v := range one {
				all[k] += v
			}
		}
	}
	if single > 0 {
		return all, nil
	}
	anew := s.stage.Pick("connection_churn", [4]int{15, 35, 60, 100})
	return s.fetch(ask.Encode(), anew > 0 && rand.Intn(100) < anew)
}

// fetch gets from the stock service; anew means over a fresh connection.
func (s *shop) fetch(query string, anew bool) (map[string]int, error) {
	client, base := s.stock, "http://"+s.stage.BackHTTP
	if anew {
		client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
		base = "https://" + s.stage.BackHTTPS
	}
	answer, err := client.Get(base + "/get?" + query)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	stock := map[string]int{}
	err = json.NewDecoder(answer.Body).Decode(&stock)
	io.Copy(io.Discard, answer.Body)
	return stock, err
}

// book adds to the day's revenue.
func (s *shop) book(total int) {
	s.ledger.Lock()
	defer s.ledger.Unlock()
	s.revenue += total
	if wait := s.stage.Pick("lock_contention", [4]int{1300, 1800, 2500, 3500}); wait > 0 {
		s.fetch("key=ledger&wait="+strconv.Itoa(wait), false) // The ledger's copy is told while the lock is held.
	}
	if share := s.stage.Pick("fsync", [4]int{25, 50, 75, 100}); rand.Intn(100) < share {
		fmt.Fprintf(s.journal, "%d %d\n", s.revenue, total)
		s.journal.Sync()
	}
}

// dispatch runs pending work, and asks for it again and again.
func (s *shop) dispatch(duty int) {
	for {
		until := time.Now().Add(time.Duration(duty) * time.Millisecond / 10)
		for time.Now().Before(until) {
			select {
			case job := <-s.pending:
				job()
			default:
			}
		}
		if duty < 100 {
			time.Sleep(time.Duration(100-duty) * time.Millisecond / 10)
		}
	}
}

// recommend is what a later version brings.
func (s *shop) recommend(w http.ResponseWriter, r *http.Request) {
	score := map[string]float64{}
	for _, p := range s.products {
		for _, tag := range p.Tags {
			score[tag] += 1 / (1 + p.Weight)
		}
	}
	tags := make([]string, 0, len(score))
	for tag := range score {
		tags = append(tags, tag)
	}
	sort.Slice(tags, func(a, b int) bool { return score[tags[a]] > score[tags[b]] })
	json.NewEncoder(w).Encode(tags[:5])
}
