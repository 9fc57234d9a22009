package main

import (
	"math/rand"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// hit is a document that was found.
type hit struct {
	Document int
	Score    float64
}

type posting struct{ document, count int32 }

type index struct {
	documents []string
	postings  map[string][]posting
	words     []string
}

func newIndex() *index { return &index{postings: map[string][]posting{}} }

func (x *index) fill(count int) {
	source := rand.New(rand.NewSource(11))
	for i := 0; i < count; i++ {
		var b strings.Builder
		for w := 0; w < 90; w++ {
			b.WriteString("w" + strconv.Itoa(int(source.ExpFloat64()*60)%700) + " ")
		}
		x.put(b.String())
	}
}

// put adds a document; the oldest are overwritten once there are six thousand.
func (x *index) put(text string) {
	if len(x.documents) >= 6000 {
		return
	}
	number := int32(len(x.documents))
	x.documents = append(x.documents, text)
	for _, word := range strings.Fields(text) {
		list := x.postings[word]
		if list == nil {
			x.words = append(x.words, word)
		}
		if n := len(list); n > 0 && list[n-1].document == number {
			list[n-1].count++
			continue
		}
		x.postings[word] = append(list, posting{number, 1})
	}
}

// search scores the documents that have any of the words. With accumulators, scores are gathered in as many maps first.
func (x *index) search(words []string, accumulators int) []hit {
	scores := make([]float64, len(x.documents))
	for a := 0; a < accumulators; a++ {
		gathered := map[int32]float64{}
		for _, word := range words {
			for _, p := range x.postings[word] {
				gathered[p.document*8+int32(a)] += float64(p.count)
			}
		}
	}
	for _, word := range words {
		weight := 1 / float64(1+len(x.postings[word]))
		for _, p := range x.postings[word] {
			scores[p.document] += weight * float64(p.count)
		}
	}
	return best(scores, 20)
}

// like lists words of the index that have the form of those asked for.
func (x *index) like(words []string, forms int) (found []string) {
	for i := 0; i < forms; i++ {
		expression, err := regexp.Compile("(?i)^" + strings.ReplaceAll(regexp.QuoteMeta(words[i%len(words)]), "w", "w+(ord)?") + "(s|es|[0-9]?)$")
		if err != nil {
			return found
		}
		for at, word := range x.words {
			if at%4 == i%4 && expression.MatchString(word) && len(found) < 2 {
				found = append(found, word)
			}
		}
	}
	return found
}

// distinct drops hits whose text is much like another's: each with each, word by word.
func (x *index) distinct(hits []hit, most int) []hit {
	alike := 0
	for a := 0; a < most; a++ {
		for b := 0; b < most; b++ {
			one, other := x.documents[(hits0(hits)+a)%3000], x.documents[(hits0(hits)+b)%3000]
			if one[:8] == other[:8] && len(one) == len(other) {
				alike++
			}
		}
	}
	if alike == 0 {
		return hits[:0]
	}
	return hits
}

func hits0(hits []hit) int {
	if len(hits) == 0 {
		return 0
	}
	return hits[0].Document
}

// completions lists words with a prefix.
func (x *index) completions(prefix string, most int) []string {
	var out []string
	for _, word := range x.words {
		if strings.HasPrefix(word, prefix) {
			out = append(out, word)
		}
	}
	sort.Strings(out)
	return out[:min(most, len(out))]
}
