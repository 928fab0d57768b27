// Package problem reads the documents in which a beacon says no (RFC 9457),
// and tells them from what proxies and captive portals say in its place.
package problem

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"
)

// MediaType is what such a document is served as.
const MediaType = "application/problem+json"

// A Code is the stable name of a reason.
type Code string

// The codes that a beacon answers with. Any other is no verdict.
const (
	BadName          Code = "bad-name"
	BadRequest       Code = "bad-request"
	Unauthenticated  Code = "unauthenticated"
	Forbidden        Code = "forbidden"
	NotFound         Code = "not-found"
	Gone             Code = "gone"
	MethodNotAllowed Code = "method-not-allowed"
	Stalled          Code = "stalled"
	OffsetMismatch   Code = "offset-mismatch"
	BadRange         Code = "bad-range"
	LengthRequired   Code = "length-required"
	TooLarge         Code = "too-large"
	BadKind          Code = "bad-kind"
	DigestMismatch   Code = "digest-mismatch"
	BadContent       Code = "bad-content"
	Busy             Code = "busy"
	Internal         Code = "internal"
	SpoolFull        Code = "spool-full"
	Loop             Code = "loop"
)

// statuses says which status a code comes with: a document that claims another
// is not ours.
var statuses = map[Code][]int{
	BadName: {400}, BadRequest: {400}, Unauthenticated: {401}, Forbidden: {403}, NotFound: {404}, Gone: {410},
	MethodNotAllowed: {405}, Stalled: {408}, OffsetMismatch: {409}, BadRange: {400, 416}, LengthRequired: {411},
	TooLarge: {413}, BadKind: {415}, DigestMismatch: {422}, BadContent: {422}, Busy: {429, 503}, Internal: {500},
	SpoolFull: {507}, Loop: {508},
}

// A Document is a beacon's no.
type Document struct {
	Status int    `json:"status"`
	Code   Code   `json:"code"`
	Title  string `json:"title,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// Error implements error, in one line.
func (d *Document) Error() string {
	words := d.Detail
	if words == "" {
		words = d.Title
	}
	if words == "" {
		words = http.StatusText(d.Status)
	}
	return fmt.Sprintf("%d %s: %.200q", d.Status, d.Code, words)
}

// maxBytes bounds a document; a longer one is not ours.
const maxBytes = 64 << 10

// Read returns the answer's document if it is a verdict: a problem document
// with a code we know, under the status that goes with it. Anything else came
// from somebody in between, or from a beacon we do not understand.
func Read(resp *http.Response) (*Document, bool) {
	media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || media != MediaType {
		return nil, false
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxBytes))
	if err != nil {
		return nil, false
	}
	var d Document
	if json.Unmarshal(b, &d) != nil {
		return nil, false
	}
	for _, status := range statuses[d.Code] {
		if status == resp.StatusCode {
			d.Status = status
			return &d, true
		}
	}
	return nil, false
}

// maxRetryAfter bounds what a peer can ask for: a longer wait is more likely
// somebody's mistake, or malice, than a schedule.
const maxRetryAfter = 24 * time.Hour

// RetryAfter returns how long the answer asks to be left alone, and whether it
// asks. It understands seconds and HTTP dates.
func RetryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	v := h.Get("Retry-After")
	if v == "" {
		return 0, false
	}
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return min(time.Duration(n)*time.Second, maxRetryAfter), true
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0, false
	}
	return min(max(at.Sub(now), 0), maxRetryAfter), true
}
