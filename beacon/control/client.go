package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"syscall"
)

// A Client calls the beacon that runs on a data directory.
type Client struct {
	dir  string
	http *http.Client
}

// NewClient returns a client; nothing is connected before the first call.
func NewClient(dir string) *Client {
	return &Client{dir, &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			return dialSocket(dir, SocketName)
		},
	}}}
}

// An Error is the beacon's word on why a call failed.
type Error struct{ Text string }

func (e *Error) Error() string { return e.Text }

// Call calls name with in and decodes the answer into an Out. The error
// matches [ErrNotRunning] if no beacon answers, and is an [Error] if it says no.
func Call[In, Out any](ctx context.Context, c *Client, name string, in In) (out Out, err error) {
	body, err := c.Open(ctx, name, in)
	if err != nil {
		return out, err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(&out); err != nil {
		return out, fmt.Errorf("%s: %w", name, err)
	}
	return out, nil
}

// Open calls name and returns its answer as it comes. A body that ends without
// an error is complete.
func (c *Client) Open(ctx context.Context, name string, in any) (io.ReadCloser, error) {
	b, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://beacon/"+name, bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(name, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	var no refusal
	if err := json.NewDecoder(resp.Body).Decode(&no); err != nil || no.Error == "" {
		return nil, fmt.Errorf("%s: the running beacon does not know this call (%s): is it another version?", name, resp.Status)
	}
	return nil, &Error{no.Error}
}

func (c *Client) explain(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%s: %w", c.dir, ErrNotRunning)
	}
	return fmt.Errorf("%s: %w", name, err)
}
