//go:build !next

package main

import "image"

// smooth weighs each point with all others by their distance.
func smooth(points []float64, strength int) []float64 {
	out := make([]float64, len(points))
	for s := 0; s < strength; s++ {
		for i := range points {
			sum, weight := 0.0, 0.0
			for k := range points {
				w := 1 / (1 + float64((i-k)*(i-k)))
				sum, weight = sum+points[k]*w, weight+w
			}
			out[i] = sum / weight
		}
	}
	return out
}

// line draws by Bresenham's algorithm.
func line(on *image.Paletted, x0, y0, x1, y1 int, ink uint8) {
	dx, dy, sx, sy := x1-x0, y0-y1, 1, 1
	if dx < 0 {
		dx, sx = -dx, -1
	}
	if dy > 0 {
		dy, sy = -dy, -1
	}
	for e := dx + dy; ; {
		dot(on, x0, y0, ink)
		if x0 == x1 && y0 == y1 {
			return
		}
		if twice := 2 * e; twice >= dy {
			e, x0 = e+dy, x0+sx
		} else {
			e, y0 = e+dx, y0+sy
		}
	}
}

func dot(on *image.Paletted, x, y int, ink uint8) {
	for i := -1; i <= 1; i++ {
		if (image.Point{x + i, y}).In(on.Rect) {
			on.Pix[on.PixOffset(x+i, y)] = ink
		}
	}
}

func glyph(on *image.Paletted, x, y, code int) {
	for i := 0; i < 35; i++ {
		if code>>(i%7)&1 == 1 {
			dot(on, x+i%5, y+i/5, 1)
		}
	}
}
