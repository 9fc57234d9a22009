package main

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"strings"
)

// early are the rules of the programs whose episodes in the corpus were collected before the garbage collector's share and
// threads that wait for a disk were measured.
var early = map[string]rule{"gc_pressure": {"gc_cycles", 1.5, 2}, "fsync": {"mean_ms", 1.3, 0.1}}

// programs lists what is collected. A role was given to each before anything was evaluated.
func programs() []*program {
	return []*program{
		{Name: "shop", Language: "go", Role: "development", What: "JSON over HTTP: a catalogue that is searched and paged, orders that ask a stock service.",
			rates: [3]float64{550, 800, 1100}, connect: driveShop,
			faults: []string{"lock_contention", "sync_logging", "reflection_serialisation", "regex", "gc_pressure", "map_growth", "busy_loop", "fsync",
				"n_plus_one", "connection_churn", "goroutine_leak", "quadratic", "runqueue_neighbour"},
			mixes: [][2]string{{"regex", "sync_logging"}, {"connection_churn", "gc_pressure"}}, unknown: []string{"unknown_hashing"},
			// Its heap is collected all the time: that each request costs more tells.
			rules: map[string]rule{"gc_pressure": {"cpu_ms_per_request", 1.15, 0}, "fsync": early["fsync"]}},
		{Name: "kv", Language: "go", Role: "development", What: "Key-value server with a text protocol over TCP, an append-only log and a replica.",
			rates: [3]float64{1300, 1800, 2500}, connect: driveKv,
			faults: []string{"lock_contention", "sync_logging", "reflection_serialisation", "regex", "gc_pressure", "map_growth", "busy_loop", "fsync",
				"n_plus_one", "connection_churn", "goroutine_leak", "quadratic", "runqueue_neighbour"},
			mixes: [][2]string{{"fsync", "regex"}, {"map_growth", "n_plus_one"}}, unknown: []string{"unknown_big_sort"},
			rules: early},
		{Name: "wiki", Language: "go", Role: "development", What: "Pages in a markup over HTTP, wrapped by html/template, with links that a store knows.",
			rates: [3]float64{1200, 1650, 2200}, connect: driveWiki,
			faults: []string{"regex", "lock_contention", "sync_logging", "gc_pressure", "reflection_serialisation", "quadratic", "map_growth", "busy_loop",
				"goroutine_leak", "fsync", "connection_churn", "n_plus_one", "runqueue_neighbour"},
			mixes: [][2]string{{"goroutine_leak", "regex"}, {"sync_logging", "quadratic"}}, unknown: []string{"unknown_dns", "unknown_compression"}},
		{Name: "mq", Language: "go", Role: "development", What: "Message queue with binary frames over TCP and a log for each topic.",
			rates: [3]float64{2200, 3200, 4400}, connect: driveMq,
			faults: []string{"fsync", "n_plus_one", "lock_contention", "regex", "sync_logging", "busy_loop", "reflection_serialisation", "gc_pressure",
				"quadratic", "connection_churn", "map_growth", "goroutine_leak", "runqueue_neighbour"},
			mixes: [][2]string{{"lock_contention", "gc_pressure"}, {"fsync", "reflection_serialisation"}}, unknown: []string{"unknown_timezone", "unknown_cache_off"}},
		{Name: "ledger", Language: "rust", Role: "development", What: "Accounts and transfers over HTTP with JSON, a thread for each connection.",
			rates: [3]float64{1800, 2600, 3400}, connect: driveLedger,
			faults: []string{"connection_churn", "regex", "quadratic", "fsync", "lock_contention", "reflection_serialisation", "map_growth", "sync_logging",
				"n_plus_one", "busy_loop", "goroutine_leak", "runqueue_neighbour"},
			mixes: [][2]string{{"regex", "connection_churn"}, {"sync_logging", "quadratic"}}, unknown: []string{"unknown_hashing"}},
		{Name: "geo", Language: "rust", Role: "sealed", What: "Points and routes over lines of text, asynchronous on four workers.",
			rates: [3]float64{3000, 4200, 5600}, connect: driveGeo,
			faults: []string{"sync_logging", "n_plus_one", "map_growth", "regex", "connection_churn", "quadratic", "lock_contention", "fsync",
				"reflection_serialisation", "busy_loop", "goroutine_leak", "runqueue_neighbour"},
			mixes: [][2]string{{"map_growth", "regex"}, {"fsync", "n_plus_one"}}, unknown: []string{"unknown_big_sort", "unknown_cache_off"},
			// Idle workers of the runtime wait like those that wait for a lock: waiters do not tell.
			rules: map[string]rule{"lock_contention": {"mean_ms", 1.3, 0.1}}},
		{Name: "render", Language: "go", Role: "validation", What: "Charts as PNG and tables as text over HTTP, with widths of glyphs from a store.",
			rates: [3]float64{350, 480, 650}, connect: driveRender,
			faults: []string{"map_growth", "gc_pressure", "regex", "connection_churn", "lock_contention", "quadratic", "sync_logging", "n_plus_one",
				"reflection_serialisation", "goroutine_leak", "fsync", "busy_loop", "runqueue_neighbour"},
			mixes: [][2]string{{"regex", "n_plus_one"}, {"gc_pressure", "fsync"}}, unknown: []string{"unknown_encryption"}},
		{Name: "search", Language: "go", Role: "sealed", What: "Search over a text index, with a cache of results and titles from a store.",
			rates: [3]float64{850, 1200, 1600}, connect: driveSearch,
			faults: []string{"gc_pressure", "goroutine_leak", "n_plus_one", "fsync", "map_growth", "connection_churn", "busy_loop", "regex",
				"lock_contention", "reflection_serialisation", "sync_logging", "quadratic", "runqueue_neighbour"},
			mixes: [][2]string{{"quadratic", "connection_churn"}, {"lock_contention", "sync_logging"}}, unknown: []string{"unknown_cache_off", "unknown_base64"}},
		{Name: "etcd", Language: "go", Role: "sealed", Real: true, What: "etcd of the distribution, its data on a file system of its own whose writes are held back.",
			rates: [3]float64{500, 700, 900}, launch: launchEtcd, drive: driveEtcd,
			faults: []string{"fsync", "runqueue_neighbour"}, unknown: []string{"unknown_big_sort"},
			// It always waits for its disk: that it waits longer shows in its answers.
			rules: map[string]rule{"fsync": {"mean_ms", 1.5, 0}}},
		{Name: "prometheus", Language: "go", Role: "sealed", Real: true, What: "Prometheus of the distribution over TLS, under queries with regular expressions, under connections that do not stay.",
			rates: [3]float64{120, 180, 260}, launch: launchPrometheus, drive: drivePrometheus,
			faults: []string{"regex", "connection_churn"}, rules: map[string]rule{"connection_churn": {"tcp_opens_per_s", 2, 5}}},
		{Name: "nginx", Language: "c", Role: "sealed", Real: true, What: "nginx of the distribution over TLS: access logs without a buffer, maps with many patterns, connections that do not stay.",
			rates: [3]float64{1500, 2100, 2800}, launch: launchNginx, drive: driveNginx,
			faults: []string{"sync_logging", "regex", "connection_churn", "runqueue_neighbour"}, unknown: []string{"unknown_compression"},
			rules: map[string]rule{"connection_churn": {"tcp_opens_per_s", 2, 5}}},
	}
}

func driveRender(address string, fresh bool) func() (client, error) {
	titles := []string{"Revenue+2024+in+1000", "Visitors+per+Day+12%25", "Errors+by+Region+North", "Latency+of+Checkout+99%25"}
	return overHTTP(address, func(source *rand.Rand) request {
		title := titles[source.Intn(len(titles))]
		switch n := source.Intn(100); {
		case fresh && n < 20:
			return request{"GET", "/thumb", nil}
		case n < 25:
			return request{"GET", "/table?title=" + title, nil}
		}
		return request{"GET", fmt.Sprintf("/chart?title=%s&seed=%d", title, source.Intn(500)), nil}
	})
}

func driveSearch(address string, fresh bool) func() (client, error) {
	return overHTTP(address, func(source *rand.Rand) request {
		word := func() string { return fmt.Sprintf("w%d", int(source.ExpFloat64()*60)%700) }
		switch n := source.Intn(100); {
		case fresh && n < 20:
			return request{"GET", "/suggest?prefix=w" + fmt.Sprint(1+source.Intn(9)), nil}
		case n < 15:
			return request{"POST", "/add", []byte(strings.Repeat(word()+" "+word()+" "+word()+" ", 8))}
		case n < 45:
			return request{"GET", "/find?q=" + fmt.Sprintf("w%d+w%d", source.Intn(12), 20+source.Intn(8)), nil}
		}
		return request{"GET", "/find?q=" + word() + "+" + word(), nil}
	})
}

func driveLedger(address string, fresh bool) func() (client, error) {
	return overHTTP(address, func(source *rand.Rand) request {
		switch n := source.Intn(100); {
		case fresh && n < 15:
			return request{"GET", fmt.Sprintf("/richest/%d", 5+source.Intn(20)), nil}
		case n < 55:
			return request{"GET", fmt.Sprintf("/statement/%d", source.Intn(3000)), nil}
		}
		body, _ := json.Marshal(map[string]interface{}{"from": source.Intn(3000), "to": source.Intn(3000), "cents": source.Intn(90000), "reference": fmt.Sprintf("PAY-%06X", source.Intn(1<<24))})
		return request{"POST", "/transfer", body}
	})
}

func driveGeo(address string, fresh bool) func() (client, error) {
	return overLines(address, func(source *rand.Rand) string {
		x, y := source.Float64()*1000, source.Float64()*1000
		switch n := source.Intn(100); {
		case fresh && n < 20:
			return fmt.Sprintf("BOX %.1f %.1f 80", x, y)
		case n < 15:
			return fmt.Sprintf("ADD %d %.2f %.2f tower", 50000+source.Intn(9999), x, y)
		case n < 45:
			return fmt.Sprintf("ROUTE %d %d", source.Intn(576), source.Intn(576))
		}
		return fmt.Sprintf("NEAR %.2f %.2f %d", x, y, 8+source.Intn(16))
	})
}

func driveWiki(address string, fresh bool) func() (client, error) {
	words := strings.Fields("river bridge stone market winter harvest council tower bell ferry")
	return overHTTP(address, func(source *rand.Rand) request {
		name := fmt.Sprintf("p%d", source.Intn(400))
		switch n := source.Intn(100); {
		case fresh && n < 20:
			return request{"GET", "/feed", nil}
		case n < 5:
			return request{"GET", "/edit/" + name + "?text=" + words[source.Intn(10)] + "+%5B%5Bp1%5D%5D", nil}
		case n < 22:
			return request{"GET", "/search?q=" + words[source.Intn(10)], nil}
		}
		return request{"GET", "/page/" + name, nil}
	})
}

func driveMq(address string, fresh bool) func() (client, error) {
	kinds := []string{"order", "parcel", "refund", "visit"}
	return overFrames(address, func(source *rand.Rand) []byte {
		topic := "t0"
		if source.Intn(5) > 2 {
			topic = fmt.Sprintf("t%d", source.Intn(8))
		}
		frame := append([]byte("P"+topic), 0)
		switch n := source.Intn(100); {
		case fresh && n < 15:
			frame[0] = 'S'
		case n < 45:
			frame[0] = 'F'
			frame = append(frame, 0, 0, 0, 0, 0, 0, 0, 0, byte('0'+source.Intn(10)))
		case n < 60:
			frame[0] = 'A'
			frame = append(frame, 0, 0, 0, 0, 0, 0, byte(source.Intn(256)), byte(source.Intn(256)))
		default:
			body, _ := json.Marshal(map[string]interface{}{"kind": kinds[source.Intn(4)], "region": "north", "grade": source.Intn(10),
				"note": strings.Repeat("abc ", 40+source.Intn(60)), "amounts": source.Perm(20)})
			frame = append(frame, body...)
		}
		return frame
	})
}

func driveShop(address string, fresh bool) func() (client, error) {
	words := strings.Fields("red blue green small large cotton steel oak glass light heavy summer winter city alpine river")
	return overHTTP(address, func(source *rand.Rand) request {
		switch n := source.Intn(100); {
		case fresh && n < 25:
			return request{"GET", "/recommend", nil}
		case n < 45:
			return request{"GET", fmt.Sprintf("/products?q=%s&page=%d", words[source.Intn(len(words))], source.Intn(4)), nil}
		case n < 60:
			return request{"GET", fmt.Sprintf("/product/%d", source.Intn(2000)), nil}
		}
		type line struct {
			ID       int `json:"id"`
			Quantity int `json:"quantity"`
		}
		order := struct {
			Customer string `json:"customer"`
			Coupon   string `json:"coupon"`
			Lines    []line `json:"lines"`
		}{fmt.Sprint("c", source.Intn(5000)), "SPRING-" + fmt.Sprintf("%04x", source.Intn(1<<16)), nil}
		for i := source.Intn(4) + 2; i > 0; i-- {
			order.Lines = append(order.Lines, line{source.Intn(2000), 1 + source.Intn(5)})
		}
		body, _ := json.Marshal(order)
		return request{"POST", "/order", body}
	})
}

func driveKv(address string, fresh bool) func() (client, error) {
	return overLines(address, func(source *rand.Rand) string {
		key := fmt.Sprintf("user:%05d", source.Intn(20000))
		switch n := source.Intn(100); {
		case fresh && n < 20:
			return fmt.Sprintf("SUM user:%02d", source.Intn(20))
		case n < 45:
			return "GET " + key
		case n < 70:
			return "SET " + key + " " + strings.Repeat("w", 20+source.Intn(150))
		case n < 80:
			return fmt.Sprintf("INCR count:%d", source.Intn(500))
		case n < 90:
			return fmt.Sprintf("SUM user:%03d", source.Intn(200))
		}
		return fmt.Sprintf("SCAN user:%02d", source.Intn(20))
	})
}
