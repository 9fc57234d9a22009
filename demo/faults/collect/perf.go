package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// Hz of CPU time. The Go runtime's own profiler follows the kernel's tick (250 Hz on common kernels) and misses kernel
// frames, so all programs are sampled from outside, by one tool.
const Hz = 1999

// kernelFramesMax keeps the kernel frames nearest the system call: what lies below the eighth (queues of the network, of
// the disk) makes every stack unique and names no cause.
const kernelFramesMax = 8

// syscalls are counted by tracepoints where tracefs is mounted.
var syscalls = []string{"fsync", "fdatasync", "connect", "accept4", "read", "recvfrom", "write", "sendto", "futex"}

// record samples a process for some seconds and counts its system calls.
func record(dir, id string, pid int, seconds float64) (data string, counts reading, err error) {
	data = filepath.Join(dir, id+".perf")
	stat := filepath.Join(dir, id+".stat")
	duration := strconv.FormatFloat(seconds, 'f', 2, 64)
	process := strconv.Itoa(pid)
	var events []string
	for _, name := range syscalls {
		events = append(events, "syscalls:sys_enter_"+name)
	}
	counter := exec.Command("perf", "stat", "-x", ",", "-o", stat, "-e", strings.Join(events, ","), "-p", process, "--", "sleep", duration)
	counting := counter.Start() == nil
	sampler := exec.Command("perf", "record", "-q", "--no-buildid", "--no-buildid-cache", "-F", strconv.Itoa(Hz), "-g", "-e", "cpu-clock", "-p", process, "-o", data, "--", "sleep", duration)
	text, err := sampler.CombinedOutput()
	if counting {
		counter.Wait()
	}
	if err != nil {
		return "", nil, fmt.Errorf("perf record: %w: %s", err, text)
	}
	counts = reading{}
	for _, line := range lines(stat) {
		fields := strings.Split(line, ",")
		if len(fields) < 3 {
			continue
		}
		name := strings.TrimPrefix(fields[2], "syscalls:sys_enter_")
		if count, err := strconv.ParseFloat(fields[0], 64); err == nil {
			counts[name] = count / seconds
		}
	}
	os.Remove(stat)
	return data, counts, nil
}

var hash = regexp.MustCompile(`::h[0-9a-f]{16}$`)

// fold turns recorded samples into counted stacks by window.
func fold(data string, windows int, seconds float64, images *images) (map[string]*stack, int64, error) {
	cmd := exec.Command("nice", "perf", "script", "-i", data, "--no-inline", "-F", "time,ip,sym,dso")
	cmd.Stderr = io.Discard
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, 0, err
	}
	if err := cmd.Start(); err != nil {
		return nil, 0, err
	}
	stacks := map[string]*stack{}
	var total int64
	var first, at float64
	var frames []string
	kernel := 0
	finish := func() {
		if len(frames) == 0 {
			return
		}
		if kernel > kernelFramesMax {
			frames = frames[kernel-kernelFramesMax:]
		}
		if first == 0 {
			first = at
		}
		window := int((at - first) / seconds * float64(windows))
		if window >= windows {
			window = windows - 1
		}
		key := strconv.Itoa(window) + ";" + strings.Join(frames, ";")
		s := stacks[key]
		if s == nil {
			s = &stack{frames: append([]string(nil), frames...), window: int64(window)}
			stacks[key] = s
		}
		s.count++
		total++
		frames, kernel = frames[:0], 0
	}
	in := bufio.NewScanner(out)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		line := in.Text()
		if line == "" {
			finish()
			continue
		}
		if line[0] != '\t' {
			head := strings.TrimSuffix(strings.TrimSpace(line), ":")
			if value, err := strconv.ParseFloat(head, 64); err == nil {
				at = value
			}
			continue
		}
		address, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		ip, err := strconv.ParseUint(address, 16, 64)
		open := strings.LastIndex(rest, " (")
		if err != nil || open < 0 {
			continue
		}
		symbol, image := rest[:open], strings.TrimSuffix(rest[open+2:], ")")
		if strings.HasPrefix(image, "[kernel") || strings.HasPrefix(image, "[guest") {
			if strings.HasPrefix(symbol, "asm_sysvec_") || strings.HasPrefix(symbol, "asm_exc_") {
				frames, kernel = frames[:0], 0 // What an interrupt did while the program happened to run.
				continue
			}
			if strings.HasPrefix(symbol, "perf_") {
				continue // Our own counters.
			}
			symbol, _, _ = strings.Cut(symbol, ".") // Parts that the compiler cut off: .isra.0, .part.0, .cold.
			frames = append(frames, symbol)
			kernel++
			continue
		}
		if names := images.names(image, ip, len(frames) > kernel); names != nil {
			frames = append(frames, names...)
			continue
		}
		if symbol == "[unknown]" {
			symbol = filepath.Base(image)
			if symbol == "[unknown]" || symbol == "" {
				continue
			}
			if len(frames) > 0 && frames[len(frames)-1] == symbol {
				continue
			}
		}
		frames = append(frames, hash.ReplaceAllString(symbol, ""))
	}
	finish()
	if err := cmd.Wait(); err != nil {
		return nil, 0, fmt.Errorf("perf script: %w", err)
	}
	return stacks, total, nil
}
