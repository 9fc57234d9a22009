package main

import (
	"crypto/tls"
	"io"
	"math/rand"
	"net/http"
	"net/url"
	"strconv"
)

// fonts asks the store for widths.
type fonts struct {
	base, sealed string
	client       *http.Client
}

func (f fonts) fresh(percent int) bool { return rand.Intn(100) < percent }

// wide asks for a caption, or glyph by glyph for the first of them.
func (f fonts) wide(title string, glyphs, wait int) error {
	for i := 0; i < glyphs && i < len(title); i++ {
		if err := drain(f.client.Get(f.base + "/get?key=glyph-" + url.QueryEscape(title[i:i+1]))); err != nil {
			return err
		}
	}
	if glyphs > 0 {
		return nil
	}
	return drain(f.client.Get(f.base + "/get?key=" + url.QueryEscape(title) + "&wait=" + strconv.Itoa(wait)))
}

// wideAfresh asks over a connection that nobody has used before or will again.
func (f fonts) wideAfresh(title string) error {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true
	transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}
	return drain((&http.Client{Transport: transport}).Get(f.sealed + "/get?key=" + url.QueryEscape(title)))
}

func drain(answer *http.Response, err error) error {
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}
