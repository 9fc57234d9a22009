// Neighbour is a batch job on the same machine: it compresses and hashes made-up data as fast as it gets a processor.
package main

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"flag"
	"io"
	"math/rand"
	"runtime"
)

func main() {
	workers := flag.Int("workers", 1, "threads that want a processor all the time")
	flag.Parse()
	runtime.GOMAXPROCS(*workers)
	for i := 1; i < *workers; i++ {
		go work(int64(i))
	}
	work(0)
}

func work(seed int64) {
	source := rand.New(rand.NewSource(seed))
	block := make([]byte, 64<<10)
	writer, _ := flate.NewWriter(io.Discard, flate.DefaultCompression)
	for {
		source.Read(block[:16<<10])
		copy(block[32<<10:], bytes.ToUpper(block[:32<<10]))
		sum := sha256.Sum256(block)
		copy(block, sum[:])
		writer.Reset(io.Discard)
		writer.Write(block)
	}
}
