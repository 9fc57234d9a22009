// Prints its own stacks as Go's runtime tells them: what the reader of its file must say as well.
package main

import (
	"fmt"
	"runtime"
	"sort"
	"strings"
)

// Prints one line a function of the stack: address, name, file, line.
//
//go:noinline
func tell() {
	pcs := make([]uintptr, 64)
	pcs = pcs[:runtime.Callers(1, pcs)]
	frames := runtime.CallersFrames(pcs)
	for _, pc := range pcs {
		frame, _ := frames.Next()
		fmt.Printf("frame %x %s %s %d\n", pc, frame.Function, frame.File, frame.Line)
	}
	fmt.Println("end")
}

func innermost(n int) int { tell(); return n + 1 }

func inner(n int) int { return innermost(n) * 2 }

//go:noinline
func outer(n int) int {
	sum := inner(n)
	sum += inner(n + 1)
	return sum
}

type shape struct{ sides int }

func (s *shape) grow() { s.sides = inner(s.sides) }

type grower interface{ grow() }

// Calls through an interface, a closure, and out of the library's sort.
//
//go:noinline
func roundabout(g grower) {
	g.grow()
	func() { outer(3) }()
	words := []string{"b", "a"}
	told := false
	sort.Slice(words, func(i, j int) bool {
		if !told {
			told = true
			innermost(1)
		}
		return words[i] < words[j]
	})
	strings.Map(func(r rune) rune { innermost(int(r)); return r }, "x")
}

func main() {
	pc, _, _, _ := runtime.Caller(0)
	fmt.Printf("main %x\n", runtime.FuncForPC(pc).Entry())
	outer(1)
	roundabout(&shape{3})
	done := make(chan bool)
	go func() { outer(7); done <- true }()
	<-done
	defer func() { recover(); outer(9) }()
	var nothing *shape
	nothing.sides++
}
