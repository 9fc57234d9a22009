//go:build next

package main

import "strings"

// The next edition: tags before the name, and a price that knows of quantities.
func matches(p Product, word string) bool {
	return hasTag(p.Tags, word) || nameHas(&p, word)
}

func hasTag(tags []string, word string) bool {
	for i := len(tags) - 1; i >= 0; i-- {
		if tags[i] == word {
			return true
		}
	}
	return false
}

func nameHas(p *Product, word string) bool { return strings.Index(p.Name, word) >= 0 }

func price(p Product, quantity int) int {
	total := p.Cents * quantity
	if quantity > 10 {
		total -= total / 20
	}
	return total
}
