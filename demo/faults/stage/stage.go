// Package stage is what every demo service shares: its flags, its pprof listener, and the switch that puts a fault in.
//
// A service asks Level("fsync") where its own code for that fault sits; 0 means "behave". Nothing here does work on the
// request path, so that no frame of this package can give a fault away.
package stage

import (
	"flag"
	"log"
	"net/http"
	_ "net/http/pprof" // The endpoint that a scraper pulls from, at /debug/pprof/.
	"strconv"
	"strings"
)

// LevelMax is the strongest intensity of a fault.
const LevelMax = 4

// Stage holds what the command line said.
type Stage struct {
	Listen     string // Address of the service itself.
	Dir        string // Where it may write.
	BackHTTP   string // The store behind it: plain HTTP,
	BackHTTPS  string // the same with TLS,
	BackLine   string // line protocol over TCP,
	BackLineTS string // the same with TLS.
	faults     map[string]int
}

// Open reads the flags and serves pprof beside the service.
func Open() *Stage {
	var s Stage
	var faults, admin string
	flag.StringVar(&s.Listen, "listen", "127.0.0.1:0", "address of the service")
	flag.StringVar(&admin, "admin", "", "address of /debug/pprof; none when empty")
	flag.StringVar(&s.Dir, "dir", ".", "directory for the service's files")
	flag.StringVar(&s.BackHTTP, "back-http", "", "backing store, HTTP")
	flag.StringVar(&s.BackHTTPS, "back-https", "", "backing store, HTTPS")
	flag.StringVar(&s.BackLine, "back-line", "", "backing store, line protocol")
	flag.StringVar(&s.BackLineTS, "back-line-tls", "", "backing store, line protocol with TLS")
	flag.StringVar(&faults, "faults", "", "name=level,...; level 1 to 4")
	flag.Parse()
	s.faults = parse(faults)
	if admin != "" {
		go func() { log.Fatal(http.ListenAndServe(admin, nil)) }()
	}
	return &s
}

// Level is the intensity of a fault, 0 when it is off.
func (s *Stage) Level(name string) int { return s.faults[name] }

// Pick returns the value for the fault's level, or the zero value when it is off.
func (s *Stage) Pick(name string, levels [LevelMax]int) int {
	if level := s.faults[name]; level > 0 {
		return levels[level-1]
	}
	return 0
}

func parse(text string) map[string]int {
	faults := map[string]int{}
	for _, part := range strings.Split(text, ",") {
		if part == "" {
			continue
		}
		name, level, ok := strings.Cut(part, "=")
		value, err := strconv.Atoi(level)
		if !ok || err != nil || value < 1 || value > LevelMax {
			log.Fatalf("-faults %q: expected name=level with a level from 1 to %d", part, LevelMax)
		}
		faults[name] = value
	}
	return faults
}
