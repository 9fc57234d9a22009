//go:build next

package main

import "strings"

// The next edition walks a line byte by byte, with a function for each kind of token.
type scanner struct {
	out   *strings.Builder
	text  string
	at    int
	links []string
}

func inline(b *strings.Builder, line string, links []string) []string {
	s := scanner{out: b, text: line, links: links}
	if strings.HasPrefix(line, "* ") {
		b.WriteString("<li>")
		s.at = 2
	}
	for s.at < len(s.text) {
		if !s.link() && !s.bold() {
			s.plain()
		}
	}
	return s.links
}

func (s *scanner) link() bool {
	if !strings.HasPrefix(s.text[s.at:], "[[") {
		return false
	}
	end := strings.Index(s.text[s.at:], "]]")
	if end < 0 {
		return false
	}
	name := s.text[s.at+2 : s.at+end]
	s.out.WriteString("<a href='/page/")
	s.out.WriteString(name)
	s.out.WriteString("'>")
	s.out.WriteString(name)
	s.out.WriteString("</a>")
	s.links = append(s.links, name)
	s.at += end + 2
	return true
}

func (s *scanner) bold() bool {
	if !strings.HasPrefix(s.text[s.at:], "'''") {
		return false
	}
	end := strings.Index(s.text[s.at+3:], "'''")
	if end < 0 {
		return false
	}
	s.out.WriteString("<strong>")
	escaped(s.out, s.text[s.at+3:s.at+3+end])
	s.out.WriteString("</strong>")
	s.at += end + 6
	return true
}

func (s *scanner) plain() {
	from := s.at
	for s.at++; s.at < len(s.text) && s.text[s.at] != '[' && s.text[s.at] != '\''; s.at++ {
	}
	escaped(s.out, s.text[from:s.at])
}
