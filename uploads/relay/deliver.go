package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/spool"
	"inventorybeacon/uploads/spool/sabotage"
)

// A result is what came of one batch.
type result struct {
	round uint64
	files []outcome
}

// An outcome is what came of one file.
type outcome struct {
	item    *item
	upload  uploads.Upload
	custody []uploads.Custody
	err     error
	unread  error // the queue could not read it: no fault of the destination
	gone    bool  // it left the queue by another way
	kept    bool  // it is in quarantine, and lost to the queue
}

// deliver offers a batch to the sink, in the goroutine of a worker. Files
// refused for good leave for the quarantine here.
func (r *Relay) deliver(ctx context.Context, items []*item, round uint64) result {
	res := result{round: round}
	var offered []int
	var parcels []uploads.Parcel
	unread := make([]error, len(items))
	for i, it := range items {
		f := r.find(it)
		res.files = append(res.files, f)
		if !f.gone && f.unread == nil {
			offered = append(offered, i)
			parcels = append(parcels, uploads.Parcel{Upload: f.upload, Open: func() (body uploads.Body, err error) {
				body, unread[i], err = r.open(ctx, it.seq)
				return body, err
			}})
		}
	}
	if len(parcels) == 0 {
		return res
	}
	deliveries := r.o.Sink.Deliver(ctx, parcels)
	for n, i := range offered {
		f := &res.files[i]
		f.err, f.custody = deliveries[n].Err, deliveries[n].Custody
		if f.err != nil {
			f.unread = unread[i]
		}
		f.gone = errors.Is(f.err, uploads.ErrUnknown)
		if f.unread == nil && r.refuses(f.err, f.item) && r.o.Quarantine != nil {
			r.quarantine(f)
		}
	}
	return res
}

// open opens a file for the sink. unread is set if the queue holds it and cannot
// read it.
func (r *Relay) open(ctx context.Context, seq uint64) (body uploads.Body, unread, err error) {
	body, err = r.o.Queue.Body(seq)
	if err != nil {
		if !errors.Is(err, uploads.ErrUnknown) {
			unread = err
		}
		return nil, unread, err
	}
	if sabotage.MarkBeforeAnswer {
		err = r.o.Queue.Deliver(r.o.Name, []spool.Mark{{Seq: seq}})
	}
	if err != nil || r.throttle == nil {
		return body, nil, err
	}
	return &throttled{body, ctx, r.throttle}, nil, nil
}

var errUnread = errors.New("what is known of it cannot be read")

// find begins the outcome of a file with what the queue knows of it, if it has not
// left.
func (r *Relay) find(it *item) outcome {
	ups := r.o.Queue.Pending(r.o.Name, it.seq-1, 1)
	if len(ups) > 0 && ups[0].Seq == it.seq {
		return outcome{item: it, upload: ups[0]}
	}
	keys := r.o.Queue.Keys(r.o.Name, it.seq-1, 1, nil)
	if len(keys) == 0 || keys[0].Seq != it.seq {
		return outcome{item: it, gone: true}
	}
	return outcome{item: it, upload: uploads.Upload{Seq: it.seq, Kind: keys[0].Kind}, err: errUnread, unread: errUnread}
}

// digestTries is how often bytes that are not the announced ones are sent: the
// fault may be on the way.
const digestTries = 2

// refuses reports whether err is a verdict on the file. A worker calls it, and
// nobody else touches the trouble of a flying file but for its suspicion.
func (r *Relay) refuses(err error, it *item) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if errors.Is(err, uploads.ErrDigest) {
		return it.troubled().digest+1 >= digestTries
	}
	return errors.Is(err, uploads.ErrRefused)
}

// quarantine moves a refused file out of the queue. If it cannot, the file
// counts as failed and is offered again.
func (r *Relay) quarantine(f *outcome) {
	reason := f.err
	body, err := r.o.Queue.Body(f.upload.Seq)
	if errors.Is(err, uploads.ErrUnknown) {
		f.gone = true
		return
	}
	if f.unread = err; err == nil {
		err = errors.Join(r.o.Quarantine.Keep(f.upload, body, r.o.Name, reason.Error()), body.Close())
	}
	if err == nil {
		err = r.o.Queue.Refuse(r.o.Name, f.upload.Seq, r.o.Name+": "+reason.Error())
	}
	switch {
	case err == nil:
		f.kept = true
	case errors.Is(err, uploads.ErrUnknown):
		f.gone = true
	default:
		f.err = fmt.Errorf("quarantine what was refused (%v): %w", reason, err)
	}
}

// note takes a batch's outcome into the plan. Failures come first, so that a
// file counts as failing by itself if others of its own batch passed.
func (r *Relay) note(res result, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.plan.landed()
	var settled []*outcome
	for i := range res.files {
		if f := &res.files[i]; isFailure(f) {
			r.noteFailure(f, res.round, now)
		} else {
			settled = append(settled, f)
		}
	}
	passed := false
	for _, f := range settled {
		passed = r.notePass(f, now) || passed
	}
	if passed {
		if r.plan.failures > 1 {
			r.o.Log.Info("destination is back", slog.Int("failures", r.plan.failures))
		}
		r.plan.passed(now)
		r.status.LastError = ""
	}
}

// isFailure reports whether the file is to be tried again.
func isFailure(f *outcome) bool {
	switch {
	case f.gone, f.kept:
		return false
	case f.unread != nil:
		return true
	case f.err == nil:
		return false
	case isHeld(f.err):
		return false
	case errors.Is(f.err, uploads.ErrDigest):
		return f.item.troubled().digest+1 < digestTries
	case errors.Is(f.err, uploads.ErrLoop):
		return !relayed(f)
	}
	return !errors.Is(f.err, uploads.ErrRefused)
}

// relayed reports whether the file came from another beacon, or from somebody
// who says so. Where such a file loops, only the file is suspect: what is written
// in it must not end the relay for all others.
func relayed(f *outcome) bool { return len(f.upload.Via) > 0 }

// notePass takes a file out of its line, and reports whether the destination
// showed that it works.
func (r *Relay) notePass(f *outcome, now time.Time) bool {
	if !f.gone {
		f.item.at().doubt = trusted
	}
	switch {
	case f.gone:
		r.plan.remove(f.item, now)
		r.plan.forget(f.item.seq)
		return false
	case f.err == nil:
		r.plan.remove(f.item, now)
		r.unmarked = append(r.unmarked, spool.Mark{Seq: f.upload.Seq, Custody: f.custody})
	case isHeld(f.err):
		r.plan.await(f.item, now)
	case f.kept:
		r.plan.remove(f.item, now)
		r.plan.forget(f.item.seq)
		r.status.Quarantined++
		r.o.Log.Error("upload quarantined", about(f)...)
	case errors.Is(f.err, uploads.ErrLoop):
		r.plan.setAside(f.item, f.err.Error(), now)
		r.o.Log.Error("upload set aside: it has passed the destination, or too many beacons, before", about(f)...)
	default:
		r.plan.setAside(f.item, f.err.Error(), now)
		r.o.Log.Warn("upload set aside", about(f)...)
	}
	return true
}

func (r *Relay) noteFailure(f *outcome, round uint64, now time.Time) {
	if f.unread != nil {
		r.plan.failedAlone(f.item, f.unread.Error(), now)
		if !errors.Is(f.unread, uploads.ErrClosed) {
			r.status.Failures++
			r.o.Log.Error("upload cannot be read", about(f)...)
		}
		return
	}
	var after time.Duration
	if retry, ok := errors.AsType[*uploads.RetryError](f.err); ok {
		after = retry.After
	}
	if errors.Is(f.err, uploads.ErrDigest) {
		f.item.troubled().digest++
	}
	r.plan.failed(f.item, round, after, f.err.Error(), now)
	if errors.Is(f.err, context.Canceled) {
		return // we are stopping
	}
	r.status.Failures++
	r.status.LastError, r.status.LastErrorAt = f.err.Error(), now
	if errors.Is(f.err, uploads.ErrLoop) {
		r.stop(f)
		return
	}
	r.o.Log.Warn("delivery failed", append(about(f), slog.Int("failures", r.plan.failures), slog.Time("next_attempt", latest(now, r.plan.pause())))...)
}

// stop ends all attempts for good: where a file loops that an agent gave to
// this very beacon, the configuration is wrong, which no retry mends.
func (r *Relay) stop(f *outcome) {
	if !r.status.Stopped {
		r.o.Log.Error("relay stopped: the destination is part of a loop, or two beacons on the way have the same name; correct their configuration and restart", about(f)...)
	}
	r.status.Stopped = true
}

func about(f *outcome) []any {
	return []any{
		slog.Uint64("seq", f.upload.Seq), slog.String("kind", f.upload.Kind), slog.String("file", f.upload.Name.String()),
		slog.String("device", f.upload.Device.String()), slog.Any("err", f.err),
	}
}
