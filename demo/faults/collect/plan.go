package main

import (
	"fmt"
	"math/rand"
)

// program is one service and how it is driven.
type program struct {
	Name     string `json:"program"`
	Language string `json:"language"`
	Role     string `json:"role"`
	Real     bool   `json:"real"`
	What     string `json:"what"`

	rates   [3]float64 // Requests per second at each load.
	connect func(address string, fresh bool) func() (client, error)
	faults  []string
	mixes   [][2]string
	unknown []string
	drive   func(address string, e *episode) func() (client, error)
	rules   map[string]rule                // Where the common rule does not tell.
	launch  func(r *run, e *episode) error // How a real server is started; nil for ours.
}

// episode is one line of episodes.jsonl.
type episode struct {
	ID            string   `json:"id"`
	Program       string   `json:"program"`
	Fault         string   `json:"fault"`
	Kind          string   `json:"kind"`
	Also          []string `json:"also"`
	Benign        *string  `json:"benign"`
	Intensity     *int     `json:"intensity"`
	Load          int      `json:"load"`
	Run           int      `json:"run"`
	Base          string   `json:"base"`
	Windows       int      `json:"windows"`
	WindowSeconds float64  `json:"window_seconds"`
	Hz            int      `json:"hz"`
	Samples       int64    `json:"samples"`
	TookEffect    *bool    `json:"took_effect"`
	Signal        *signal  `json:"signal"`
	Evidence      reading  `json:"evidence"`

	switches string // -faults of the service.
	failure  error
}

type signal struct {
	Name string  `json:"name"`
	Base float64 `json:"base"`
	Now  float64 `json:"now"`
	Rule string  `json:"rule"`
}

// fresh tells whether the load brings requests of a kind that was not there before.
func (e *episode) fresh() bool { return e.Benign != nil && *e.Benign == "new_endpoint" }

// level is the intensity of a fault, 0 when the episode is about another.
func (e *episode) level(fault string) int {
	if e.Fault == fault && e.Intensity != nil {
		return *e.Intensity
	}
	return 0
}

func (e *episode) seconds() float64 { return float64(e.Windows) * e.WindowSeconds }

// plan lists a program's episodes in the order they are run: normal ones at the start, in the middle and at the end.
func (p *program) plan(quick bool) []*episode {
	var all, rest []*episode
	add := func(e episode, name string) {
		e.Program, e.ID, e.Windows, e.WindowSeconds, e.Hz = p.Name, p.Name+"-"+name, 5, 0.9, Hz
		if e.Also == nil {
			e.Also = []string{}
		}
		if e.Run == 0 {
			e.Run = 1
		}
		rest = append(rest, &e)
	}
	for f, fault := range p.faults {
		for i := 1; i <= 4; i++ {
			level := i
			load := (i+f)%3 + 1
			add(episode{Fault: fault, Kind: "fault", Intensity: &level, Load: load, switches: fmt.Sprintf("%s=%d", fault, i)}, fmt.Sprintf("%s-%d", fault, i))
		}
	}
	for f, fault := range p.unknown {
		for n, i := range []int{2, 4} {
			level := i
			add(episode{Fault: fault, Kind: "unknown", Intensity: &level, Load: (f+n)%3 + 1, switches: fmt.Sprintf("%s=%d", fault, i)}, fmt.Sprintf("%s-%d", fault, i))
		}
	}
	for n, mix := range p.mixes {
		level := 3
		add(episode{Fault: mix[0], Also: []string{mix[1]}, Kind: "mix", Intensity: &level, Load: n%3 + 1,
			switches: fmt.Sprintf("%s=3,%s=3", mix[0], mix[1])}, mix[0]+"+"+mix[1])
	}
	for n, name := range []string{"deploy", "load_x2", "new_endpoint", "deploy", "load_x2", "new_endpoint"} {
		benign, load, turn := name, n%2+1, n/3+1
		if name == "deploy" && p.Real {
			continue // We build no other edition of a packaged server.
		}
		add(episode{Fault: "none", Kind: "benign", Benign: &benign, Load: load, Run: turn}, fmt.Sprintf("%s-%d", name, turn))
	}
	// Neighbours in time should not be neighbours in kind.
	rand.New(rand.NewSource(int64(len(p.Name)))).Shuffle(len(rest), func(a, b int) { rest[a], rest[b] = rest[b], rest[a] })
	faults := rest
	runs := 3
	if quick {
		runs, faults = 2, nil
		for _, e := range rest {
			if e.Intensity != nil && (*e.Intensity == 1 || *e.Intensity == 4) {
				faults = append(faults, e)
			}
		}
	}
	for turn := 1; turn <= runs; turn++ {
		rest = nil
		for load := 1; load <= 3; load++ {
			add(episode{Fault: "none", Kind: "normal", Load: load, Run: turn}, fmt.Sprintf("normal-l%d-%d", load, turn))
		}
		all = append(all, rest...)
		if turn < runs {
			all = append(all, faults[(turn-1)*len(faults)/(runs-1):turn*len(faults)/(runs-1)]...)
		}
	}
	return all
}
