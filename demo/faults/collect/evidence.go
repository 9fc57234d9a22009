package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// totals are counted over an episode; everything else is a level or a rate.
var totals = []string{"cpu_seconds", "voluntary_switches", "involuntary_switches", "gc_cycles", "gc_pause_ms", "alloc_bytes"}

// reading is one look at the counters of a process; a key that could not be read is absent.
type reading map[string]float64

// look reads /proc, and the Go runtime's own numbers from its pprof endpoint when there is one.
func look(pid int, admin string, s *store) reading {
	r := reading{}
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	if text, err := os.ReadFile(proc + "/stat"); err == nil {
		// Fields 14 and 15, counted after the name, which may hold spaces; the kernel's tick is 10 ms here for all.
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+2:]))
		user, _ := strconv.ParseFloat(fields[11], 64)
		system, _ := strconv.ParseFloat(fields[12], 64)
		r["cpu_seconds"] = (user + system) / 100
		r["threads"], _ = strconv.ParseFloat(fields[17], 64)
	}
	for _, line := range lines(proc + "/io") {
		name, value, _ := strings.Cut(line, ": ")
		number, _ := strconv.ParseFloat(value, 64)
		switch name {
		case "syscr":
			r["read_calls"] = number
		case "syscw":
			r["write_calls"] = number
		}
	}
	for _, line := range lines(proc + "/status") {
		name, value, _ := strings.Cut(line, ":")
		if name == "VmRSS" {
			number, _ := strconv.ParseFloat(strings.Fields(value)[0], 64)
			r["rss_bytes"] = number * 1024
		}
	}
	tasks, _ := filepath.Glob(proc + "/task/*")
	for _, task := range tasks {
		for _, line := range lines(task + "/status") {
			name, value, _ := strings.Cut(line, ":")
			number, _ := strconv.ParseFloat(strings.TrimSpace(value), 64)
			switch name {
			case "voluntary_ctxt_switches":
				r["voluntary_switches"] += number
			case "nonvoluntary_ctxt_switches":
				r["involuntary_switches"] += number
			}
		}
		var ran, waited, slices float64
		if text, err := os.ReadFile(task + "/schedstat"); err == nil {
			fmt.Sscan(string(text), &ran, &waited, &slices)
			r["runqueue_wait_ms"] += waited / 1e6
		}
	}
	if s != nil {
		r["store_calls"], r["store_connections"] = s.counts()
	}
	if admin != "" {
		runtimeNumbers(admin, r)
	}
	return r
}

// pprofs trusts whom it asks: the certificates are our own.
var pprofs = &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}

// pprof gets a profile in its text form.
func pprof(admin, kind string) (*http.Response, error) {
	if !strings.Contains(admin, "://") {
		admin = "http://" + admin
	}
	return pprofs.Get(admin + "/debug/pprof/" + kind + "?debug=1")
}

var totalGoroutines = regexp.MustCompile(`total (\d+)`)

// pausesKept is how many pauses of the garbage collector the runtime remembers.
const pausesKept = 256

// runtimeNumbers reads what /debug/pprof/heap?debug=1 says of the garbage collector.
func runtimeNumbers(admin string, r reading) {
	answer, err := pprof(admin, "heap")
	if err != nil {
		return
	}
	defer answer.Body.Close()
	wanted := map[string]string{"NumGC": "gc_cycles", "TotalAlloc": "alloc_bytes", "HeapAlloc": "heap_bytes", "GCCPUFraction": "gc_cpu_share"}
	in := bufio.NewScanner(answer.Body)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		name, value, ok := strings.Cut(strings.TrimPrefix(in.Text(), "# "), " = ")
		if !ok {
			continue
		}
		if key := wanted[name]; key != "" {
			r[key], _ = strconv.ParseFloat(value, 64)
		}
		if name == "PauseNs" {
			// The last 256 pauses; their sum is the total as long as there were no more.
			for _, pause := range strings.Fields(strings.Trim(value, "[]")) {
				number, _ := strconv.ParseFloat(pause, 64)
				r["gc_pause_ms"] += number / 1e6
			}
		}
	}
	if pausesKept < r["gc_cycles"] {
		delete(r, "gc_pause_ms")
	}
	if count, err := pprof(admin, "goroutine"); err == nil {
		head := make([]byte, 64)
		n, _ := io.ReadFull(count.Body, head)
		io.Copy(io.Discard, count.Body)
		count.Body.Close()
		if found := totalGoroutines.FindSubmatch(head[:n]); found != nil {
			r["goroutines"], _ = strconv.ParseFloat(string(found[1]), 64)
		}
	}
}

// between turns two looks and the load's figures into the evidence of an episode.
func between(a, b reading, seconds float64, latencies []float64) reading {
	e := reading{
		"requests_per_second": float64(len(latencies)) / seconds,
		"p50_ms":              quantile(latencies, 0.5), "p99_ms": quantile(latencies, 0.99), "mean_ms": mean(latencies),
	}
	for _, key := range totals {
		before, known := a[key]
		if now, still := b[key]; known && still {
			e[key] = now - before
		}
	}
	for _, key := range []string{"read_calls", "write_calls", "runqueue_wait_ms", "store_calls", "store_connections"} {
		if before, ok := a[key]; ok {
			e[key+"_per_s"] = (b[key] - before) / seconds
		}
	}
	for _, key := range []string{"goroutines", "threads", "rss_bytes", "heap_bytes"} {
		if now, ok := b[key]; ok {
			e[key] = now
		}
	}
	if share, ok := b["gc_cpu_share"]; ok {
		// The runtime tells the share since its start; what fell into the episode is the difference of both products.
		e["gc_cpu_share"] = (share*b["age_s"] - a["gc_cpu_share"]*a["age_s"]) / (b["age_s"] - a["age_s"])
	}
	if before, ok := a["goroutines"]; ok {
		e["goroutines_grown"] = b["goroutines"] - before
	}
	e["threads_grown"] = b["threads"] - a["threads"]
	if len(latencies) > 0 {
		e["cpu_ms_per_request"] = e["cpu_seconds"] * 1000 / float64(len(latencies))
		e["write_calls_per_request"] = e["write_calls_per_s"] * seconds / float64(len(latencies))
		if calls, ok := e["store_calls_per_s"]; ok {
			e["store_calls_per_request"] = calls * seconds / float64(len(latencies))
		}
	}
	return e
}

func mean(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sum := 0.0
	for _, value := range values {
		sum += value
	}
	return sum / float64(len(values))
}
