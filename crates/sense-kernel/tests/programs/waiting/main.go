// Goroutines that wait: 45 for a message that never comes, 7 for a lock, and one for everything else that there is to wait for.
// Reads lines: `more` has 6000 more of the first kind, `tell` says all stacks, as the runtime knows them, and `end`.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

var never = make(chan int)
var lock sync.Mutex

func leak(count int) {
	for i := 0; i < count; i++ {
		go func() { <-never }()
	}
}

func wait() { lock.Lock() }

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func receiveFromNothing() { <-(chan int)(nil) }

func send() { make(chan int) <- 1 }

func choose() {
	select {
	case <-never:
	case <-make(chan int):
	}
}

func sleep() { time.Sleep(time.Hour) }

var shared, held sync.RWMutex

func readLock() { shared.RLock() }

func writeLock() { held.Lock() }

func waitForAll() {
	var group sync.WaitGroup
	group.Add(1)
	group.Wait()
}

func waitForCondition() {
	condition := sync.NewCond(new(sync.Mutex))
	condition.L.Lock()
	condition.Wait()
}

// Nobody writes, and it is not closed.
var writer *os.File

func readFromPipe() {
	reader, other, err := os.Pipe()
	check(err)
	writer = other
	reader.Read(make([]byte, 1))
}

//go:noinline
func enterKernel(fd int) {
	syscall.Read(fd, make([]byte, 1))
}

func stayInKernel() {
	var pipe [2]int
	check(syscall.Pipe(pipe[:]))
	enterKernel(pipe[0])
}

func various() {
	shared.Lock()
	held.RLock()
	for _, wait := range []func(){receiveFromNothing, send, choose, sleep, readLock, writeLock, waitForAll,
		waitForCondition, readFromPipe, stayInKernel} {
		go wait()
	}
}

// All stacks but the own one, once nobody runs or is about to.
func stacks() string {
	all := make([]byte, 16<<20)
	for {
		text := string(all[:runtime.Stack(all, true)])
		own := strings.Index(text, "\n\n")
		if !strings.Contains(text[own:], " [runn") {
			return text[own:]
		}
		runtime.Gosched()
	}
}

// Says how many there are once all of them wait.
func tell() {
	stacks()
	fmt.Println(runtime.NumGoroutine())
}

func main() {
	lock.Lock()
	for i := 0; i < 7; i++ {
		go wait()
	}
	leak(45)
	tell()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		switch lines.Text() {
		case "more":
			leak(6000)
			tell()
		case "various":
			various()
			tell()
		case "tell":
			fmt.Println(stacks() + "\nend")
		}
	}
}
