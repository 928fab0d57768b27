package beacon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"inventorybeacon/beacon/config"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/durablefile"
	"inventorybeacon/uploads/fleet"
	"inventorybeacon/uploads/spool"
)

// A reporter tells upstream how this beacon is and what it heard: a file every so
// often through its own relay. Each holds what changed since the last one that was
// delivered, and replaces the one before if that still waits.
type reporter struct {
	b     *Beacon
	every time.Duration
	file  string
	state reporting

	made, replaced, failed atomic.Uint64
}

// reportingVersion is the format of the file that says how far was told.
const reportingVersion = 1

// A reporting is how far fleet status was delivered, and what is on its way.
type reporting struct {
	Version   int       `json:"version"`
	Delivered fleet.Cut `json:"delivered"`
	Sent      *sent     `json:"sent,omitempty"`
	// Old is what Sent replaces.
	Old *sent `json:"old,omitempty"`
}

// A sent report reaches as far as Cut.
type sent struct {
	Name uploads.Name   `json:"name"`
	SHA  uploads.Digest `json:"sha256"`
	Cut  fleet.Cut      `json:"cut"`
}

var errFleetNewer = errors.New("it is newer than this program")

func newReporter(b *Beacon) (*reporter, error) {
	r := &reporter{b: b, every: b.config.Reports(), file: b.path(config.FleetFile)}
	text, err := os.ReadFile(r.file)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &r.state)
	}
	if err == nil && r.state.Version > reportingVersion {
		err = fmt.Errorf("%w: it has format %d, known is %d", errFleetNewer, r.state.Version, reportingVersion)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w: if it is moved away, everything is reported again", r.file, err)
	}
	return r, nil
}

func (r *reporter) save() error {
	r.state.Version = reportingVersion
	text, err := json.MarshalIndent(r.state, "", "  ")
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(filepath.Dir(r.file))
	if err != nil {
		return err
	}
	defer root.Close()
	return durablefile.Replace(root, filepath.Base(r.file), append(text, '\n'), 0o600)
}

// Run reports until ctx is done. The first report comes in the second half of the
// first period, so that beacons that were started together do not report together.
func (r *reporter) Run(ctx context.Context) error {
	if r.every == 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	timer := time.NewTimer(r.every/2 + rand.N(r.every/2))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		}
		timer.Reset(r.every)
		if err := r.report(ctx, time.Now()); err != nil && ctx.Err() == nil {
			r.failed.Add(1)
			r.b.log.Warn("fleet status not reported: the next report will hold it", slog.Any("err", err))
		}
	}
}

// report makes one report and puts it on its way.
func (r *reporter) report(ctx context.Context, now time.Time) error {
	r.settle()
	if err := r.b.catalogue.Sync(ctx); err != nil {
		return fmt.Errorf("wait for the catalogue: %w", err)
	}
	index, change, err := r.b.catalogue.Changes(ctx)
	if err != nil {
		return err
	}
	span, cut := r.state.Delivered.Next(index, change, now)
	body, gzipped, err := r.write(ctx, span, now)
	if err != nil {
		return err
	}
	at := now.UTC().Truncate(time.Second)
	if s := r.state.Sent; s != nil && !at.After(s.Name.Parts().At) {
		at = s.Name.Parts().At.Add(time.Second)
	}
	name, err := fleet.Name(r.b.name, at, span.Full, gzipped)
	if err != nil {
		return fmt.Errorf("name the report: %w", err)
	}
	return r.send(ctx, &sent{Name: name, SHA: uploads.DigestOf(body), Cut: cut}, body)
}

// settle looks what became of the last report.
func (r *reporter) settle() {
	r.drop(r.state.Old, r.state.Sent)
	r.state.Old = nil
	s := r.state.Sent
	if s == nil || r.held(s) != 0 {
		return
	}
	if _, known := r.b.spool.FindExact(fleet.Kind, s.Name, s.SHA); known { // and neither lost nor replaced
		r.state.Delivered = s.Cut
	}
}

// held returns the number of a report that waits, or 0.
func (r *reporter) held(s *sent) uint64 {
	u, held := r.b.spool.HeldExact(fleet.Kind, s.Name, s.SHA)
	if !held {
		return 0
	}
	return u.Seq
}

// send accepts a report and takes back the one before if it still waits. What is
// on its way is written down first: whenever this ends, nobody takes a report that
// was replaced for one that was delivered.
func (r *reporter) send(ctx context.Context, s *sent, body []byte) error {
	before := r.state
	r.state.Old, r.state.Sent = before.Sent, s
	if err := r.save(); err != nil {
		r.state = before
		return fmt.Errorf("remember the report: %w", err)
	}
	d := spool.Draft{Kind: fleet.Kind, Name: s.Name, Length: int64(len(body)), Want: &s.SHA}
	if _, err := r.b.spool.Accept(ctx, d, bytes.NewReader(body)); err != nil {
		r.state = before
		return errors.Join(err, r.save())
	}
	r.made.Add(1)
	r.drop(r.state.Old, s)
	return nil
}

// drop takes a report back that another one replaces, if it still waits.
func (r *reporter) drop(old, by *sent) {
	if old == nil || by == nil || r.held(by) == 0 {
		return
	}
	seq := r.held(old)
	if seq == 0 {
		return
	}
	switch err := r.b.spool.Supersede(seq, by.Name.String()); {
	case err == nil:
		r.replaced.Add(1)
	case !errors.Is(err, uploads.ErrUnknown):
		r.b.log.Warn("report that was replaced still waits", slog.String("name", old.Name.String()), slog.Any("err", err))
	}
}

func (r *reporter) write(ctx context.Context, span fleet.Span, now time.Time) (body []byte, gzipped bool, err error) {
	w, err := fleet.NewWriter(fleet.Beacon{
		Beacon: r.b.name, At: now.UTC().Truncate(time.Millisecond), EverySeconds: int64(r.every / time.Second), Full: span.Full, State: r.b.fleetState(),
	})
	if err != nil {
		return nil, false, err
	}
	if err := r.b.catalogue.Heard(ctx, span, w.Add); err != nil {
		return nil, false, err
	}
	return w.Finish()
}

// fleetState is how this beacon is.
func (b *Beacon) fleetState() fleet.State {
	st, rev := b.spool.Stats(), b.policies.Current().Revision()
	s := fleet.State{
		Started: b.started.UTC().Truncate(time.Second), Epoch: uint64(rev.Epoch), Revision: uint64(rev.Number),
		Files: st.Pending, Bytes: st.PendingBytes, Oldest: st.Oldest,
	}
	s.Free, _ = b.spool.Free() // 0: unknown
	if err := errors.Join(b.agents.Trouble(), b.Full()); err != nil {
		s.Trouble = err.Error()
	}
	for _, r := range b.Relays() {
		s.Sinks = append(s.Sinks, fleet.Sink{
			Name: r.Sink, Waiting: st.Sinks[r.Sink].Pending, SetAside: r.SetAside, Failures: r.FailuresInARow, Stopped: r.Stopped, Error: r.LastError,
		})
	}
	seen := map[string]bool{}
	for _, p := range b.certificates {
		if !seen[p.certificate] {
			s.Certificates = append(s.Certificates, fleet.Certificate{File: filepath.Base(p.certificate), Expires: p.expires().UTC()})
		}
		seen[p.certificate] = true
	}
	return s
}
