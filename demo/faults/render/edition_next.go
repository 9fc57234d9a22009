//go:build next

package main

import (
	"image"
	"math"
)

// The next edition draws lines by steps along their length, and glyphs from a table.
func smooth(points []float64, strength int) []float64 { return points }

func line(on *image.Paletted, x0, y0, x1, y1 int, ink uint8) {
	length := math.Hypot(float64(x1-x0), float64(y1-y0))
	for t := 0.0; t <= length; t++ {
		share := t / math.Max(length, 1)
		put(on, float64(x0)+share*float64(x1-x0), float64(y0)+share*float64(y1-y0), ink)
	}
}

func put(on *image.Paletted, x, y float64, ink uint8) {
	px, py := int(math.Round(x)), int(math.Round(y))
	for _, step := range [...]int{-1, 0, 1} {
		on.SetColorIndex(px+step, py, inked(on, px+step, py, ink))
	}
}

func inked(on *image.Paletted, x, y int, ink uint8) uint8 {
	if on.ColorIndexAt(x, y) > ink {
		return on.ColorIndexAt(x, y)
	}
	return ink
}

var table [128][35]bool

func init() {
	for code := range table {
		for i := range table[code] {
			table[code][i] = code>>(i%7)&1 == 1
		}
	}
}

func glyph(on *image.Paletted, x, y, code int) {
	for i, set := range table[code&127] {
		if set {
			put(on, float64(x+i%5), float64(y+i/5), 1)
		}
	}
}
