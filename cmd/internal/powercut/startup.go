//go:build linux

package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
)

const (
	// startEach is of how many images one is given to the real beacon, too, which
	// opens more than the spool but takes longer.
	startEach = 10
	// asked is how many files it is asked about.
	asked = 20
)

// nowhere is where a beacon that is started on an image relays to.
const nowhere = "http://127.0.0.1:9/ManageSoftRL"

// startOn starts the real beacon on what a cut left, asks it for the files that
// were acknowledged last, and kills it.
func (c *campaign) startOn(ctx context.Context, dir string, q question) (a answer) {
	p, at, err := serve(c.bin, nil, q.Role, dir, q.Data, nowhere)
	if err != nil {
		a.fault("it does not start again: %v", err)
		return a
	}
	defer p.Kill()
	client := newClient()
	defer client.CloseIdleConnections()
	for _, f := range q.Claims[max(0, len(q.Claims)-asked):] {
		if f.Kind == refusedKind {
			continue // it may be in quarantine by now, and then is not held
		}
		file := at.JoinPath("ManageSoftRL", f.Kind, url.PathEscape(f.Name))
		file.RawQuery = "sha256=" + f.SHA256.String()
		if status, err := head(ctx, client, file.String()); err != nil || status != http.StatusOK {
			a.lost(f, fmt.Sprintf("the beacon that was started again says %d, %v", status, err))
		}
	}
	return a
}

func head(ctx context.Context, client *http.Client, at string) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, at, nil)
	if err != nil {
		return 0, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	resp.Body.Close()
	return resp.StatusCode, nil
}
