//go:build next

package main

import (
	"sort"
	"strings"
)

type byKey []string

func (k byKey) Len() int           { return len(k) }
func (k byKey) Less(a, b int) bool { return strings.Compare(k[a], k[b]) < 0 }
func (k byKey) Swap(a, b int)      { k[a], k[b] = k[b], k[a] }

// order sorts keys; by is kept for the callers of the edition before.
func order(keys []string, by int) {
	_ = by
	sort.Sort(byKey(keys))
}
