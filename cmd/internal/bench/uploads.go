//go:build linux

package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// A burst is one sort of load of uploads.
type burst struct {
	name    string
	size    int // bytes of a body, about
	clients int
	total   int // uploads of one timed run
	bar     float64
	ready   bool // wait for spare segments first
}

// The totals stay within the spare segments (four of 64 MiB beside the one in
// use), but for the last row, which runs on past them.
var bursts = []burst{
	{"uploads 100 KB, 16 clients", 100 << 10, 16, 2400, 1.6, true},
	{"uploads 20 KB, 64 clients", 20 << 10, 64, 11000, 3, true},
	{"uploads 100 KB, 16 clients, past the spares", 100 << 10, 16, 9000, 0, false},
}

func benchUploads(ctx context.Context, dir string) (rows []result, err error) {
	mount, note, unmount, err := ext4(dir)
	if err != nil {
		return nil, err
	}
	defer unmount()
	for _, b := range bursts {
		p, err := b.pairs(ctx, mount)
		if err != nil {
			return rows, fmt.Errorf("%s: %w", b.name, err)
		}
		r := p.result(b.name, "same server, file+fsync+rename+dirsync", b.bar)
		r.Detail += "; " + note
		rows = append(rows, r)
	}
	return rows, nil
}

func (b burst) pairs(ctx context.Context, mount string) (p pairs, err error) {
	bodies, err := inventories(b.size, 64)
	if err != nil {
		return p, err
	}
	for i := 0; i < fewestPairs && ctx.Err() == nil; i++ {
		ours, err := b.one(mount, "spool", bodies)
		if err != nil {
			return p, err
		}
		peer, err := b.one(mount, "files", bodies)
		if err != nil {
			return p, err
		}
		p.ours, p.peer = append(p.ours, ours), append(p.peer, peer)
	}
	return p, ctx.Err()
}

// one starts a contestant on an empty directory, lets the disk come to rest,
// and runs one burst against it.
func (b burst) one(mount, contestant string, bodies [][]byte) (sample, error) {
	dir := filepath.Join(mount, contestant)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return sample{}, err
	}
	defer os.RemoveAll(dir)
	args := []string{"contestant", contestant, dir}
	if b.ready {
		args = append(args, "ready")
	}
	self, err := os.Executable()
	if err != nil {
		return sample{}, err
	}
	c, err := start(self, args...)
	if err != nil {
		return sample{}, err
	}
	defer c.stop()
	rest()
	return c.measure(b.clients, b.total, 200, func(n int) (string, []byte) {
		name := url.PathEscape(fmt.Sprintf("bench%05d at 20260101T000000.ndi.gz", n))
		body := bodies[n%len(bodies)]
		return fmt.Sprintf("PUT /ManageSoftRL/Inventories/%s HTTP/1.1\r\nHost: beacon\r\nContent-Length: %d\r\n\r\n", name, len(body)), body
	})
}

// rest lets the disk finish what the run before left to it: one contestant's
// unsynced pages would slow the other's syncs.
func rest() {
	syscall.Sync()
	time.Sleep(time.Second)
}
