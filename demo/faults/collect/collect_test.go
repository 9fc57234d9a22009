package main

import (
	"compress/gzip"
	"io"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestPlansNameEachEpisodeOnce(t *testing.T) {
	for _, p := range programs() {
		seen, loads := map[string]bool{}, map[int]int{}
		for _, e := range p.plan(false) {
			if seen[e.ID] {
				t.Errorf("%s is planned twice", e.ID)
			}
			seen[e.ID] = true
			if e.Kind == "normal" {
				loads[e.Load]++
			}
			if _, known := rules[e.Fault]; e.Kind == "fault" && !known {
				t.Errorf("%s: no rule tells whether %s took effect", e.ID, e.Fault)
			}
		}
		if loads[1] != 3 || loads[2] != 3 || loads[3] != 3 {
			t.Errorf("%s: normal episodes by load are %v, wanted three each", p.Name, loads)
		}
	}
}

func TestJudgeTakesTheMedianAndTheNearestBase(t *testing.T) {
	p := &program{Name: "made"}
	normal := func(id string, cpu float64) *episode {
		return &episode{ID: id, Kind: "normal", Load: 1, Evidence: reading{"cpu_ms_per_request": cpu}}
	}
	fault := &episode{ID: "f", Kind: "fault", Fault: "regex", Load: 1, Evidence: reading{"cpu_ms_per_request": 1.3}}
	p.judge([]*episode{normal("a", 1), fault, normal("b", 1.1), normal("c", 9)})
	if fault.Base != "a" || fault.Signal.Base != 1.1 || !*fault.TookEffect {
		t.Errorf("base %s, signal %+v, took effect %v", fault.Base, fault.Signal, *fault.TookEffect)
	}
	fault.Evidence["cpu_ms_per_request"] = 1.2
	p.judge([]*episode{normal("a", 1), fault, normal("b", 1.1), normal("c", 9)})
	if *fault.TookEffect {
		t.Error("1.2 is not more than 1.15 times the median of 1.1")
	}
}

func TestStoredProfileIsReadByPprof(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.pb.gz")
	p := profile{period: 500, seconds: 1, windowed: true, stacks: []*stack{
		{frames: []string{"leaf", "main.work", "main.main"}, window: 0, count: 3},
		{frames: []string{"main.work", "main.main"}, window: 1, count: 2},
	}}
	if err := p.save(path); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	packed, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(packed); err != nil || strings.Contains(string(body), "/") {
		t.Errorf("unpacked: %v; a path would have a slash", err)
	}
	text, err := exec.Command("go", "tool", "pprof", "-raw", path).Output()
	if err != nil {
		t.Skip("SKIPPED: go tool pprof does not run here")
	}
	for _, wanted := range []string{"samples/count cpu/nanoseconds", "3       1500", "window:[1]", "main.work"} {
		if !strings.Contains(string(text), wanted) {
			t.Errorf("pprof does not show %q in:\n%s", wanted, text)
		}
	}
}

func TestRequestsAreWellFormed(t *testing.T) {
	source := rand.New(rand.NewSource(1))
	for _, p := range programs() {
		if !p.Real && p.connect("127.0.0.1:1", source.Intn(2) == 0) == nil {
			t.Errorf("%s is not driven", p.Name)
		}
	}
	if got := escape("a{b=\"c\"}"); got != "%61%7B%62%3D%22%63%22%7D" {
		t.Errorf("escape: %s", got)
	}
}
