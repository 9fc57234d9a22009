package main

import (
	"debug/dwarf"
	"debug/elf"
	"debug/gosym"
	"encoding/binary"
	"sort"
	"strings"
)

// images gives names to addresses of Go programs: with inlined frames from DWARF, or from the table that the runtime
// itself needs, which stripped programs keep.
type images struct{ loaded map[string]*image }

type image struct {
	functions []function
	table     *gosym.Table
	moved     []elf.ProgHeader // Without symbols perf tells offsets in the file: the segments turn them into addresses.
}

type function struct {
	low, high uint64
	name      string
	inlined   []inlined
}

// inlined is a call that the compiler put into its caller; a deeper one lies within.
type inlined struct {
	ranges [][2]uint64
	depth  int
	name   string
}

// names returns the frames at an address, innermost first; nil when the image is not of a Go program.
func (i *images) names(path string, ip uint64, returns bool) []string {
	im, ok := i.loaded[path]
	if !ok {
		im = load(path)
		i.loaded[path] = im
	}
	if im == nil {
		return nil
	}
	for _, segment := range im.moved {
		if segment.Off <= ip && ip < segment.Off+segment.Filesz {
			ip += segment.Vaddr - segment.Off
			break
		}
	}
	if returns {
		ip-- // The call, not the instruction that it comes back to.
	}
	if im.table != nil {
		if f := im.table.PCToFunc(ip); f != nil {
			return []string{f.Name}
		}
		return nil
	}
	at := sort.Search(len(im.functions), func(n int) bool { return im.functions[n].low > ip }) - 1
	if at < 0 || ip >= im.functions[at].high {
		return nil
	}
	f := &im.functions[at]
	frames := []string{}
	for _, in := range f.inlined {
		for _, r := range in.ranges {
			if r[0] <= ip && ip < r[1] {
				frames = append(frames[:0:0], append([]string{in.name}, frames...)...)
				break
			}
		}
	}
	return append(frames, f.name)
}

func load(path string) *image {
	file, err := elf.Open(path)
	if err != nil {
		return nil
	}
	defer file.Close()
	section := file.Section(".gopclntab")
	if section == nil {
		section = file.Section(".data.rel.ro.gopclntab") // Position-independent programs.
	}
	if section == nil {
		return nil
	}
	if data, err := file.DWARF(); err == nil {
		if functions := functionsOf(data); len(functions) > 0 {
			return &image{functions: functions}
		}
	}
	text, err := section.Data()
	if err != nil {
		return nil
	}
	// The Go code begins where the table's header says (Go 1.18 and later, 64 bits): C code may come before it.
	begin := file.Section(".text").Addr
	if len(text) >= 32 {
		if said := binary.LittleEndian.Uint64(text[24:]); said != 0 {
			begin = said
		}
	}
	table, err := gosym.NewTable(nil, gosym.NewLineTable(text, begin))
	if err != nil {
		return nil
	}
	im := &image{table: table}
	for _, segment := range file.Progs {
		if segment.Type == elf.PT_LOAD {
			im.moved = append(im.moved, segment.ProgHeader)
		}
	}
	return im
}

// functionsOf lists all functions with the calls inlined in them, ordered by address.
func functionsOf(data *dwarf.Data) []function {
	var functions []function
	names := map[dwarf.Offset]string{}
	type pending struct {
		function, index int
		origin          dwarf.Offset
	}
	var open []pending
	reader := data.Reader()
	depth, current, start := 0, -1, 0
	for {
		entry, err := reader.Next()
		if err != nil || entry == nil {
			break
		}
		if entry.Tag == 0 {
			depth--
			if current >= 0 && depth <= start {
				current = -1
			}
			continue
		}
		switch entry.Tag {
		case dwarf.TagSubprogram:
			name, _ := entry.Val(dwarf.AttrName).(string)
			name = strings.TrimSuffix(name, ".abi0") // Assembly; the runtime's own tables name it without.
			names[entry.Offset] = name
			if ranges, err := data.Ranges(entry); err == nil && len(ranges) > 0 {
				functions = append(functions, function{low: ranges[0][0], high: ranges[0][1], name: name})
				current, start = len(functions)-1, depth
				if origin, ok := entry.Val(dwarf.AttrAbstractOrigin).(dwarf.Offset); ok && name == "" {
					open = append(open, pending{current, -1, origin})
				}
			}
		case dwarf.TagInlinedSubroutine:
			origin, ok := entry.Val(dwarf.AttrAbstractOrigin).(dwarf.Offset)
			ranges, err := data.Ranges(entry)
			if ok && err == nil && current >= 0 {
				f := &functions[current]
				f.inlined = append(f.inlined, inlined{ranges: ranges, depth: depth})
				open = append(open, pending{current, len(f.inlined) - 1, origin})
			}
		}
		if entry.Children {
			depth++
		}
	}
	for _, p := range open {
		if p.index < 0 {
			functions[p.function].name = names[p.origin]
		} else {
			functions[p.function].inlined[p.index].name = names[p.origin]
		}
	}
	for _, f := range functions {
		sort.SliceStable(f.inlined, func(a, b int) bool { return f.inlined[a].depth < f.inlined[b].depth })
	}
	sort.Slice(functions, func(a, b int) bool { return functions[a].low < functions[b].low })
	return functions
}
