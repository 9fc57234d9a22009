package main

import (
	"fmt"
	"sort"
	"strings"
)

// A fault that was put in need not show. rule says from which number, measured apart from the profile, it is told:
// it took effect when the number now exceeds factor times that of the base plus an allowance.
type rule struct {
	signal       string
	factor, plus float64
}

var rules = map[string]rule{
	"lock_contention":          {"waiters", 2, 0.5},
	"sync_logging":             {"write_calls_per_request", 1.5, 0},
	"reflection_serialisation": {"cpu_ms_per_request", 1.15, 0},
	"regex":                    {"cpu_ms_per_request", 1.15, 0},
	"gc_pressure":              {"gc_cpu_share", 1.25, 0},
	"map_growth":               {"cpu_ms_per_request", 1.15, 0},
	"busy_loop":                {"cpu_seconds", 1, 0.5},
	"fsync":                    {"disk_wait_ms_per_s", 2, 10},
	"n_plus_one":               {"store_calls_per_request", 1.5, 0.1},
	"connection_churn":         {"store_connections_per_s", 2, 5},
	"goroutine_leak":           {"goroutines_grown", 2, 200},
	"quadratic":                {"cpu_ms_per_request", 1.15, 0},
	"runqueue_neighbour":       {"runqueue_wait_ms_per_s", 1.5, 30},
}

func (p *program) ruleOf(fault string, e *episode) rule {
	if own, ok := p.rules[fault]; ok {
		return own
	}
	r, ok := rules[fault]
	if !ok {
		return rule{"cpu_ms_per_request", 1.15, 0} // Faults outside the list.
	}
	if fault == "goroutine_leak" && e.Evidence["goroutines"] == 0 {
		return rule{"threads_grown", 2, 20}
	}
	return r
}

func (r rule) String() string {
	text := fmt.Sprintf("now > %g base", r.factor)
	if r.plus > 0 {
		text += fmt.Sprintf(" + %g", r.plus)
	}
	return text
}

// judge gives each episode its base, the normal one of the same load that was run nearest to it, and says whether what
// was put in took effect, against the median of all normal runs of that load: a single one may have been disturbed.
// A mix took effect when both of its faults did.
func (p *program) judge(episodes []*episode) {
	for i, e := range episodes {
		var base *episode
		away := 0
		for j, other := range episodes {
			distance := abs(i - j)
			if other.Kind == "normal" && other.Load == e.Load && j != i && (base == nil || distance < away) {
				base, away = other, distance
			}
		}
		if base == nil {
			continue
		}
		e.Base = base.ID
		if e.Kind == "normal" || e.Kind == "benign" {
			continue
		}
		took := true
		for _, fault := range append([]string{e.Fault}, e.Also...) {
			r := p.ruleOf(fault, e)
			signal := signal{Name: r.signal, Base: usual(episodes, e.Load, r.signal), Now: e.Evidence[r.signal], Rule: r.String()}
			shows := signal.Now > r.factor*signal.Base+r.plus
			took = took && shows
			if fault == e.Fault {
				e.Signal = &signal
			}
		}
		e.TookEffect = &took
	}
}

// usual is the median of a signal over the normal runs of a load.
func usual(episodes []*episode, load int, signal string) float64 {
	var values []float64
	for _, e := range episodes {
		if e.Kind == "normal" && e.Load == load {
			values = append(values, e.Evidence[signal])
		}
	}
	sort.Float64s(values)
	return values[len(values)/2]
}

func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}

// outcome is one line for the terminal.
func (e *episode) outcome() string {
	took := "-"
	if e.TookEffect != nil {
		took = fmt.Sprint(*e.TookEffect)
	}
	text := fmt.Sprintf("%-46s %6d samples %6.0f rps cpu %4.2f p50 %6.2f p99 %7.2f", e.ID, e.Samples, e.Evidence["requests_per_second"],
		e.Evidence["cpu_seconds"]/e.seconds(), e.Evidence["p50_ms"], e.Evidence["p99_ms"])
	if e.Signal != nil {
		text += fmt.Sprintf("  %-5s %s %.3g -> %.3g", took, e.Signal.Name, e.Signal.Base, e.Signal.Now)
	}
	return strings.TrimRight(text, " ")
}
