//go:build !next

package main

import (
	"encoding/json"
	"fmt"
)

// headers are the message's fields that selectors look at.
func headers(body []byte) map[string]string {
	var fields struct {
		Kind   string `json:"kind"`
		Region string `json:"region"`
		Grade  int    `json:"grade"`
	}
	json.Unmarshal(body, &fields)
	return map[string]string{"kind": fields.Kind, "region": fields.Region, "grade": fmt.Sprint(fields.Grade)}
}

// selected lists up to most messages from an offset on.
func (t *topic) selected(from uint64, selector byte, most int) []*Message {
	t.mu.Lock()
	defer t.mu.Unlock()
	var found []*Message
	for _, m := range t.ring {
		if m.Offset >= from && m.Headers["grade"] == string(selector) && m.Headers["kind"] != "" {
			if found = append(found, m); len(found) == most {
				break
			}
		}
	}
	return found
}
