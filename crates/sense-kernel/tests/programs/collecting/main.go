// Collects and stops the world as it is told, a line each: `collect N`, `stop N`, `slow N`. Answers each line, and says at first,
// how many collections there were and how many nanoseconds they have stopped the world, without stopping it for that. Called with
// `listen`, it listens, and says where before anything else.
package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"sync/atomic"
)

var sum uint64

// Has no place at which it can be stopped.
//
//go:noinline
func spin(n uint64) uint64 {
	for step := uint64(0); step < 30_000_000; step++ {
		n = (n ^ step) * 0x9e3779b97f4a7c15
	}
	return n
}

func tell() {
	var stats debug.GCStats
	debug.ReadGCStats(&stats)
	fmt.Println(stats.NumGC, int64(stats.PauseTotal))
}

func repeat(count int, what func()) {
	for i := 0; i < count; i++ {
		what()
	}
}

func slowly(count int) {
	var ends int32
	go func() {
		for atomic.LoadInt32(&ends) == 0 {
			sum = spin(sum)
			runtime.Gosched()
		}
	}()
	repeat(count, runtime.GC)
	atomic.StoreInt32(&ends, 1)
}

func main() {
	runtime.GOMAXPROCS(2)
	if 1 < len(os.Args) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		defer listener.Close()
		fmt.Println(listener.Addr())
	}
	debug.SetGCPercent(-1)
	tell()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var what string
		var count int
		fmt.Sscan(lines.Text(), &what, &count)
		switch what {
		case "collect":
			repeat(count, runtime.GC)
		case "stop":
			var stats runtime.MemStats
			repeat(count, func() { runtime.ReadMemStats(&stats) })
		case "slow":
			slowly(count)
		}
		tell()
	}
}
