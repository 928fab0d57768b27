package beacon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/gorilla/mux"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/parent/hop"
	"inventorybeacon/uploads/resumable"
	"inventorybeacon/uploads/resumable/partial"
	"inventorybeacon/uploads/spool"
)

// A part is a request that brings bytes of an upload.
type part struct {
	a       *Agents
	r       *http.Request
	session *resumable.Session
	created bool // by this request
	interim bool // the sender hears of progress
	pass    *pass
	body    *body
	rc      *http.ResponseController
	sums    *contentSums
}

// part admits a request and reads its body. d is the whole upload's; content
// holds the digest of this part alone.
func (a *Agents) part(w http.ResponseWriter, r *http.Request, d spool.Draft, content http.Header) (*part, error) {
	sums, err := newContentSums(content)
	if err != nil {
		return nil, err
	}
	pass, err := a.admit(r, d)
	if err != nil {
		return nil, err
	}
	return &part{
		a: a, r: r, interim: a.interim(r), pass: pass, body: a.newBody(w, r, pass, nil), rc: http.NewResponseController(w), sums: sums,
	}, nil
}

func (p *part) done() { p.pass.leave() }

// longAgo is a deadline that has passed, also for a clock that is wrong.
var longAgo = time.Unix(1, 0)

// interrupt makes a read of the body fail: the sender has sent another request
// for this upload, and has given this one up.
func (p *part) interrupt() { p.rc.SetReadDeadline(longAgo) } // a recorder in a test has none

// patch adds a part to an upload, or completes it.
func (a *Agents) patch(w http.ResponseWriter, r *http.Request) error {
	store, id := a.Resumption.Store, mux.Vars(r)["id"]
	st, err := store.Look(id, time.Now())
	if err != nil {
		return missing(err)
	}
	complete, offset, err := partHeaders(r)
	if err != nil {
		return err
	}
	whole := st.Draft.Draft
	whole.Length = r.ContentLength
	p, err := a.part(w, r, whole, r.Header)
	if err != nil {
		return limited413(err, whole.MaxBytes)
	}
	defer p.done()
	if p.session, err = store.Take(r.Context(), id, time.Now(), p.interrupt); err != nil {
		return missing(err)
	}
	defer p.session.Release()
	if st = p.session.Status(); st.Complete {
		return a.repeated(w, r, p, complete, offset)
	}
	if offset != st.Offset {
		return mismatch(st, offset)
	}
	if err := p.declare(offset, complete); err != nil {
		return err
	}
	return p.receive(w, complete)
}

// partHeaders reads what every PATCH has to say.
func partHeaders(r *http.Request) (complete bool, offset int64, err error) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != partial.MediaType {
		return false, 0, &verdict{
			err:   fmt.Errorf("%w: a part is %s", uploads.ErrBadKind, partial.MediaType),
			extra: func(h http.Header) { h["Accept-Patch"] = acceptPatch },
		}
	}
	if err := framed(r); err != nil {
		return false, 0, err
	}
	complete, ok := partial.ParseBool(r.Header[partial.Complete])
	offset, known := partial.ParseInt(r.Header[partial.Offset])
	if !ok || !known {
		return false, 0, fmt.Errorf("%w: a part says %s and %s", errBadRequest, partial.Offset, partial.Complete)
	}
	return complete, offset, nil
}

// mismatch says where the upload really is.
func mismatch(st resumable.Status, offset int64) error {
	return &verdict{
		err:     fmt.Errorf("%w: this upload is at %d, the part begins at %d", errOffset, st.Offset, offset),
		extra:   func(h http.Header) { stateHeaders(h, st) },
		kind:    partial.MismatchingOffset,
		members: map[string]any{"expected-offset": st.Offset, "provided-offset": offset},
	}
}

// declare holds the request to the length that was stated, and records one that
// is new. A request that would bring too much ends the upload.
func (p *part) declare(offset int64, complete bool) error {
	length, err := stated(p.r, offset, complete)
	if err != nil {
		return err
	}
	if known := p.session.Status().Draft.Length; known >= 0 && p.r.ContentLength > known-offset {
		err := fmt.Errorf("%w: bytes up to %d of %d", resumable.ErrLength, offset+p.r.ContentLength, known)
		return inconsistent(errors.Join(err, p.session.End(resumable.EndInvalid)))
	}
	if length < 0 {
		return nil
	}
	if err := p.session.Declare(length); err != nil {
		return p.failed(err)
	}
	return nil
}

// receive takes the bytes, and completes the upload with the last of them.
func (p *part) receive(w http.ResponseWriter, last bool) error {
	from := p.session.Status().Offset
	err := p.session.Append(resumable.Part{
		Body: p.sums.reader(p.body), Last: last, Check: p.sums.check(), Promised: func(offset int64) { p.progress(w, offset) },
	})
	switch {
	case err != nil && p.session.Superseded():
		return fmt.Errorf("%w: %w", context.Canceled, resumable.ErrOver)
	case err != nil:
		return p.failed(err)
	case last:
		return p.finish(w, from)
	}
	p.pass.served()
	p.a.contacted(p.r)
	st := p.session.Status()
	h := w.Header()
	stateHeaders(h, st)
	answerNow(w)
	if p.created {
		h["Location"] = []string{p.a.location(st)}
		w.WriteHeader(http.StatusCreated)
		return nil
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// announce tells the sender where the upload may be resumed, before its bytes.
func (p *part) announce(w http.ResponseWriter) {
	if !p.interim {
		return
	}
	st := p.session.Status()
	p.say(w, map[string]string{"Location": p.a.location(st), partial.Limit: limits(st, time.Now()).String()})
}

func (p *part) progress(w http.ResponseWriter, offset int64) {
	if p.interim {
		p.say(w, map[string]string{partial.Offset: partial.FormatInt(offset)})
	}
}

// say sends an interim answer with these headers and no others.
func (p *part) say(w http.ResponseWriter, headers map[string]string) {
	h := w.Header()
	h[partial.Interop] = []string{partial.Version}
	for k, v := range headers {
		h[k] = []string{v}
	}
	w.WriteHeader(partial.StatusSupported)
	delete(h, partial.Interop)
	for k := range headers {
		delete(h, k)
	}
}

// failed makes what went wrong with a part an answer that says how far the
// upload has got all the same.
func (p *part) failed(err error) error {
	st := p.session.Status()
	p.a.health.note(p.body.err, err)
	if p.body.err != nil { // the sender's doing, whatever became of it further down
		err = p.body.err
	}
	if p.created && st.Offset == 0 && !p.interim {
		err = errors.Join(err, p.session.End(resumable.EndCancelled)) // nobody knows of it
	}
	err = fmt.Errorf("part of %s/%s: %w", st.Draft.Kind, st.Draft.Name, err)
	if errors.Is(err, resumable.ErrLength) {
		return inconsistent(err)
	}
	return p.dressed(err, st)
}

func (p *part) dressed(err error, st resumable.Status) error {
	if _, ok := errors.AsType[*verdict](err); !ok && errors.Is(err, uploads.ErrFull) {
		err = p.a.full(err, p.pass.caller)
	}
	return dressed(err, func(h http.Header) { stateHeaders(h, st) })
}

// dressed adds headers to whatever answer err is. The verdict in it, if there is
// one, stays what it was.
func dressed(err error, extra func(http.Header)) error {
	v := &verdict{err: err}
	if inner, ok := errors.AsType[*verdict](err); ok {
		c := *inner
		v, c.err = &c, err
	}
	before := v.extra
	v.extra = func(h http.Header) {
		if before != nil {
			before(h)
		}
		extra(h)
	}
	return v
}

// limited413 tells a sender of too much how much may be sent.
func limited413(err error, most int64) error {
	if status, _ := judge(err); status != http.StatusRequestEntityTooLarge {
		return err
	}
	l := partial.Limits{MaxSize: most, MinAppendSize: resumable.MinAppend}
	return dressed(err, func(h http.Header) { h[partial.Limit] = []string{l.String()} })
}

// finish hands a whole upload to the spool. What was decided about it when it
// began is decided again: that may be days ago.
func (p *part) finish(w http.ResponseWriter, from int64) error {
	st := p.session.Status()
	d := st.Draft.Draft
	d.Length = st.Offset
	receipt, err := p.adopt(&d, from)
	p.a.health.note(nil, err)
	if err != nil {
		return p.unfinished(fmt.Errorf("complete %s/%s: %w", d.Kind, d.Name, err), st)
	}
	p.pass.served()
	p.a.accepted(p.r, d, receipt)
	w.Header()[partial.Complete] = []string{partial.FormatBool(true)}
	w.Header()[partial.Offset] = []string{partial.FormatInt(st.Offset)}
	return answerReceipt(w, receipt)
}

func (p *part) adopt(d *spool.Draft, from int64) (uploads.Receipt, error) {
	if err := p.a.stillTaken(d); err != nil {
		return uploads.Receipt{}, err
	}
	if err := p.place(d); err != nil {
		return uploads.Receipt{}, err
	}
	// A sender that goes away now has sent everything: it is stored all the same.
	ctx := context.WithoutCancel(p.r.Context())
	return p.session.Finish(from, func(file string) (uploads.Receipt, error) { return p.a.Resumption.Adopt(ctx, *d, file) })
}

// stillTaken judges an upload by what holds now.
func (a *Agents) stillTaken(d *spool.Draft) error {
	kind, err := a.Kinds.For(d.Kind, d.Name)
	if err != nil {
		return err
	}
	if d.MaxBytes = kind.MaxBytes; d.MaxBytes > 0 && d.Length > d.MaxBytes {
		return fmt.Errorf("%w: %d bytes; %s may have %d", uploads.ErrTooLarge, d.Length, d.Kind, d.MaxBytes)
	}
	if hop.Looped(d.Via, a.Name) {
		return fmt.Errorf("%w: it passed %q", uploads.ErrLoop, d.Via)
	}
	return nil
}

// place looks at the beginning of the file, as is done with one that comes whole.
func (p *part) place(d *spool.Draft) error {
	f, err := p.session.Read()
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := p.a.inspect(d, f); err != nil {
		return err
	}
	return p.pass.claim(source(*d))
}

// unfinished says whether an upload that is all here but was not stored may
// still be: what is wrong with the file ends it, what is wrong with us does not.
func (p *part) unfinished(err error, st resumable.Status) error {
	status, _ := judge(err)
	if ours(status) || status == http.StatusTooManyRequests {
		return p.dressed(err, st)
	}
	err = errors.Join(err, p.session.End(resumable.EndInvalid))
	if errors.Is(err, resumable.ErrLength) {
		return inconsistent(err)
	}
	return dressed(err, func(h http.Header) { h[partial.Complete] = []string{partial.FormatBool(true)} })
}

// repeated answers a part for an upload that is complete. The request that
// completed it gets its receipt again, since its answer may have been lost.
func (a *Agents) repeated(w http.ResponseWriter, r *http.Request, p *part, complete bool, offset int64) error {
	st := p.session.Status()
	again := offset == st.Offset && r.ContentLength == 0 || offset == st.LastFrom && r.ContentLength == st.Offset-st.LastFrom
	if !complete || !again {
		return &verdict{
			err:   fmt.Errorf("%w: this upload is complete, with %d bytes", resumable.ErrLength, st.Offset),
			kind:  partial.InconsistentLength,
			extra: func(h http.Header) { stateHeaders(h, st) },
		}
	}
	receipt, held := a.Spool.FindExact(st.Draft.Kind, st.Draft.Name, st.Digest)
	if !held {
		return a.forgotten(p.session)
	}
	if r.Header.Get("Expect") == "" {
		if _, err := io.Copy(io.Discard, p.body); err != nil {
			return err
		}
	}
	receipt.Duplicate = true
	a.accepted(r, st.Draft.Draft, receipt)
	w.Header()[partial.Complete] = []string{partial.FormatBool(true)}
	w.Header()[partial.Offset] = []string{partial.FormatInt(st.Offset)}
	return answerReceipt(w, receipt)
}
