//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"time"

	"inventorybeacon/uploads/backoff"
	"inventorybeacon/uploads/spool/sabotage"
)

// A site is all that runs: devices, leaf, hub and store, and the lines between.
type site struct {
	c         *campaign
	rng       *rand.Rand
	ledger    *ledger
	store     *store
	leaf, hub *node
	kills     int
}

func (c *campaign) newSite(ctx context.Context, dir string) (s *site, err error) {
	s = &site{c: c, rng: rand.New(rand.NewPCG(c.seed, 1)), ledger: newLedger()}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.store, err = openStore(ctx, c.s3server, filepath.Join(dir, "store"), s.ledger); err != nil {
		return s, fmt.Errorf("the S3 server: %w", err)
	}
	var env []string
	if c.sabotage != "" {
		env = []string{sabotage.Variable + "=" + c.sabotage}
	}
	binary := filepath.Join(c.bin, "beacon")
	up := fmt.Sprintf("s3: {endpoint: %q, region: us-east-1, bucket: %s, access_key: %s, secret_key: %s}", s.store.url, bucket, accessKey, secretKey)
	if s.hub, err = newNode("hub", binary, dir, up, env); err != nil {
		return s, err
	}
	if err = s.hub.up(); err != nil {
		return s, err
	}
	up = fmt.Sprintf("beacon: {url: %q}", s.hub.root())
	if s.leaf, err = newNode("leaf", binary, dir, up, env); err != nil {
		return s, err
	}
	return s, s.leaf.up()
}

func (s *site) close() {
	for _, n := range []*node{s.leaf, s.hub} {
		if n != nil {
			n.close()
		}
	}
	if s.store != nil {
		s.store.close()
	}
}

const (
	devices = 10
	// wards are how many send at once in the name of the ward.
	wards = 3
)

// load has the devices send until the returned function is called, which returns
// what no beacon may have done.
func (s *site) load(ctx context.Context) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	var senders []*device
	for i := range devices {
		senders = append(senders, newDevice(fmt.Sprintf("pc%d", i), i, s.c.seed, s.leaf.root(), s.ledger))
	}
	for i := range wards {
		d := newDevice(ward, devices+i, s.c.seed, s.leaf.root(), s.ledger)
		d.n, d.pause = i*1000000, 50*time.Millisecond
		senders = append(senders, d)
	}
	for i, d := range senders {
		if i < devices {
			all.Go(func() { d.run(ctx) })
		} else {
			all.Go(func() { d.runInBursts(ctx) })
		}
	}
	return func() error {
		cancel()
		all.Wait()
		var errs []error
		for _, d := range senders {
			errs = append(errs, d.wrong)
		}
		return errors.Join(errs...)
	}
}

// burst is how long the ward sends, and after that is silent: there are segments
// full of its files, and others without any.
const burst = 1500 * time.Millisecond

func (d *device) runInBursts(ctx context.Context) {
	for ctx.Err() == nil && d.wrong == nil {
		short, cancel := context.WithTimeout(ctx, burst)
		d.run(short)
		cancel()
		backoff.Sleep(ctx, 2*burst)
	}
}

const (
	// stretch is how long everything runs until the next kill, at most.
	stretch = 1500 * time.Millisecond
	// cycle is a number of rounds. In the first half of it the ward's objects are
	// held back, and for the last of it the weather is fine.
	cycle = 10
)

// rounds kills beacons.
func (s *site) rounds(ctx context.Context) error {
	for n := range s.c.rounds {
		s.weather(n)
		if !backoff.Sleep(ctx, time.Duration(s.rng.Int64N(int64(stretch)))) {
			return ctx.Err()
		}
		if err := s.killSome(ctx); err != nil {
			return fmt.Errorf("round %d: %w", n+1, err)
		}
		s.kills++
		if every := max(5, s.c.rounds/50); (n+1)%every == 0 {
			s.progress(n + 1)
		}
		if _, _, _, doubles := s.ledger.counts(); doubles > 0 && s.c.first {
			return nil
		}
	}
	return nil
}

func (s *site) weather(round int) {
	at := round % cycle
	if at < cycle/2 {
		s.store.hold()
	} else {
		s.store.release()
	}
	mood := []int32{fine, fine, moody, moody, away}[s.rng.IntN(5)]
	if at == cycle-1 {
		mood = fine
	}
	s.store.mood.Store(mood)
	s.leaf.line.bad.Store(s.rng.IntN(2) == 0)
	s.hub.line.bad.Store(s.rng.IntN(2) == 0)
}

// killSome kills one beacon, or both, and starts what it killed, not always at
// the first attempt.
func (s *site) killSome(ctx context.Context) error {
	victims := [][]*node{{s.leaf}, {s.leaf}, {s.hub}, {s.hub}, {s.leaf, s.hub}}[s.rng.IntN(5)]
	for _, n := range victims {
		if err := n.kill(); err != nil {
			return err
		}
	}
	for _, n := range victims {
		if s.rng.IntN(6) == 0 {
			if err := n.stumble(ctx, time.Duration(s.rng.Int64N(int64(400*time.Millisecond)))); err != nil {
				return err
			}
		}
		if err := n.up(); err != nil {
			return err
		}
	}
	return nil
}

func (s *site) progress(round int) {
	claims, repeats, settled, doubles := s.ledger.counts()
	fmt.Printf("round %d: %d acknowledged, %d repeats, %d known to be stored, %d doubled; %d connections cut, %d faults of the store\n",
		round, claims, repeats, settled, doubles, s.leaf.line.cuts.Load()+s.hub.line.cuts.Load(), s.store.faults.Load())
}

// calm ends all faults.
func (s *site) calm() {
	s.store.release()
	s.store.mood.Store(fine)
	s.leaf.line.bad.Store(false)
	s.hub.line.bad.Store(false)
}

const (
	// drainWithin is more than any backlog here takes.
	drainWithin = 10 * time.Minute
	drainPace   = 500 * time.Millisecond
)

// drain waits until every file has gone up.
func (s *site) drain(ctx context.Context) error {
	for _, n := range []*node{s.leaf, s.hub} {
		for deadline := time.Now().Add(drainWithin); ; {
			done, err := n.drained(ctx)
			if err != nil {
				return fmt.Errorf("wait until nothing waits: %w", err)
			}
			if done {
				break
			}
			if time.Now().After(deadline) {
				st, err := n.status(ctx)
				return fmt.Errorf("%s still holds files after %v: %+v, %w\n%s", n.name, drainWithin, st, err, &n.program.Said)
			}
			if !backoff.Sleep(ctx, drainPace) {
				return ctx.Err()
			}
		}
	}
	return nil
}
