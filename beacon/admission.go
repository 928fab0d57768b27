package beacon

import (
	"errors"
	"fmt"
	"hash/maphash"
	"net/http"
	"strings"
	"time"

	"inventorybeacon/beacon/admission"
	"inventorybeacon/beacon/comeback"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/contact"
	"inventorybeacon/uploads/parent/hop"
	"inventorybeacon/uploads/spool"
)

// Limits are what [Agents] takes on beside InFlight. The zero value bounds
// nothing.
type Limits struct {
	// Rates bounds how often senders ask; nil does not.
	Rates *admission.Rates
	// Held returns what the spool holds of a source; nil means that nobody has a
	// quota. Device is one device's, Child that of a beacon that relays, and of the
	// devices without a name behind one address.
	Held          func(source string) (files int, bytes int64)
	Device, Child admission.Share
	// BytesInFlight bounds what the bodies being taken add up to.
	BytesInFlight int64
	// Uploads is the most uploads that ever come back in a second.
	Uploads float64
}

const (
	// largeShare of the uploads taken at once may be large; the rest is for those
	// that fit in memory, which is most of them.
	largeShare = 4
	// crawlers bounds the senders that are so slow that their small bodies collect
	// without a place. Each costs its connection and some KiB of the memory budget.
	crawlers = 4096
	// unlimited is what the come-back schedule takes for no bound.
	unlimited = 1e6
)

// How long a refused sender stays away at least. Longer spares both sides
// requests that are refused again; shorter brings files in sooner.
const (
	fullRetry     = time.Minute     // a disk does not empty itself at once
	stoppingRetry = 2 * time.Second // until there is a beacon again
)

// A gate is what admission has to remember.
type gate struct {
	places, large admission.Places
	quota         admission.Quota
	crawling      slots
	// returns says when who was refused comes again, and largeReturns the same for
	// bodies that found no place among the large ones: those take longer.
	returns, largeReturns *comeback.Schedule
}

func (a *Agents) openGate() {
	most := a.Limits.Uploads
	if most <= 0 {
		most = unlimited
	}
	g := &a.gate
	g.places = admission.Places{Limit: a.InFlight, Bytes: a.Limits.BytesInFlight}
	g.large = admission.Places{Limit: max(1, a.InFlight/largeShare)}
	g.quota.Held = a.Limits.Held
	g.crawling.limit = crawlers
	// Until it is measured, a place is taken to serve one upload a second.
	g.returns = comeback.New(float64(a.InFlight), most)
	g.largeReturns = comeback.New(float64(g.large.Limit), most)
}

// admit decides about an upload before its body is read. The caller must call
// the pass's leave when it is done with it.
func (a *Agents) admit(r *http.Request, d spool.Draft) (*pass, error) {
	now := time.Now()
	p := &pass{a: a, caller: callerOf(d), source: source(d), share: a.shareOf(d)}
	if a.drain.started() {
		return nil, a.stopping(p.caller)
	}
	if d.MaxBytes > 0 && d.Length > d.MaxBytes {
		return nil, fmt.Errorf("%w: %d bytes; %s may have %d", uploads.ErrTooLarge, d.Length, d.Kind, d.MaxBytes)
	}
	if err := a.Room(p.caller.Class, d.Length); err != nil {
		return nil, a.full(err, p.caller)
	}
	if wait, early := a.gate.returns.Arrive(now, p.caller, a.pressed()); wait > 0 {
		return nil, &verdict{err: errPromised, reason: admission.Turn, after: wait, early: early}
	}
	if err := p.enter(d.Length); err != nil {
		return nil, err
	}
	a.gate.returns.Admit(now, p.caller)
	turnOf(r).leave()
	return p, nil
}

// full turns an upload away for which there is no room.
func (a *Agents) full(err error, c comeback.Caller) error {
	v := &verdict{err: err, reason: admission.Spool, after: a.gate.returns.Refuse(time.Now(), c, fullRetry)}
	if e, ok := errors.AsType[*DiskError](err); ok {
		v.reason = e.Reason
	}
	if e, ok := errors.AsType[*admission.QuotaError](err); ok {
		v.err, v.reason = fmt.Errorf("%w: %w", uploads.ErrFull, err), e.Reason
	}
	return v
}

func (a *Agents) stopping(c comeback.Caller) error {
	return busy("this beacon is stopping", admission.Stopping, a.gate.returns.Refuse(time.Now(), c, stoppingRetry))
}

// crowded turns an upload away because as many are taken as can be.
func crowded(s *comeback.Schedule, c comeback.Caller, why string, reason admission.Reason) error {
	now := time.Now()
	s.Full(now)
	return busy(why, reason, s.Refuse(now, c, 0))
}

// pressed reports whether slow senders keep others waiting.
func (a *Agents) pressed() bool {
	g := &a.gate
	return g.places.Half() || g.large.Half() || g.crawling.half() || a.Pressed()
}

// source is who an upload would count against if it were held.
func source(d spool.Draft) string {
	return uploads.Upload{Via: d.Via, Device: d.Device, Peer: d.Peer}.Source()
}

func (a *Agents) shareOf(d spool.Draft) admission.Share {
	if len(d.Via) > 0 || d.Device.IsZero() {
		return a.Limits.Child
	}
	return a.Limits.Device
}

// callerOf says who comes back. A device's files of one class come one after the
// other; those of a relaying beacon have to be told apart by device, too.
func callerOf(d spool.Draft) comeback.Caller {
	var h maphash.Hash
	h.SetSeed(seed)
	name := ""
	if d.Device.IsZero() { // many may be behind one address
		name = d.Name.String()
	}
	for _, s := range []string{strings.Join(d.Via, "\n"), d.AgentID, d.Device.Key().String(), d.Peer, name} {
		h.WriteString(s)
		h.WriteByte(0)
	}
	return comeback.Caller{ID: h.Sum64(), Class: admission.ClassOf(d.Kind)}
}

// anybody is the caller of a request that is no upload.
func (a *Agents) anybody(r *http.Request) comeback.Caller {
	d := spool.Draft{Peer: a.peer(r).String(), AgentID: agentOf(r).ID, Kind: "UsageData"}
	return callerOf(d)
}

// rated refuses a request whose sender, or all together, ask too often.
func (a *Agents) rated(r *http.Request) error {
	if a.Limits.Rates == nil {
		return nil
	}
	s := admission.Sender{Peer: a.peer(r), Name: r.URL.Path}
	if len(r.Header[contact.Header]) > 0 {
		s.Agent = agentOf(r).ID
	}
	if via, err := hop.ParseVia(r.Header[hop.ViaHeader]); err == nil && len(via) > 0 {
		s.Child = via[len(via)-1]
	}
	wait, why := a.Limits.Rates.Allow(time.Now(), a.endpoint(r), s)
	switch {
	case wait == 0:
		return nil
	case why == admission.RateBeacon:
		return busy("all senders together ask too often", why, wait)
	}
	return &verdict{err: fmt.Errorf("%w: %s", errTooOften, why), reason: why, after: wait}
}

// endpoint says what a request counts as. Whatever is not plainly one of the
// others is asking.
func (a *Agents) endpoint(r *http.Request) admission.Endpoint {
	if brings(r.Method) {
		return admission.Upload
	}
	if n := len(a.Download); len(r.URL.Path) > n && strings.EqualFold(r.URL.Path[1:1+n], a.Download) {
		return admission.Policy
	}
	return admission.Ask
}

// early decides what is decided about every request, before it is looked at.
func (a *Agents) early(r *http.Request) error {
	if err := a.rated(r); err != nil {
		return err
	}
	if a.endpoint(r) != admission.Ask || len(r.URL.Path) <= len(a.Upload)+2 { // reachability, which is asked by machines
		return nil
	}
	if a.last() {
		return a.full(&DiskError{admission.DiskLast, "what disk is left belongs to policy"}, a.anybody(r))
	}
	return nil
}

func (a *Agents) last() bool { return a.Last != nil && a.Last() }

// taken is how many uploads are being taken.
func (a *Agents) taken() int {
	places, _ := a.gate.places.Taken()
	return places + int(a.gate.crawling.taken.Load())
}
