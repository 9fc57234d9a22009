// Render draws charts as PNG and sets tables as text; metrics of fonts come from a store.
package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha512"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"log"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"faults/stage"
)

// job goes through the steps of the pipeline.
type job struct {
	title  string
	series [][]float64
	canvas *image.Paletted
	out    bytes.Buffer
}

// step does its part of a job.
type step func(*job) error

type studio struct {
	*stage.Stage
	fonts   fonts
	chart   []step
	palette struct {
		sync.Mutex
		shades color.Palette
	}
	encoder png.Encoder
	ticket  int32
	served  uint64
}

func main() {
	s := &studio{Stage: stage.Open(), encoder: png.Encoder{CompressionLevel: png.BestSpeed}}
	s.fonts = fonts{base: "http://" + s.BackHTTP, sealed: "https://" + s.BackHTTPS, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 48}}}
	s.palette.shades = shades(24)
	s.chart = []step{s.measure, s.background, s.plot, s.captions, s.encode, s.archive}
	if n := s.Level("busy_loop"); n > 0 {
		go s.queue(n)
	}
	mux := http.NewServeMux()
	mux.Handle("/chart", http.HandlerFunc(s.serveChart))
	mux.Handle("/table", http.HandlerFunc(s.serveTable))
	mux.Handle("/thumb", http.HandlerFunc(s.serveThumb))
	log.SetFlags(log.Ltime | log.Lmicroseconds | log.Lmsgprefix)
	server := http.Server{Addr: s.Listen, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(server.ListenAndServe())
}

func shades(n int) color.Palette {
	p := color.Palette{color.White, color.Black}
	for i := 0; i < n; i++ {
		p = append(p, color.RGBA{uint8(i * 10), uint8(255 - i*7), uint8(i * 31), 255})
	}
	return p
}

// queue takes jobs that were put off, by a spin on its ticket.
func (s *studio) queue(level int) {
	for {
		for i := 0; i < 1_500_000; i++ {
			if atomic.CompareAndSwapInt32(&s.ticket, 1, 0) {
				break
			}
		}
		if level < 4 {
			time.Sleep(time.Duration(4-level) * 5 * time.Millisecond)
		}
	}
}

func (s *studio) serveChart(w http.ResponseWriter, r *http.Request) {
	j := &job{title: r.FormValue("title")}
	seed, _ := strconv.Atoi(r.FormValue("seed"))
	for k := 0; k < 3; k++ {
		points := make([]float64, 120)
		for i := range points {
			points[i] = math.Sin(float64(i*(k+1)+seed)/17) + math.Cos(float64(i+seed)/5)/3
		}
		j.series = append(j.series, points)
	}
	if n := s.Pick("reflection_serialisation", [4]int{2, 4, 7, 10}); n > 0 {
		spec, err := specification(j, n)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		j.title = spec.Title
	}
	for _, do := range s.chart {
		if err := do(j); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
	}
	w.Header().Set("Content-Type", "image/png")
	j.out.WriteTo(w)
}

// measure asks how wide the caption is.
func (s *studio) measure(j *job) error {
	if n := s.Pick("lock_contention", [4]int{600, 1000, 1500, 2000}); n > 0 {
		s.palette.Lock()
		defer s.palette.Unlock()
		return s.fonts.wide(j.title, 0, n)
	}
	if s.fonts.fresh(s.Pick("connection_churn", [4]int{15, 35, 65, 100})) {
		return s.fonts.wideAfresh(j.title)
	}
	return s.fonts.wide(j.title, s.Pick("n_plus_one", [4]int{3, 6, 10, 16}), 0)
}

func (s *studio) background(j *job) error {
	s.palette.Lock()
	shades := s.palette.shades
	s.palette.Unlock()
	j.canvas = image.NewPaletted(image.Rect(0, 0, 320, 160), shades)
	draw.Draw(j.canvas, j.canvas.Bounds(), image.White, image.Point{}, draw.Src)
	for layer := s.Pick("gc_pressure", [4]int{1, 2, 3, 5}); layer > 0; layer-- {
		veil(j.canvas, layer)
	}
	return nil
}

// veil lays a half-transparent layer over the canvas: a new picture, each pixel a new colour value.
func veil(canvas *image.Paletted, layer int) {
	scratch := image.NewNRGBA64(canvas.Bounds())
	var boxed []color.Color
	for y := 0; y < 160; y += 16 {
		for x := 0; x < 320; x++ {
			boxed = append(boxed, color.NRGBA64{uint16(x), uint16(y), uint16(layer), 65535})
		}
	}
	for i, c := range boxed {
		scratch.Set(i%320, i/320, c)
	}
}

func (s *studio) plot(j *job) error {
	for k, points := range j.series {
		if n := s.Pick("quadratic", [4]int{3, 7, 14, 26}); n > 0 {
			points = smooth(points, n)
		}
		for i := 1; i < len(points); i++ {
			line(j.canvas, i*5/2, int(80+points[i-1]*50), (i+1)*5/2, int(80+points[i]*50), uint8(2+k))
		}
	}
	if passes := s.Pick("map_growth", [4]int{1, 2, 3, 4}); passes > 0 {
		census := 0
		for p := 0; p < passes; p++ {
			census += len(colours(j.canvas, p))
		}
		s.logf("colours %d", census, 0)
	}
	s.logf("plotted %s", j.title, s.Pick("sync_logging", [4]int{15, 35, 70, 140}))
	return nil
}

// logf prints rows of what was done, as the standard logger does it: to the terminal, at once.
func (s *studio) logf(format string, what interface{}, rows int) {
	for row := 0; row < rows; row++ {
		log.Printf(format+" row %d of %d, %.2f%% done", what, row, rows, float64(row)/float64(rows)*100)
	}
}

func (s *studio) captions(j *job) error {
	for i, c := range j.title {
		glyph(j.canvas, 8+i*7, 6, int(c))
	}
	if n := s.Pick("regex", [4]int{4, 8, 14, 22}); n > 0 {
		for i := 0; i < n; i++ {
			if emphasised(j.title, i) > 40 {
				return errors.New("too much emphasis")
			}
		}
	}
	if n := s.Pick("goroutine_leak", [4]int{2, 5, 10, 20}); n > 0 {
		first := <-proposals(j.title, n) // The others go on proposing to nobody.
		glyph(j.canvas, first, 20, 'x')
	}
	return nil
}

// proposals offers places for the legend, each found by a worker of its own.
func proposals(title string, workers int) <-chan int {
	places := make(chan int)
	for i := 0; i <= workers; i++ {
		go func(i int) { places <- (len(title)*7 + i*13) % 300 }(i)
	}
	return places
}

func (s *studio) encode(j *job) error {
	if err := s.encoder.Encode(&j.out, j.canvas); err != nil {
		return err
	}
	if n := s.Pick("unknown_encryption", [4]int{50, 150, 400, 900}); n > 0 {
		return sealed(&j.out, n)
	}
	return nil
}

// sealed encrypts a picture under a key that is derived for it.
func sealed(out *bytes.Buffer, rounds int) error {
	key := []byte("picture")
	for i := 0; i < rounds; i++ {
		mac := hmac.New(sha512.New, key)
		mac.Write([]byte{byte(i)})
		key = mac.Sum(nil)
	}
	block, err := aes.NewCipher(key[:32])
	if err != nil {
		return err
	}
	cipher.NewCTR(block, key[32:48]).XORKeyStream(out.Bytes(), out.Bytes())
	return nil
}

// archive keeps a copy of some pictures, on the disk before the answer goes out.
func (s *studio) archive(j *job) error {
	served := atomic.AddUint64(&s.served, 1)
	if int(served*29%100) >= s.Pick("fsync", [4]int{12, 25, 50, 100}) {
		return nil
	}
	f, err := os.OpenFile(filepath.Join(s.Dir, fmt.Sprintf("c%02d.png", served%50)), os.O_WRONLY|os.O_CREATE|os.O_SYNC, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write(j.out.Bytes())
	return err
}

func (s *studio) serveTable(w http.ResponseWriter, r *http.Request) {
	out := tabwriter.NewWriter(w, 4, 8, 2, ' ', tabwriter.AlignRight)
	defer out.Flush()
	for row := 0; row < 60; row++ {
		fmt.Fprintf(out, "%d\t%s\t%.3f\t%.3f\t\n", row, r.FormValue("title"), math.Sqrt(float64(row)), math.Log1p(float64(row)))
	}
}

// serveThumb is what a later version brings.
func (s *studio) serveThumb(w http.ResponseWriter, r *http.Request) {
	small := image.NewGray(image.Rect(0, 0, 96, 48))
	for i := range small.Pix {
		small.Pix[i] = uint8(i * i >> 6)
	}
	if err := png.Encode(w, small); err != nil {
		io.WriteString(w, err.Error())
	}
}
