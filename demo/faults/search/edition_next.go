//go:build next

package main

import (
	"container/heap"
	"strings"
)

// The next edition keeps the best in a heap and walks the text word by word.
type worst []hit

func (w worst) Len() int           { return len(w) }
func (w worst) Less(a, b int) bool { return w[a].Score < w[b].Score }
func (w worst) Swap(a, b int)      { w[a], w[b] = w[b], w[a] }
func (w *worst) Push(x any)        { *w = append(*w, x.(hit)) }
func (w *worst) Pop() any {
	old := *w
	last := old[len(old)-1]
	*w = old[:len(old)-1]
	return last
}

func best(scores []float64, most int) []hit {
	var kept worst
	for document, s := range scores {
		switch {
		case s <= 0:
		case len(kept) < most:
			heap.Push(&kept, hit{document, s})
		case kept[0].Score < s:
			kept[0] = hit{document, s}
			heap.Fix(&kept, 0)
		}
	}
	hits := make([]hit, len(kept))
	for i := len(hits) - 1; i >= 0; i-- {
		hits[i] = heap.Pop(&kept).(hit)
	}
	return hits
}

func excerpt(text string, words []string) string {
	wanted := map[string]bool{}
	for _, word := range words {
		wanted[word] = true
	}
	at := 0
	for at < len(text) {
		word, _, ok := strings.Cut(text[at:], " ")
		if wanted[word] || !ok {
			break
		}
		at += len(word) + 1
	}
	return text[floor(at-20):min(at+60, len(text))]
}

func floor(n int) int {
	if n < 0 {
		n = 0
	}
	return n
}
