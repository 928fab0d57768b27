//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// A passage is one sort of backlog that is relayed, against another program
// that moves the same files.
type passage struct {
	name, about string
	bar         float64
	files       func() ([]string, [][]byte, error) // requests and bodies
	relay       func(dir string) string            // the beacon's destination below dir
	store       func(dir string) (*child, error)   // a server that both need, or nil
	theirs      func(dir string) (*child, error)   // moves dir/source
}

const (
	logFiles = 4000
	logBytes = 50 << 10
)

func intoDirectory(dir string) string {
	return fmt.Sprintf("directory: {path: %q}", filepath.Join(dir, "relayed"))
}

var passages = []passage{
	{"relay logs to a directory", "16 workers: copy, fsync, rename, fsync of the directory", 1.5, logs, intoDirectory, nil, copyFiles},
	{"relay logs to S3", "rclone copy --transfers 16 to the same versitygw", 1, logs, intoStore, launchStore, copyToStore},
	{"relay inventories, checked, to a directory", "16 workers: copy, fsync, rename, fsync of the directory", 0, documents, intoDirectory, nil, copyFiles},
}

func benchRelay(ctx context.Context, dir string) (rows []result, err error) {
	mount, note, unmount, err := ext4(dir)
	if err != nil {
		return nil, err
	}
	defer unmount()
	for _, p := range passages {
		r, err := p.pairs(ctx, mount)
		if err != nil {
			return rows, fmt.Errorf("%s: %w", p.name, err)
		}
		row := r.result(p.name, p.about, p.bar)
		row.Detail += "; " + note
		rows = append(rows, row)
	}
	return rows, nil
}

func (p passage) pairs(ctx context.Context, mount string) (all pairs, err error) {
	heads, bodies, err := p.files()
	if err != nil {
		return all, err
	}
	for i := 0; i < fewestPairs && ctx.Err() == nil; i++ {
		mine, err := p.ours(filepath.Join(mount, "beacon"), heads, bodies)
		if err != nil {
			return all, err
		}
		theirs, err := p.peer(filepath.Join(mount, "peer"), bodies)
		if err != nil {
			return all, err
		}
		all.ours, all.peer = append(all.ours, mine), append(all.peer, theirs)
	}
	return all, ctx.Err()
}

// ours fills a beacon whose destination is away, stops it, and measures from
// its next start until nothing waits.
func (p passage) ours(dir string, heads []string, bodies [][]byte) (s sample, err error) {
	done, err := p.place(dir)
	if err != nil {
		return s, err
	}
	defer done()
	c, err := launchBeacon(dir, relayPaused)
	if err != nil {
		return s, err
	}
	_, err = load(c.addr, 16, len(bodies), http.StatusOK, func(n int) (string, []byte) { return heads[n], bodies[n] })
	c.stop()
	if err != nil {
		return s, err
	}
	rest()
	began := time.Now()
	if c, err = launchBeacon(dir, p.relay(dir)); err != nil {
		return s, err
	}
	defer c.stop()
	err = c.until("beacon_spool_files", func(n float64) bool { return n == 0 })
	return c.sampleSince(began, len(bodies)), err
}

// peer writes the same files and measures from a program's start until it has
// moved them.
func (p passage) peer(dir string, bodies [][]byte) (s sample, err error) {
	done, err := p.place(dir)
	if err != nil {
		return s, err
	}
	defer done()
	source := filepath.Join(dir, "source")
	if err := os.Mkdir(source, 0o755); err != nil {
		return s, err
	}
	for i, b := range bodies {
		if err := os.WriteFile(filepath.Join(source, fmt.Sprintf("%05d.log", i)), b, 0o644); err != nil {
			return s, err
		}
	}
	rest()
	began := time.Now()
	c, err := p.theirs(dir)
	if err != nil {
		return s, err
	}
	err = c.cmd.Wait()
	s = sample{Rate: float64(len(bodies)) / time.Since(began).Seconds()}
	if st := c.cmd.ProcessState; st != nil {
		s.CPU = float64((st.UserTime() + st.SystemTime()).Microseconds()) / float64(len(bodies))
	}
	return s, err
}

// place makes an empty directory, with a store in it if one is needed.
func (p passage) place(dir string) (done func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if p.store == nil {
		return func() { os.RemoveAll(dir) }, nil
	}
	c, err := p.store(dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return func() { c.stop(); os.RemoveAll(dir) }, nil
}

func (c *child) sampleSince(began time.Time, n int) sample {
	return sample{Rate: float64(n) / time.Since(began).Seconds(), CPU: float64(c.cpu().Microseconds()) / float64(n)}
}

// logs are what has no document to check.
func logs() (heads []string, bodies [][]byte, err error) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range logFiles {
		b := make([]byte, 0, logBytes)
		for len(b) < logBytes-32 {
			b = fmt.Appendf(b, "%016x %x\n", r.Uint64(), r.Uint32())
		}
		heads, bodies = append(heads, putLog(n, b)), append(bodies, b)
	}
	return heads, bodies, nil
}

// documents are inventories of 20 KB.
func documents() (heads []string, bodies [][]byte, err error) {
	made, err := inventories(20<<10, 64)
	if err != nil {
		return nil, nil, err
	}
	heads, bodies = burst{total: logFiles}.prepare(rivals["files"], made)
	return heads, bodies, nil
}
