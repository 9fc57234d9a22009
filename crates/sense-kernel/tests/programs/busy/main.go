// Works for ever: four fifths of the time in `hard`, one fifth in `easy`, which is inlined into `work`.
package main

var sum uint64

//go:noinline
func hard(n uint64) uint64 {
	for step := uint64(0); step < 4_000_000; step++ {
		n = (n ^ step) * 0x9e3779b97f4a7c15
	}
	return n
}

func easy(n uint64) uint64 {
	for step := uint64(0); step < 1_000_000; step++ {
		n = (n ^ step) * 0x9e3779b97f4a7c15
	}
	return n
}

//go:noinline
func work(n uint64) uint64 {
	return easy(hard(n)) + 1
}

func main() {
	for {
		sum = work(sum)
	}
}
