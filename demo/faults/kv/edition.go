//go:build !next

package main

import "sort"

// order sorts keys; by is how many of them are put in place by hand, where the sorted run begins.
func order(keys []string, by int) {
	settle(keys, by)
	sort.Strings(keys)
}

// settle puts the first of the keys in place one by one.
func settle(keys []string, by int) {
	if by > len(keys) {
		by = len(keys)
	}
	for i := 1; i < by; i++ {
		for j := i; j > 0 && keys[j] < keys[j-1]; j-- {
			keys[j], keys[j-1] = keys[j-1], keys[j]
		}
	}
}
