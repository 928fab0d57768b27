//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"time"

	"inventorybeacon/cmd/internal/child"
	"inventorybeacon/cmd/internal/powercut/cutdisk"
	"inventorybeacon/uploads/spool/sabotage"
)

// A recording is what one run of the programs wrote to their disks, and what
// they promised meanwhile.
type recording struct {
	fs           cutdisk.Type
	began, ended uint64 // ticks
	disks        map[role]log
	claims       map[role][]claim
	revisions    []publication
	parts        []part
	bytes        int64
}

// log is what [cutdisk.Disk.Stop] returns.
type log struct {
	base *cutdisk.Image
	ops  []cutdisk.Op
}

func (r *recording) String() string {
	promised := func(who role) string {
		return fmt.Sprintf("%s promised %d files in %d writes", who, len(r.claims[who]), len(r.disks[who].ops))
	}
	return fmt.Sprintf("%d MB written; %s; %s; %s; %d revisions, %d parts",
		r.bytes/1e6, promised(beacon), promised(parent), promised(agent), len(r.revisions), len(r.parts))
}

// A site is an agent, a beacon and its parent, each on a disk of its own.
type site struct {
	bin, dir string
	env      []string
	shelf    *cutdisk.Shelf
	clock    *cutdisk.Clock
	ledger   *ledger
	disks    map[role]*cutdisk.Disk
	doors    map[role]*door
	servers  map[role]*httptest.Server // the doors'
	programs map[role]*child.Program
	// restarting is held while the beacon is not to be bothered.
	restarting sync.Mutex
}

// record lets the programs work for a while and then cuts their power.
func (c *campaign) record(ctx context.Context, shelf *cutdisk.Shelf, fs cutdisk.Type, dir string) (*recording, error) {
	clock := &cutdisk.Clock{}
	s := &site{
		bin: c.bin, dir: dir, shelf: shelf, clock: clock, ledger: newLedger(clock),
		disks: map[role]*cutdisk.Disk{}, doors: map[role]*door{}, servers: map[role]*httptest.Server{}, programs: map[role]*child.Program{},
	}
	if c.sabotage != "" {
		s.env = []string{sabotage.Variable + "=" + c.sabotage}
	}
	defer os.RemoveAll(dir) // runs last: nothing is mounted there any longer
	err := s.open(fs)
	rec := &recording{fs: fs, began: clock.Tick(), disks: map[role]log{}}
	if err == nil {
		err = s.work(ctx, c.seed)
	}
	// The power goes here: nothing that is promised or written from now on counts.
	rec.ended = clock.Tick()
	for r, d := range s.disks {
		rec.bytes += d.Logged()
		var l log
		l.base, l.ops = d.Stop()
		rec.disks[r] = l
	}
	rec.claims = s.ledger.until(rec.ended)
	rec.revisions, rec.parts = s.ledger.revisions, s.ledger.parts // whoever adds to them has ended
	return rec, errors.Join(err, s.close())
}

// open mounts the disks and starts the programs.
func (s *site) open(fs cutdisk.Type) error {
	empty, err := fs.Format(filepath.Dir(s.dir))
	if err != nil {
		return err
	}
	for _, r := range allRoles {
		d := cutdisk.NewDisk(empty.Clone())
		d.Record(s.clock)
		if err := fs.Mount(s.shelf.Put(string(r), d), s.mount(r)); err != nil {
			return err
		}
		s.disks[r] = d
	}
	for _, r := range []role{parent, beacon} {
		s.doors[r] = newDoor(r, s.ledger, &http.Transport{MaxIdleConnsPerHost: 16})
		s.servers[r] = httptest.NewServer(s.doors[r])
		if err := s.serve(r); err != nil {
			return err
		}
	}
	return s.runAgent()
}

func (s *site) mount(r role) string { return filepath.Join(s.dir, string(r)) }

// data is where a program has its files, on its disk.
func (s *site) data(r role) string { return filepath.Join(s.mount(r), dataDir) }

const dataDir = "data"

// serve starts a beacon behind its door.
func (s *site) serve(r role) error {
	p, at, err := serve(s.bin, s.env, r, s.dir, s.data(r), s.upload(parent))
	if err != nil {
		return fmt.Errorf("start the %s: %w", r, err)
	}
	s.programs[r] = p
	s.doors[r].inner.Store(at)
	return nil
}

const relayedDir = "relayed"

// upload is the address of uploads to a beacon.
func (s *site) upload(r role) string { return s.servers[r].URL + "/ManageSoftRL" }

func (s *site) runAgent() error {
	p, err := child.Start(s.env, filepath.Join(s.bin, "beacon-agent"),
		"run", "--beacon", s.servers[beacon].URL, "--data", s.data(agent), "--name", "device")
	if err != nil {
		return fmt.Errorf("start the agent: %w", err)
	}
	s.programs[agent] = p
	return nil
}

// enough is how much each program must have promised before its power is cut.
// The beacons' segments are used several times over by then; the agent, which
// takes one file after the other, would make a run longer.
var enough = map[role]int{beacon: 500, parent: 500, agent: 60}

// workAtMost ends a run on a machine that is too slow for that; a tenth of it
// must have been promised then.
const workAtMost = 40 * time.Second

// work lets senders send until enough is promised. Halfway the beacon is killed
// and started again, so that what a start does is cut too.
func (s *site) work(ctx context.Context, seed uint64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := s.load(ctx, seed)
	defer stop()
	deadline := time.Now().Add(workAtMost)
	restarted := false
	for s.progress() < 1 && time.Now().Before(deadline) {
		for _, p := range s.programs {
			if err := p.Ended(); err != nil {
				return err
			}
		}
		if !restarted && s.progress() >= 0.5 {
			restarted = true
			if err := s.restart(beacon); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	if s.progress() < 0.1 {
		return fmt.Errorf("too little was promised: beacon %d, parent %d, agent %d", s.ledger.count(beacon), s.ledger.count(parent), s.ledger.count(agent))
	}
	return nil
}

func (s *site) restart(r role) error {
	s.restarting.Lock()
	defer s.restarting.Unlock()
	s.programs[r].Kill()
	return s.serve(r)
}

// progress is how much of what is enough has been promised by whoever promised
// least.
func (s *site) progress() float64 {
	least := 1.0
	for r, n := range enough {
		least = min(least, float64(s.ledger.count(r))/float64(n))
	}
	return least
}

// close ends everything; what it still writes is not recorded.
func (s *site) close() error {
	for _, p := range s.programs {
		p.Kill()
	}
	for _, server := range s.servers {
		server.CloseClientConnections()
		server.Close()
	}
	var errs []error
	for r := range s.disks {
		errs = append(errs, cutdisk.Unmount(s.mount(r)))
		s.shelf.Take(string(r))
	}
	return errors.Join(errs...)
}
