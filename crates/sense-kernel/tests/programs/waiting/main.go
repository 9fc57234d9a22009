// Goroutines that wait: 45 for a message that never comes, 7 for a lock; more of the first kind at each line of input.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"sync"
)

var never = make(chan int)
var lock sync.Mutex

func leak(count int) {
	for i := 0; i < count; i++ {
		go func() { <-never }()
	}
}

func wait() { lock.Lock() }

// Says how many there are once all of them wait.
func tell() {
	for i := 0; i < 1000; i++ {
		runtime.Gosched()
	}
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
		leak(6000)
		tell()
	}
}
