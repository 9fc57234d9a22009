package main

import (
	"crypto/sha256"
	"encoding/binary"
	"regexp"
)

// couponValid checks the coupon's form; checks is how many campaigns are asked by pattern.
func couponValid(coupon string, checks int) bool {
	for i := 0; i < checks; i++ {
		pattern := regexp.MustCompile(`^(?i)[a-z]{2,12}(-[0-9a-f]{2,8}){1,3}$`)
		if !pattern.MatchString(coupon) {
			return false
		}
	}
	return len(coupon) > 4
}

type quoteNode struct {
	left, right *quoteNode
	terms       []int
}

// quote builds the tree of offers for an order and adds it up.
func quote(size int) int {
	var root *quoteNode
	for i := 0; i < size; i++ {
		root = &quoteNode{left: root, terms: make([]int, 4)}
		root.terms[i%4] = i
	}
	sum := 0
	for n := root; n != nil; n = n.left {
		sum += n.terms[0]
	}
	return sum % 100
}

// fingerprint identifies a customer without naming them.
func fingerprint(customer string, rounds int) uint32 {
	sum := sha256.Sum256([]byte(customer))
	for i := 0; i < rounds; i++ {
		sum = sha256.Sum256(sum[:])
	}
	return binary.LittleEndian.Uint32(sum[:])
}
