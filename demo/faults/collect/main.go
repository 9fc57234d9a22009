// Collect runs the demo services and real servers through their faults and writes what was seen to the corpus.
// It is run by `./dev corpus`, which builds the programs first.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// warm is how long the load runs before anything is measured: connections open, heaps and caches find their size.
const warm = 800 * time.Millisecond

func main() {
	bin := flag.String("bin", "", "directory of the built programs")
	out := flag.String("out", "corpus", "directory of the corpus")
	only := flag.String("programs", "", "names, by comma; all when empty")
	quick := flag.Bool("quick", false, "two intensities, two normal runs: to look, not to keep")
	weigh := flag.Bool("weigh", false, "only print what a request costs under each fault at a low rate: to choose levels by")
	match := flag.String("match", "", "keep to episodes whose name matches, beside the normal ones")
	flag.Parse()
	log.SetFlags(0)
	wanted := strings.Split(*only, ",")
	for _, p := range programs() {
		if *only != "" && !contains(wanted, p.Name) {
			continue
		}
		episodes := p.plan(*quick)
		if *match != "" {
			pattern := regexp.MustCompile(*match)
			kept := episodes[:0]
			for _, e := range episodes {
				if pattern.MatchString(e.ID) {
					kept = append(kept, e)
				}
			}
			episodes = kept
		}
		if *weigh {
			if err := weighAll(p, episodes, *bin); err != nil {
				log.Fatal(err)
			}
			continue
		}
		if err := collect(p, episodes, *bin, *out); err != nil {
			log.Printf("%s: %v", p.Name, err)
			os.Exit(1)
		}
	}
}

// run is a program under collection.
type run struct {
	*program
	bin, out, dir string
	store         *store
	images        images
	// Of the episode that runs now.
	server        *child
	listen, admin string
	undo          []func()
}

func collect(p *program, episodes []*episode, bin, out string) error {
	started := time.Now()
	work, err := os.MkdirTemp("", "corpus")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	r := &run{program: p, bin: bin, dir: work, out: filepath.Join(work, "out"), images: images{map[string]*image{}}}
	if err := os.Mkdir(r.out, 0o755); err != nil {
		return err
	}
	if p.Real {
		if err := certify(work); err != nil {
			return err
		}
	} else {
		if r.store, err = startStore(bin, work); err != nil {
			return err
		}
		defer r.store.stop()
		_, release, err := ownDisk(work, filepath.Join(work, "disk-of-the-services"))
		if err != nil {
			return err
		}
		defer release()
	}
	// Profiles are folded beside the next episode's start.
	folding := make(chan func(), 1)
	folded := make(chan struct{})
	go func() {
		for job := range folding {
			job()
		}
		close(folded)
	}()
	for _, e := range episodes {
		data, census, err := r.episode(e)
		if err != nil {
			log.Printf("%s, once more: %v", e.ID, err)
			data, census, err = r.episode(e)
		}
		if err != nil {
			e.failure = err
			log.Printf("%s: %v", e.ID, err)
			continue
		}
		e := e
		folding <- func() { e.failure = r.keep(e, data, census) }
	}
	close(folding)
	<-folded
	target := filepath.Join(out, p.Name)
	whole, err := r.merged(episodes, target)
	if err != nil {
		return err
	}
	p.judge(whole)
	if err := r.write(whole); err != nil {
		return err
	}
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	// Not a rename: the work directory may lie on another file system.
	if text, err := exec.Command("cp", "-r", r.out+"/.", target).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, text)
	}
	for _, e := range whole {
		fmt.Println(e.outcome())
	}
	fmt.Printf("%s: %d episodes in %.0f s\n", p.Name, len(whole), time.Since(started).Seconds())
	return nil
}

// merged puts what was collected now among what the corpus has of this program, in the order of the plan.
func (r *run) merged(episodes []*episode, target string) ([]*episode, error) {
	have := map[string]*episode{}
	if text, err := os.ReadFile(filepath.Join(target, "episodes.jsonl")); err == nil {
		for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
			var e episode
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				return nil, fmt.Errorf("%s: %w", target, err)
			}
			have[e.ID] = &e
		}
	}
	for _, e := range episodes {
		if e.failure == nil {
			have[e.ID] = e
		} else {
			log.Printf("%s is left out: %v", e.ID, e.failure)
		}
	}
	var all []*episode
	for _, e := range r.plan(false) {
		if known := have[e.ID]; known != nil {
			all = append(all, known)
		}
	}
	return all, nil
}

// launchOurs starts one of the demo services.
func (r *run) launchOurs(e *episode) error {
	name := r.Name
	if e.Benign != nil && *e.Benign == "deploy" {
		name += "-next"
	}
	dir := filepath.Join(r.dir, "disk-of-the-services", "service")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	r.undo = append(r.undo, func() { os.RemoveAll(dir) })
	r.listen, r.admin = free(), ""
	if r.Language == "go" {
		r.admin = free()
	}
	switches := e.switches
	if e.Fault == "runqueue_neighbour" {
		switches = ""
	}
	var err error
	if r.server, err = start(dir, filepath.Join(r.bin, name), r.store.args(r.program, r.listen, r.admin, dir, switches)...); err != nil {
		return err
	}
	if err := reachable(r.listen); err != nil {
		return fmt.Errorf("%w; it says: %s", err, strings.Join(lines(filepath.Join(dir, "stderr.txt")), " "))
	}
	if r.admin != "" {
		return reachable(r.admin)
	}
	return nil
}

func (r *run) stopServer() {
	if r.server != nil {
		r.server.stop()
		r.server = nil
	}
}

// episode runs a program once and measures it.
func (r *run) episode(e *episode) (data string, c *census, err error) {
	defer func() {
		r.stopServer()
		for i := len(r.undo) - 1; i >= 0; i-- {
			r.undo[i]()
		}
		r.undo = nil
	}()
	launch := r.launch
	if launch == nil {
		launch = func(r *run, e *episode) error { return r.launchOurs(e) }
	}
	if err := launch(r, e); err != nil {
		return "", nil, err
	}
	rate := r.rates[e.Load-1]
	if e.Benign != nil && *e.Benign == "load_x2" {
		rate *= 2
	}
	g := &generator{rate: rate}
	if r.Real {
		g.connect = r.drive(r.listen, e)
	} else {
		g.connect = r.connect(r.listen, e.fresh())
	}
	g.run()
	defer g.end()
	defer r.stopServer() // Before the generator ends, whose requests may wait in a queue that grew for seconds.
	if e.Fault == "runqueue_neighbour" {
		neighbour, err := start(r.dir, filepath.Join(r.bin, "neighbour"), "-workers", strconv.Itoa([4]int{2, 3, 4, 6}[*e.Intensity-1]))
		if err != nil {
			return "", nil, err
		}
		defer neighbour.stop()
		// Ahead of whatever else runs on the machine; without the right to do so it competes as an equal.
		syscall.Setpriority(syscall.PRIO_PROCESS, neighbour.Process.Pid, -4)
	}
	time.Sleep(warm)
	if r.Real {
		time.Sleep(warm) // TLS and their own start take longer.
	}
	pid := r.server.Process.Pid
	g.reset()
	began := time.Now()
	before := look(pid, r.admin, r.store)
	before["age_s"] = time.Since(r.server.born).Seconds()
	c = newCensus()
	surveyed := make(chan struct{})
	go func() {
		defer close(surveyed)
		pause := time.Duration(e.seconds() * float64(time.Second) / 12)
		snapshots := 10
		if r.admin == "" {
			pause, snapshots = pause/2, 20
		}
		for i := 0; i < snapshots; i++ {
			time.Sleep(pause)
			if r.admin != "" {
				c.goroutines(r.admin)
			} else {
				c.threads(pid)
			}
		}
	}()
	var waited, looks float64
	stopLooking, looked := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(looked)
		for {
			select {
			case <-stopLooking:
				return
			case <-time.After(40 * time.Millisecond):
				waited, looks = waited+onDisk(pid), looks+1
			}
		}
	}()
	data, counts, err := record(r.dir, e.ID, pid, e.seconds())
	<-surveyed
	close(stopLooking)
	<-looked
	after := look(pid, r.admin, r.store)
	after["age_s"] = time.Since(r.server.born).Seconds()
	took := time.Since(began).Seconds()
	latencies := g.latencies()
	if err != nil {
		return "", nil, err
	}
	if len(latencies) == 0 {
		return "", nil, fmt.Errorf("no request was answered: %v", g.first)
	}
	if failed := float64(g.failed.Load()); failed > 0.05*float64(len(latencies)) {
		return "", nil, fmt.Errorf("%.0f requests failed, %d did not: %v", failed, len(latencies), g.first)
	}
	e.Evidence = between(before, after, took, latencies)
	for _, key := range totals {
		// The looks lie a little further apart than the samples: totals are told for the episode's seconds.
		if value, ok := e.Evidence[key]; ok {
			e.Evidence[key] = value * e.seconds() / took
		}
	}
	e.Evidence["census_snapshots"] = float64(c.snapshots)
	for key, value := range counts {
		switch key {
		case "fsync", "fdatasync":
			e.Evidence["fsync_calls_per_s"] += value
		case "connect", "accept4":
			e.Evidence["tcp_opens_per_s"] += value
		case "read", "recvfrom":
			e.Evidence["read_calls_per_s"] = counts["read"] + counts["recvfrom"]
		case "write", "sendto":
			e.Evidence["write_calls_per_s"] = counts["write"] + counts["sendto"]
		case "futex":
			e.Evidence["futex_calls_per_s"] = value
		}
	}
	e.Evidence["write_calls_per_request"] = e.Evidence["write_calls_per_s"] / e.Evidence["requests_per_second"]
	if looks > 0 {
		e.Evidence["disk_wait_ms_per_s"] = waited / looks * 1000
	}
	if c.snapshots > 0 {
		e.Evidence["waiters"] = c.waiters / float64(c.snapshots)
	}
	return data, c, nil
}

// keep folds what was recorded and writes the episode's two profiles.
func (r *run) keep(e *episode, data string, c *census) error {
	defer os.Remove(data)
	stacks, total, err := fold(data, e.Windows, e.seconds(), &r.images)
	if err != nil {
		return err
	}
	if total == 0 {
		return fmt.Errorf("no samples")
	}
	e.Samples = total
	cpu := profile{period: 1_000_000_000 / Hz, seconds: e.seconds(), windowed: true}
	for _, s := range stacks {
		cpu.stacks = append(cpu.stacks, s)
	}
	if err := cpu.save(filepath.Join(r.out, e.ID+".cpu.pb.gz")); err != nil {
		return err
	}
	kind := "threads"
	if r.admin != "" {
		kind = "goroutines"
	}
	who := profile{kind: kind, unit: "count", comment: "snapshots=" + strconv.Itoa(c.snapshots)}
	for _, s := range c.stacks {
		who.stacks = append(who.stacks, s)
	}
	return who.save(filepath.Join(r.out, e.ID+".census.pb.gz"))
}

// write makes the two lists of the program.
func (r *run) write(episodes []*episode) error {
	about, err := json.Marshal(r.program)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(r.out, "program.json"), append(about, '\n'), 0o644); err != nil {
		return err
	}
	var text []byte
	for _, e := range episodes {
		for key, value := range e.Evidence {
			e.Evidence[key], _ = strconv.ParseFloat(strconv.FormatFloat(value, 'g', 6, 64), 64)
		}
		line, err := json.Marshal(e)
		if err != nil {
			return err
		}
		text = append(append(text, line...), '\n')
	}
	return os.WriteFile(filepath.Join(r.out, "episodes.jsonl"), text, 0o644)
}
