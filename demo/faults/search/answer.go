package main

import (
	"encoding"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// score is written as text wherever it goes.
type score float64

func (s score) MarshalText() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(s), 'f', 4, 64), nil
}

var _ encoding.TextMarshaler = score(0)

// answer writes hits with their titles and the text around the words.
func (e *engine) answer(w io.Writer, hits []hit, names []string, words []string) {
	var out strings.Builder
	for i, h := range hits {
		text := e.text(h.Document)
		fmt.Fprintf(&out, "%d\t%.4f\t%s\t%s\n", h.Document, h.Score, names[i], excerpt(text, words))
	}
	if n := e.opts.Pick("gc_pressure", [4]int{1, 2, 4, 7}); n > 0 {
		out.WriteString(strconv.Itoa(e.tokens(hits, n)))
	}
	if n := e.opts.Pick("reflection_serialisation", [4]int{1, 2, 4, 8}); n > 0 {
		out.Write(e.structured(hits, names, n))
	}
	text := out.String()
	for n := e.opts.Pick("unknown_base64", [4]int{4, 12, 30, 60}); n > 0; n-- {
		if decoded, err := base64.StdEncoding.DecodeString(base64.StdEncoding.EncodeToString([]byte(text))); err == nil {
			text = string(decoded)
		}
	}
	io.WriteString(w, text)
}

func (e *engine) text(document int) string {
	e.guard.RLock()
	defer e.guard.RUnlock()
	if document < len(e.index.documents) {
		return e.index.documents[document]
	}
	return ""
}

// tokens counts words of the hits, each as a value of its own.
func (e *engine) tokens(hits []hit, times int) int {
	type token struct {
		text *string
		next *token
	}
	var last *token
	count := 0
	for t := 0; t < times; t++ {
		for _, h := range hits {
			for _, word := range strings.SplitN(e.text(h.Document), " ", 25) {
				lower := strings.ToLower("W" + word)
				last = &token{&lower, last}
				count++
			}
		}
		if t%4 == 3 {
			last = nil
		}
	}
	return count
}

// structured writes hits as rows of any values.
func (e *engine) structured(hits []hit, names []string, times int) []byte {
	var body []byte
	for t := 0; t < times; t++ {
		rows := []interface{}{}
		for i, h := range hits {
			rows = append(rows, []interface{}{h.Document, score(h.Score), names[i], map[score]interface{}{score(h.Score): h}})
		}
		body, _ = json.Marshal(rows)
		var back [][]interface{}
		json.Unmarshal(body, &back)
		body = append(body, fmt.Sprintf("%v", len(back))...)
	}
	return body
}
