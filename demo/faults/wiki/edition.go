//go:build !next

package main

import "strings"

// inline renders links, bold words and list points of a line.
func inline(b *strings.Builder, line string, links []string) []string {
	if strings.HasPrefix(line, "* ") {
		b.WriteString("<li>")
		line = line[2:]
	}
	for line != "" {
		switch {
		case strings.HasPrefix(line, "[["):
			name, rest, ok := strings.Cut(line[2:], "]]")
			if !ok {
				escaped(b, line)
				return links
			}
			b.WriteString(`<a href="/page/` + name + `">` + name + "</a>")
			links, line = append(links, name), rest
		case strings.HasPrefix(line, "'''"):
			text, rest, _ := strings.Cut(line[3:], "'''")
			b.WriteString("<b>")
			escaped(b, text)
			b.WriteString("</b>")
			line = rest
		default:
			next := strings.IndexAny(line[1:], "['") + 1
			if next == 0 {
				next = len(line)
			}
			escaped(b, line[:next])
			line = line[next:]
		}
	}
	return links
}
