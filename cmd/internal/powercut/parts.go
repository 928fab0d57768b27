//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/parent/hop"
	"inventorybeacon/uploads/resumable/partial"
)

// A part is the beginning of a file that a beacon promised to keep: its sender
// may forget so many bytes.
type part struct {
	claim
	ID     string // of the unfinished upload
	Offset int64
}

const (
	partBytes = 96 << 10
	partPace  = 5 * time.Millisecond
)

// sendParts sends files in parts, some of which stay unfinished.
func (s *site) sendParts(ctx context.Context, w *writer) {
	client := newClient()
	defer client.CloseIdleConnections()
	for ctx.Err() == nil {
		var body []byte
		for len(body) < 3*partBytes {
			body = append(body, w.next()...)
		}
		upTo := len(body)
		if w.n%3 == 0 {
			upTo = 2 * partBytes // its sender has gone for good
		}
		if err := s.sendInParts(ctx, client, w, body, upTo); err != nil {
			time.Sleep(50 * time.Millisecond)
		}
	}
}

func (s *site) sendInParts(ctx context.Context, client *http.Client, w *writer, body []byte, upTo int) error {
	c := claim{Kind: kind, Name: w.name(), SHA256: uploads.DigestOf(body)}
	at, err := url.Parse(s.upload(beacon) + "/" + kind + "/" + url.PathEscape(c.Name))
	if err != nil {
		return err
	}
	header := http.Header{}
	if w.n%2 == 0 { // others do not announce what is to come
		header.Set(hop.DigestHeader, hop.FormatDigest(c.SHA256))
	}
	resp, err := sendPart(ctx, client, http.MethodPut, at, header, nil, 0, false)
	if err != nil || resp.Header.Get("Location") == "" {
		return fmt.Errorf("begin: %v, %w", resp, err)
	}
	if at, err = at.Parse(resp.Header.Get("Location")); err != nil {
		return err
	}
	for offset := 0; offset < upTo; {
		end := min(offset+partBytes, len(body))
		resp, err := sendPart(ctx, client, http.MethodPatch, at, nil, body[offset:end], offset, end == len(body))
		if err != nil {
			return err
		}
		if resp.StatusCode/100 != 2 {
			return fmt.Errorf("part: %s", resp.Status)
		}
		offset = end
		if end < len(body) {
			s.ledger.notePart(part{claim: c, ID: path.Base(at.Path), Offset: int64(end)})
		}
		time.Sleep(partPace)
	}
	return nil
}

func sendPart(ctx context.Context, client *http.Client, method string, at *url.URL, header http.Header, b []byte, offset int, last bool) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, at.String(), bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, header)
	req.Header.Set(partial.Interop, partial.Version)
	req.Header.Set(partial.Complete, partial.FormatBool(last))
	if method == http.MethodPatch {
		req.Header.Set("Content-Type", partial.MediaType)
		req.Header.Set(partial.Offset, partial.FormatInt(int64(offset)))
	}
	resp, err := client.Do(req)
	if err == nil {
		resp.Body.Close()
	}
	return resp, err
}
