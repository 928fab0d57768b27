package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/backoff"
	"inventorybeacon/uploads/spool"
)

const (
	// Gather is how long a loss waits for others before a report is made. Longer
	// makes fewer files of a long trouble; shorter lets the centre know sooner.
	Gather = time.Minute
	// perReport bounds the losses in one report, at about half a KiB each. More
	// makes fewer files after an outage; fewer keep each of them easy to handle.
	perReport = 1000
	// lookEvery is how often the spool is looked at when it tells of nothing.
	lookEvery = time.Hour
)

// Spool is what a teller needs of [spool.Spool].
type Spool interface {
	Losses(after uint64, limit int) ([]spool.Event, error)
	Accept(ctx context.Context, d spool.Draft, body io.Reader) (uploads.Receipt, error)
	HeldExact(kind string, name uploads.Name, d uploads.Digest) (uploads.Upload, bool)
	Supersede(seq uint64, by string) error
}

// Options say whose losses are told. Spool, File and Identity are required.
type Options struct {
	Spool Spool
	// File remembers what was told.
	File string
	// Identity is who lost the files: a beacon's name, or "agent:" and an id.
	Identity string
	// Sender stands in the reports' names; Identity if it is empty. Device and
	// AgentID are an agent's, whose files they are.
	Sender  string
	Device  uploads.Device
	AgentID string
	// Log defaults to discarding.
	Log *slog.Logger
}

// A Teller makes reports of the losses of one spool. Its methods may be called by
// several goroutines.
type Teller struct {
	o    Options
	wake chan struct{}

	telling sync.Mutex // one report at a time; guards state
	state   state

	mu     sync.Mutex   // never held while the spool is called, which calls Observe
	lost   *spool.Event // the first loss that was observed since it was looked at
	status Status
}

// Status is how a teller is doing.
type Status struct {
	Told    uint64 // losses that are in a report, since New
	Reports uint64 // since New
	// Untold losses are known and in no report yet; at most a report's worth is
	// counted.
	Untold int
}

// New reads what was told before.
func New(o Options) (*Teller, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Sender == "" {
		o.Sender = o.Identity
	}
	s, err := load(o.File)
	if err != nil {
		return nil, fmt.Errorf("open loss ledger: %w", err)
	}
	t := &Teller{o: o, wake: make(chan struct{}, 1), state: s}
	if err := t.recognize(); err != nil {
		return nil, err
	}
	return t, nil
}

// recognize begins anew if the spool is not the one that was told of: then its
// numbers begin again.
func (t *Teller) recognize() error {
	first, err := t.o.Spool.Losses(0, 1)
	if err != nil {
		return fmt.Errorf("open loss ledger: %w", err)
	}
	if len(first) > 0 {
		t.compare(first[0])
	}
	return nil
}

// observed compares what was observed since.
func (t *Teller) observed() {
	t.mu.Lock()
	e := t.lost
	t.lost = nil
	t.mu.Unlock()
	if e != nil {
		t.compare(*e)
	}
}

// compare forgets what was told if a loss that should be among it is newer than
// all of it.
func (t *Teller) compare(e spool.Event) {
	if e.Seq > t.state.Told || !e.At.After(t.state.At) {
		return
	}
	t.o.Log.Warn("the spool is not the one whose losses were told: beginning anew", slog.Uint64("told", t.state.Told))
	t.state = state{}
}

// Observe takes the spool's events. It does not block.
func (t *Teller) Observe(e spool.Event) {
	switch {
	case e.What == spool.Lost:
		t.mu.Lock()
		if t.lost == nil {
			t.lost = &e
		}
		t.mu.Unlock()
	case !e.Left || e.Upload.Kind != Kind:
		return
	}
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// Status returns the numbers of this instant.
func (t *Teller) Status() Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.status
}

func (t *Teller) count(f func(*Status)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(&t.status)
}

// retry spaces attempts while the spool takes no report.
var retry = backoff.Backoff{Min: 5 * time.Second, Max: 10 * time.Minute}

// Run makes reports until ctx is done, and returns ctx's error.
func (t *Teller) Run(ctx context.Context) error {
	for failures := 0; ; {
		wait, err := t.tell(ctx, time.Now())
		if err != nil {
			failures++
			wait = retry.Delay(failures)
			t.o.Log.Warn("losses not told yet", slog.Any("err", err))
		} else {
			failures = 0
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-t.woken(failures):
		case <-timer.C:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// woken is what ends a wait, unless something failed.
func (t *Teller) woken(failures int) <-chan struct{} {
	if failures > 0 {
		return nil
	}
	return t.wake
}

// Tell makes a report at once, if there is something to tell.
func (t *Teller) Tell(ctx context.Context) error {
	_, err := t.tell(ctx, time.Now().Add(Gather))
	return err
}

// tell makes one report if it is time to, and returns when to look again.
func (t *Teller) tell(ctx context.Context, now time.Time) (time.Duration, error) {
	t.telling.Lock()
	defer t.telling.Unlock()
	t.observed()
	if r := t.state.Report; r != nil && !r.Accepted {
		return 0, t.finish(ctx)
	}
	events, upTo, err := t.untold()
	if err != nil {
		return 0, err
	}
	t.count(func(s *Status) { s.Untold = len(events) })
	switch {
	case len(events) == 0:
		if upTo == t.state.Told {
			return lookEvery, nil
		}
		return lookEvery, t.pass(upTo)
	case t.underway():
		return lookEvery, nil // its end wakes us
	case len(events) < perReport && now.Sub(events[0].At) < Gather:
		return min(Gather, events[0].At.Add(Gather).Sub(now)), nil
	}
	if err := t.begin(events, upTo); err != nil {
		return 0, err
	}
	return 0, t.finish(ctx)
}

// untold returns losses that are to be told, and the number up to which they are all.
func (t *Teller) untold() (events []spool.Event, upTo uint64, err error) {
	upTo = t.state.Told
	for len(events) < perReport {
		some, err := t.o.Spool.Losses(upTo, perReport-len(events))
		if err != nil {
			return nil, upTo, fmt.Errorf("read losses: %w", err)
		}
		if len(some) == 0 {
			break
		}
		events, upTo = append(events, t.others(some)...), some[len(some)-1].Seq
	}
	return events, upTo, nil
}

// others leaves out the spool's own reports.
func (t *Teller) others(events []spool.Event) (out []spool.Event) {
	for _, e := range events {
		if !t.own(e.Upload) {
			out = append(out, e)
		}
	}
	return out
}

func (t *Teller) own(u uploads.Upload) bool {
	return IsReport(u.Kind, u.Name) && len(u.Via) == 0 && u.Peer == "" && u.AgentID == t.o.AgentID
}

// underway reports whether the last report waits for its relay.
func (t *Teller) underway() bool {
	r := t.state.Report
	if r == nil {
		return false
	}
	_, held := t.o.Spool.HeldExact(Kind, r.Name, r.SHA)
	return held
}

// Withdraw takes a report back that waits, and counts its losses as not told: for a
// spool whose destinations do not take reports, where it would wait for ever. They
// are told by a later one as soon as there is a destination.
func (t *Teller) Withdraw() error {
	t.telling.Lock()
	defer t.telling.Unlock()
	r := t.state.Report
	if r == nil {
		return nil
	}
	u, held := t.o.Spool.HeldExact(Kind, r.Name, r.SHA)
	if !held {
		return nil
	}
	// First: told twice is better than not at all. The name stays known, so that no
	// later report has it.
	s := t.state
	s.Told, s.Report = r.After, &report{Name: r.Name, After: r.After, UpTo: r.After, Accepted: true, SHA: r.SHA}
	if err := t.set(s); err != nil {
		return err
	}
	if err := t.o.Spool.Supersede(u.Seq, "a later report"); err != nil && !errors.Is(err, uploads.ErrUnknown) {
		return fmt.Errorf("take the loss report %s back: %w", r.Name, err)
	}
	return nil
}

// pass notes that there was nothing to tell up to a number.
func (t *Teller) pass(upTo uint64) error {
	s := t.state
	s.Told = upTo
	return t.set(s)
}

func (t *Teller) set(s state) error {
	if err := s.save(t.o.File); err != nil {
		return fmt.Errorf("remember what was told: %w", err)
	}
	t.state = s
	return nil
}

// begin decides what the next report tells of.
func (t *Teller) begin(events []spool.Event, upTo uint64) error {
	last := events[len(events)-1].At
	name, err := t.name(last)
	if err != nil {
		return err
	}
	s := t.state
	s.Report = &report{Name: name, After: s.Told, UpTo: upTo}
	return t.set(s)
}

// name is that of the next report: of the time of its last loss, unless the one
// before has that or a later one.
func (t *Teller) name(at time.Time) (uploads.Name, error) {
	at = at.UTC().Truncate(time.Second)
	if r := t.state.Report; r != nil && !at.After(r.Name.Parts().At) {
		at = r.Name.Parts().At.Add(time.Second)
	}
	name, err := uploads.FileName(t.o.Sender, at, tag, extension)
	if err != nil { // it is too long
		name, err = uploads.FileName("sender-"+uploads.DigestOf([]byte(t.o.Sender)).String()[:16], at, tag, extension)
	}
	if err != nil {
		return name, fmt.Errorf("name the loss report: %w", err)
	}
	return name, nil
}

// finish makes the report that was decided on, or makes it again.
func (t *Teller) finish(ctx context.Context) error {
	r := *t.state.Report
	events, err := t.between(r.After, r.UpTo)
	if err != nil {
		return err
	}
	if r.SHA, err = t.accept(ctx, r.Name, events); err != nil {
		return err
	}
	r.Accepted = true
	s := t.state
	s.Told, s.Report = r.UpTo, &r
	if n := len(events); n > 0 {
		s.At = events[n-1].At
	}
	if err := t.set(s); err != nil {
		return err
	}
	t.count(func(s *Status) { *s = Status{Told: s.Told + uint64(len(events)), Reports: s.Reports + 1} })
	t.o.Log.Info("losses told", slog.Int("losses", len(events)), slog.String("report", r.Name.String()))
	return nil
}

// accept puts a report into the spool and returns its digest.
func (t *Teller) accept(ctx context.Context, name uploads.Name, events []spool.Event) (sha uploads.Digest, err error) {
	body, err := encode(t.o.Identity, events)
	if err != nil || len(body) == 0 { // what it was to tell of is forgotten by now
		return sha, err
	}
	receipt, err := t.o.Spool.Accept(ctx, spool.Draft{
		Kind: Kind, Name: name, Device: t.o.Device, AgentID: t.o.AgentID, Length: int64(len(body)), Modified: name.Parts().At,
	}, bytes.NewReader(body))
	if err != nil {
		return sha, fmt.Errorf("accept the loss report %s: %w", name, err)
	}
	return receipt.SHA256, nil
}

// between returns what is to be told with numbers in (after, upTo].
func (t *Teller) between(after, upTo uint64) (out []spool.Event, err error) {
	for after < upTo {
		some, err := t.o.Spool.Losses(after, perReport)
		if err != nil {
			return nil, fmt.Errorf("read losses: %w", err)
		}
		if len(some) == 0 {
			break
		}
		for _, e := range t.others(some) {
			if e.Seq <= upTo {
				out = append(out, e)
			}
		}
		after = some[len(some)-1].Seq
	}
	return out, nil
}
