//go:build !next

package main

import (
	"sort"
	"strings"
)

// best lists the documents with most.
func best(scores []float64, most int) []hit {
	var hits []hit
	for document, s := range scores {
		if s > 0 {
			hits = append(hits, hit{document, s})
		}
	}
	sort.Slice(hits, func(a, b int) bool { return hits[a].Score > hits[b].Score })
	return hits[:min(most, len(hits))]
}

// excerpt is the text around the first of the words.
func excerpt(text string, words []string) string {
	at := 0
	for _, word := range words {
		if found := strings.Index(text, word+" "); found >= 0 {
			at = found
			break
		}
	}
	return text[max0(at-20):min(at+60, len(text))]
}

func max0(n int) int {
	if n < 0 {
		return 0
	}
	return n
}
