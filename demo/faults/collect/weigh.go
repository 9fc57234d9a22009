package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// weighAll runs each episode's service for a moment at a low rate and prints what a request costs.
func weighAll(p *program, episodes []*episode, bin string) error {
	work, err := os.MkdirTemp("", "weigh")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	r := &run{program: p, bin: bin, dir: work}
	if r.store, err = startStore(bin, work); err != nil {
		return err
	}
	defer r.store.stop()
	if err := os.Mkdir(filepath.Join(work, "disk-of-the-services"), 0o755); err != nil {
		return err
	}
	for _, e := range episodes {
		if e.Kind == "mix" || e.Fault == "runqueue_neighbour" || e.Run > 1 {
			continue
		}
		if err := r.launchOurs(e); err != nil {
			return err
		}
		g := &generator{rate: 60, connect: r.connect(r.listen, e.fresh())}
		g.run()
		time.Sleep(700 * time.Millisecond)
		g.reset()
		before := look(r.server.Process.Pid, "", nil)
		time.Sleep(2 * time.Second)
		latencies := g.latencies()
		after := look(r.server.Process.Pid, "", nil)
		evidence := between(before, after, 2, latencies)
		fmt.Printf("%-40s %4d answers, %3d failures, %.2f ms of CPU, p50 %.2f ms\n", e.ID, len(latencies), g.failed.Load(), evidence["cpu_ms_per_request"], evidence["p50_ms"])
		if g.first != nil {
			fmt.Println("  first failure:", g.first)
		}
		r.stopServer()
		g.end()
	}
	return nil
}
