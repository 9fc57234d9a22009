package main

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// census counts who waits where: goroutines of a Go program, threads of any other, summed over snapshots.
type census struct {
	stacks    map[string]*stack
	snapshots int
	waiters   float64 // Waiting for a mutex, summed over snapshots.
}

func newCensus() *census { return &census{stacks: map[string]*stack{}} }

// goroutines takes a snapshot over pprof's text form, which names inlined frames too.
func (c *census) goroutines(admin string) {
	answer, err := pprof(admin, "goroutine")
	if err != nil {
		return
	}
	defer answer.Body.Close()
	c.snapshots++
	in := bufio.NewScanner(answer.Body)
	in.Buffer(nil, 1<<20)
	count, frames := 0, []string(nil)
	for in.Scan() {
		line := in.Text()
		if head, _, ok := strings.Cut(line, " @ "); ok {
			c.add(frames, count)
			frames = nil
			count, _ = strconv.Atoi(head)
			continue
		}
		if fields := strings.Split(line, "\t"); len(fields) > 2 && fields[0] == "#" {
			name, _, _ := strings.Cut(fields[2], "+0x")
			frames = append(frames, name)
		}
	}
	c.add(frames, count)
}

// threads takes a snapshot of the kernel's wait channel of each thread; a running one has none.
func (c *census) threads(pid int) {
	c.snapshots++
	tasks, _ := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task/*"))
	for _, task := range tasks {
		var frames []string
		if text, err := os.ReadFile(task + "/wchan"); err == nil && string(text) != "0" {
			frames = append(frames, string(text))
		}
		for _, line := range lines(task + "/stack") {
			if _, symbol, ok := strings.Cut(line, "] "); ok {
				name, _, _ := strings.Cut(symbol, "+0x")
				if len(frames) == 0 || frames[len(frames)-1] != name {
					frames = append(frames, name)
				}
			}
		}
		if len(frames) == 0 {
			frames = []string{"[running]"}
		}
		c.add(frames, 1)
	}
}

// onDisk counts threads in uninterruptible sleep: those that wait for a disk.
func onDisk(pid int) (waiting float64) {
	tasks, _ := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task/*/stat"))
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if end := strings.LastIndexByte(string(text), ')'); err == nil && end > 0 && strings.HasPrefix(string(text[end:]), ") D") {
			waiting++
		}
	}
	return waiting
}

func (c *census) add(frames []string, count int) {
	if count == 0 || len(frames) == 0 {
		return
	}
	key := strings.Join(frames, ";")
	s := c.stacks[key]
	if s == nil {
		s = &stack{frames: frames}
		c.stacks[key] = s
	}
	s.count += int64(count)
	for _, frame := range frames {
		if strings.HasPrefix(frame, "sync.(*Mutex).") || strings.HasPrefix(frame, "sync.(*RWMutex).") || strings.HasPrefix(frame, "futex_wait") || frame == "do_futex" {
			c.waiters += float64(count)
			break
		}
	}
}
