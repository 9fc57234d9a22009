//go:build !next

package main

import "strings"

func matches(p Product, word string) bool {
	if strings.Contains(p.Name, word) {
		return true
	}
	for _, tag := range p.Tags {
		if tag == word {
			return true
		}
	}
	return false
}

func price(p Product, quantity int) int { return p.Cents * quantity }
