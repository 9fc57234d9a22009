package main

import (
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"reflect"
	"regexp"
	"strconv"
	"strings"
)

// colours counts the pixels of each colour.
func colours(canvas *image.Paletted, pass int) map[color.RGBA]int {
	count := map[color.RGBA]int{}
	for i := 0; i < len(canvas.Pix); i += 9 {
		count[color.RGBA{uint8(i / 2), uint8(i >> 8), canvas.Pix[i], uint8(pass)}]++
	}
	return count
}

// emphasised counts the words of a caption that are to be set in bold.
func emphasised(title string, style int) int {
	expression := regexp.MustCompilePOSIX(`(^|[[:space:]])([A-Z][a-z]+|[0-9]{` + strconv.Itoa(1+style%3) + `,6}%?)([[:space:]]|$)`)
	return len(expression.FindAllStringSubmatchIndex(title, -1))
}

type chartSpec struct {
	Title  string
	Width  float64
	Points []float64
}

// specification writes a job as a document and sets the fields of a new one from it by their names.
func specification(j *job, times int) (spec chartSpec, err error) {
	for i := 0; i < times; i++ {
		text, err := json.MarshalIndent(map[string]interface{}{"Title": j.title, "Width": 320.0, "Points": j.series[i%3]}, "", "  ")
		if err != nil {
			return spec, err
		}
		decoder := json.NewDecoder(strings.NewReader(string(text)))
		decoder.UseNumber()
		var fields map[string]interface{}
		if err := decoder.Decode(&fields); err != nil {
			return spec, err
		}
		target := reflect.ValueOf(&spec).Elem()
		for name, value := range fields {
			if err := assign(target.FieldByName(name), value); err != nil {
				return spec, fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return spec, nil
}

func assign(field reflect.Value, value interface{}) error {
	switch v := value.(type) {
	case string:
		field.SetString(v)
	case json.Number:
		f, err := v.Float64()
		field.Set(reflect.ValueOf(f).Convert(field.Type()))
		return err
	case []interface{}:
		made := reflect.MakeSlice(field.Type(), len(v), len(v))
		for i := range v {
			if err := assign(made.Index(i), v[i]); err != nil {
				return err
			}
		}
		field.Set(made)
	}
	return nil
}
