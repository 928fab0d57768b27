//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"fmt"
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
	relay   string
	against []against
}

// against is a rival with the ratio that has to be reached; 0 is no bar.
type against struct {
	rival string
	about string
	bar   float64
}

const (
	aboutFiles = "same server, each upload a file: write, fsync, rename, fsync of the directory"
	aboutNginx = "nginx WebDAV, which syncs nothing"
	aboutRest  = "restic rest-server, which syncs each file and its directory"
)

// The totals stay within the spare segments (four of 64 MiB beside the one in
// use), but for the row that runs on past them.
var bursts = []burst{
	{"100 KB, 16 clients, relay paused", 100 << 10, 16, 2400, relayPaused, []against{{"files", aboutFiles, 1.6}, {"nginx", aboutNginx, 0.4}, {"rest", aboutRest, 2}}},
	{"20 KB, 64 clients, relay paused", 20 << 10, 64, 11000, relayPaused, []against{{"files", aboutFiles, 3}, {"nginx", aboutNginx, 0.8}, {"rest", aboutRest, 3}}},
	{"100 KB, 16 clients, surface alone", 100 << 10, 16, 2400, relayNone, []against{{"files", aboutFiles, 0}}},
	{"20 KB, 64 clients, surface alone", 20 << 10, 64, 11000, relayNone, []against{{"files", aboutFiles, 0}}},
	{"100 KB, 16 clients, past the spares", 100 << 10, 16, 9000, relayPaused, []against{{"files", aboutFiles, 0}}},
	{"100 KB, 16 clients, relay running", 100 << 10, 16, 2400, relayRunning, []against{{"nginx", aboutNginx, 0}}},
	{"20 KB, 64 clients, relay running", 20 << 10, 64, 11000, relayRunning, []against{{"nginx", aboutNginx, 0}}},
}

func benchUploads(ctx context.Context, dir string) (rows []result, err error) {
	mount, note, unmount, err := ext4(dir)
	if err != nil {
		return nil, err
	}
	defer unmount()
	for _, b := range bursts {
		made, err := b.rounds(ctx, mount)
		if err != nil {
			return rows, fmt.Errorf("%s: %w", b.name, err)
		}
		for i := range made {
			made[i].Detail += "; " + note
		}
		rows = append(rows, made...)
	}
	return rows, nil
}

// rounds runs the beacon and each rival in turn; a rival's ratio is to the
// beacon's run of the same round.
func (b burst) rounds(ctx context.Context, mount string) (rows []result, err error) {
	bodies, err := inventories(b.size, 64)
	if err != nil {
		return nil, err
	}
	all := make([]pairs, len(b.against))
	for i := 0; i < fewestPairs && ctx.Err() == nil; i++ {
		mine, err := b.one(mount, b.mine(), bodies)
		if err != nil {
			return nil, err
		}
		for k, a := range b.against {
			theirs, err := b.one(mount, rivals[a.rival], bodies)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", a.rival, err)
			}
			all[k].ours, all[k].peer = append(all[k].ours, mine), append(all[k].peer, theirs)
		}
	}
	for k, a := range b.against {
		rows = append(rows, all[k].result("uploads "+b.name+" / "+a.rival, a.about, a.bar))
	}
	return rows, ctx.Err()
}

// mine is the surface alone, or the beacon with a relay.
func (b burst) mine() rival {
	if b.relay == relayNone {
		return surface()
	}
	return ours(b.relay)
}

// one starts a server on an empty directory, lets the disk come to rest, and
// runs one burst against it.
func (b burst) one(mount string, r rival, bodies [][]byte) (sample, error) {
	dir := filepath.Join(mount, r.name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return sample{}, err
	}
	defer os.RemoveAll(dir)
	c, err := r.launch(dir)
	if err != nil {
		return sample{}, err
	}
	defer c.stop()
	heads, all := b.prepare(r, bodies)
	rest()
	return c.measure(b.clients, b.total, r.status, func(n int) (string, []byte) { return heads[n], all[n] })
}

// prepare makes the requests of a run, whose bodies all differ: the time in a
// gzip header is the upload's number.
func (b burst) prepare(r rival, bodies [][]byte) (heads []string, all [][]byte) {
	for n := range b.total {
		body := append([]byte(nil), bodies[n%len(bodies)]...)
		binary.LittleEndian.PutUint32(body[4:], uint32(n+1))
		heads, all = append(heads, r.head(n, body)), append(all, body)
	}
	return heads, all
}

// rest lets the disk finish what the run before left to it: one contestant's
// unsynced pages would slow the other's syncs.
func rest() {
	syscall.Sync()
	time.Sleep(time.Second)
}
