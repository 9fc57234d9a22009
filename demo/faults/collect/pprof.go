package main

import (
	"bytes"
	"compress/gzip"
	"os"
	"sort"
)

// stack is a call stack, leaf first, as often as it was seen in a window.
type stack struct {
	frames []string
	window int64
	count  int64
}

// profile is what goes to a file: names and counts, no addresses, no mappings, no paths.
type profile struct {
	kind, unit     string
	period         int64 // Of CPU time, in nanoseconds; each count weighs that much. 0 for a census.
	seconds        float64
	windowed       bool
	comment        string
	stacks         []*stack
	strings        []string
	index, located map[string]uint64
}

// proto appends protobuf fields.
type proto struct{ bytes.Buffer }

func (p *proto) varint(n uint64) {
	for n >= 0x80 {
		p.WriteByte(byte(n) | 0x80)
		n >>= 7
	}
	p.WriteByte(byte(n))
}

func (p *proto) number(field int, n uint64) {
	if n != 0 {
		p.varint(uint64(field) << 3)
		p.varint(n)
	}
}

func (p *proto) bytes(field int, body []byte) {
	p.varint(uint64(field)<<3 | 2)
	p.varint(uint64(len(body)))
	p.Write(body)
}

func (p *profile) text(s string) uint64 {
	if id, ok := p.index[s]; ok {
		return id
	}
	id := uint64(len(p.strings))
	p.strings = append(p.strings, s)
	p.index[s] = id
	return id
}

func (p *profile) valueType(kind, unit string) []byte {
	var b proto
	b.number(1, p.text(kind))
	b.number(2, p.text(unit))
	return b.Bytes()
}

// save writes gzip pprof (github.com/google/pprof, proto/profile.proto). Stacks are ordered from the root, so that
// neighbours share their ends and compress well.
func (p *profile) save(path string) error {
	p.index, p.located = map[string]uint64{}, map[string]uint64{}
	p.text("")
	sort.Slice(p.stacks, func(a, b int) bool {
		x, y := p.stacks[a], p.stacks[b]
		if x.window != y.window {
			return x.window < y.window
		}
		for i := 1; i <= len(x.frames) && i <= len(y.frames); i++ {
			if m, n := x.frames[len(x.frames)-i], y.frames[len(y.frames)-i]; m != n {
				return m < n
			}
		}
		return len(x.frames) < len(y.frames)
	})
	// Names seen most get the smallest numbers.
	seen := map[string]int{}
	for _, s := range p.stacks {
		for _, frame := range s.frames {
			seen[frame]++
		}
	}
	names := make([]string, 0, len(seen))
	for name := range seen {
		names = append(names, name)
	}
	sort.Slice(names, func(a, b int) bool {
		if seen[names[a]] != seen[names[b]] {
			return seen[names[a]] > seen[names[b]]
		}
		return names[a] < names[b]
	})
	var out proto
	if p.period > 0 {
		out.bytes(1, p.valueType("samples", "count"))
		out.bytes(1, p.valueType("cpu", "nanoseconds"))
	} else {
		out.bytes(1, p.valueType(p.kind, p.unit))
	}
	for i, name := range names {
		p.located[name] = uint64(i + 1)
	}
	window := p.text("window")
	for _, s := range p.stacks {
		var sample, ids, values proto
		for _, frame := range s.frames {
			ids.varint(p.located[frame])
		}
		values.varint(uint64(s.count))
		if p.period > 0 {
			values.varint(uint64(s.count * p.period))
		}
		sample.bytes(1, ids.Bytes())
		sample.bytes(2, values.Bytes())
		if p.windowed {
			var label proto
			label.number(1, window)
			// Field 3 is written even when it is 0: window 0 is a number, not an absent one.
			label.varint(3 << 3)
			label.varint(uint64(s.window))
			sample.bytes(3, label.Bytes())
		}
		out.bytes(2, sample.Bytes())
	}
	for i, name := range names {
		var line, location, function proto
		line.number(1, uint64(i+1))
		location.number(1, uint64(i+1))
		location.bytes(4, line.Bytes())
		out.bytes(4, location.Bytes())
		function.number(1, uint64(i+1))
		function.number(2, p.text(name))
		out.bytes(5, function.Bytes())
	}
	comment := uint64(0)
	if p.comment != "" {
		comment = p.text(p.comment)
	}
	var periodType []byte
	if p.period > 0 {
		periodType = p.valueType("cpu", "nanoseconds")
	}
	for _, s := range p.strings {
		out.bytes(6, []byte(s))
	}
	out.number(10, uint64(p.seconds*1e9))
	if p.period > 0 {
		out.bytes(11, periodType)
		out.number(12, uint64(p.period))
	}
	if comment > 0 {
		out.number(13, comment)
	}
	var packed bytes.Buffer
	writer, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return err
	}
	writer.Write(out.Bytes())
	if err := writer.Close(); err != nil {
		return err
	}
	return os.WriteFile(path, packed.Bytes(), 0o644)
}
