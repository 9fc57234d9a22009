package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// child is a process that dies with us.
type child struct {
	*exec.Cmd
	out  *bufio.Reader
	born time.Time
}

// start runs a program with its error output in a file beside its data.
func start(dir, name string, args ...string) (*child, error) {
	cmd := exec.Command(name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	errors, err := os.Create(filepath.Join(dir, "stderr.txt"))
	if err != nil {
		return nil, err
	}
	defer errors.Close()
	cmd.Stderr = errors
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &child{cmd, bufio.NewReader(stdout), time.Now()}, nil
}

func (c *child) stop() {
	c.Process.Kill()
	c.Wait()
}

// free finds an address that nobody listens on.
func free() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err) // A machine without loopback collects nothing.
	}
	defer l.Close()
	return l.Addr().String()
}

// reachable waits until somebody accepts.
func reachable(address string) error {
	var err error
	for i := 0; i < 400; i++ {
		var conn net.Conn
		if conn, err = net.Dial("tcp", address); err == nil {
			return conn.Close()
		}
		time.Sleep(25 * time.Millisecond)
	}
	return err
}

// store is the backing process and where it listens.
type store struct {
	*child
	HTTP        string `json:"http"`
	HTTPS       string `json:"https"`
	Line        string `json:"line"`
	LineTLS     string `json:"line_tls"`
	certificate string
}

func startStore(bin, dir string) (*store, error) {
	s := &store{certificate: filepath.Join(dir, "store.pem")}
	c, err := start(dir, filepath.Join(bin, "backing"), "-certificate", s.certificate)
	if err != nil {
		return nil, err
	}
	s.child = c
	line, err := c.out.ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("the backing store said nothing: %w", err)
	}
	return s, json.Unmarshal([]byte(line), s)
}

// counts are the calls and connections that the store has seen.
func (s *store) counts() (calls, connections float64) {
	answer, err := http.Get("http://" + s.HTTP + "/stats")
	if err != nil {
		return 0, 0
	}
	defer answer.Body.Close()
	var counts struct{ Calls, Connections float64 }
	json.NewDecoder(answer.Body).Decode(&counts)
	return counts.Calls, counts.Connections
}

func (s *store) args(p *program, listen, admin, dir, faults string) []string {
	dash := "-"
	if p.Language == "rust" {
		dash = "--"
	}
	args := []string{"listen", listen, "dir", dir, "back-http", s.HTTP, "back-https", s.HTTPS, "back-line", s.Line, "back-line-tls", s.LineTLS}
	if p.Language == "go" {
		args = append(args, "admin", admin)
	} else {
		args = append(args, "certificate", s.certificate)
	}
	if faults != "" {
		args = append(args, "faults", faults)
	}
	for i := 0; i < len(args); i += 2 {
		args[i] = dash + args[i]
	}
	return args
}

func contains(list []string, wanted string) bool {
	for _, each := range list {
		if each == wanted {
			return true
		}
	}
	return false
}

func lines(path string) []string {
	text, _ := os.ReadFile(path)
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}
