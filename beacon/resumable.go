package beacon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/parent/hop"
	"inventorybeacon/uploads/resumable"
	"inventorybeacon/uploads/resumable/partial"
	"inventorybeacon/uploads/spool"
)

// Resumption is what uploads in parts need. Without a Store there are none.
type Resumption struct {
	Store *resumable.Store
	// Adopt makes a whole file of the store an upload of the spool.
	Adopt func(ctx context.Context, d spool.Draft, file string) (uploads.Receipt, error)
	// Interim sends interim answers to clients that ask for them. A proxy that
	// takes one for the answer breaks every such upload.
	Interim bool
}

// partsFolder is where uploads in parts lie below the upload root. No file can
// be called so.
const partsFolder = ".resumable"

// acceptPatch is what a resource says that takes parts.
var acceptPatch = []string{partial.MediaType}

// uploadMethods are those of an upload's own path.
func (a *Agents) uploadMethods(m methods) methods {
	if a.Resumption.Store == nil {
		return m
	}
	m[http.MethodOptions] = a.options
	allow := strings.Join(slices.Sorted(maps.Keys(m)), ", ")
	m[http.MethodPost] = func(w http.ResponseWriter, r *http.Request) error {
		if !a.inParts(r) {
			return &verdict{err: errMethod, allow: allow}
		}
		return a.put(w, r)
	}
	return m
}

// partMethods are those of an upload that comes in parts.
func (a *Agents) partMethods() methods {
	return methods{
		http.MethodHead: a.offset, http.MethodPatch: a.patch, http.MethodDelete: a.cancel, http.MethodOptions: a.options,
	}
}

// inParts reports whether a request means to be the first part of an upload.
func (a *Agents) inParts(r *http.Request) bool {
	_, asked := partial.ParseBool(r.Header[partial.Complete])
	return asked && a.Resumption.Store != nil
}

// interim reports whether a client is sent interim answers.
func (a *Agents) interim(r *http.Request) bool {
	version, _ := partial.ParseInt(r.Header[partial.Interop])
	return a.Resumption.Interim && partial.FormatInt(version) == partial.Version && r.ProtoAtLeast(1, 1)
}

// options says that uploads may come in parts, and within which limits. A path
// that no upload can have gets the limits of the largest.
func (a *Agents) options(w http.ResponseWriter, r *http.Request) error {
	l := partial.Limits{MinAppendSize: resumable.MinAppend}
	if kind, _, err := a.place(r); err == nil {
		l.MaxSize = kind.MaxBytes
	} else {
		for _, k := range a.Kinds.All() {
			l.MaxSize = max(l.MaxSize, k.MaxBytes)
		}
	}
	h := w.Header()
	h["Cache-Control"] = noStore
	h["Accept-Patch"] = acceptPatch
	h[partial.Limit] = []string{l.String()}
	h["Allow"] = []string{allowed(r)}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func allowed(r *http.Request) string {
	switch v := mux.Vars(r); {
	case v["id"] != "":
		return "DELETE, HEAD, OPTIONS, PATCH"
	case v["path"] == "": // the upload root
		return "GET, HEAD, OPTIONS"
	}
	return "GET, HEAD, OPTIONS, POST, PUT"
}

// create begins an upload that comes in parts. One that comes whole after all,
// from a client that could not be told where to go on, is a plain upload.
func (a *Agents) create(w http.ResponseWriter, r *http.Request, kind uploads.Kind, name uploads.Name) error {
	complete, _ := partial.ParseBool(r.Header[partial.Complete])
	length, err := stated(r, 0, complete)
	if err != nil {
		return err
	}
	if complete && !a.interim(r) {
		return a.createWhole(w, r, kind, name, length)
	}
	var content http.Header
	if !complete { // of this part alone; with the whole in it, of both
		content = http.Header{"Content-Digest": r.Header["Content-Digest"]}
		delete(r.Header, "Content-Digest")
	}
	d, err := a.partsDraft(r, kind, name, length)
	if err != nil {
		return err
	}
	p, err := a.part(w, r, d.Draft, content)
	if err != nil {
		return limited413(err, d.MaxBytes)
	}
	defer p.done()
	if p.session, err = a.Resumption.Store.Create(d, time.Now(), p.interrupt); err != nil {
		return limited413(fmt.Errorf("begin upload: %w", err), d.MaxBytes)
	}
	defer p.session.Release()
	p.created = true
	p.announce(w)
	return p.receive(w, complete)
}

// createWhole takes an upload that is complete in one request.
func (a *Agents) createWhole(w http.ResponseWriter, r *http.Request, kind uploads.Kind, name uploads.Name, length int64) error {
	d, err := a.draft(r, kind, name)
	if err != nil {
		return err
	}
	if length >= 0 {
		d.Length = length
	}
	receipt, err := a.take(w, r, d)
	if err != nil {
		return limited413(err, d.MaxBytes)
	}
	w.Header()[partial.Complete] = []string{partial.FormatBool(true)}
	return answerReceipt(w, receipt)
}

func (a *Agents) partsDraft(r *http.Request, kind uploads.Kind, name uploads.Name, length int64) (resumable.Draft, error) {
	d, err := a.draft(r, kind, name)
	if err != nil {
		return resumable.Draft{}, err
	}
	d.Length = length
	wide, err := wideDigest(r.Header)
	return resumable.Draft{Draft: d, Wide: wide}, err
}

// stated returns what a request says of the length of the whole, -1 if nothing.
// Its body begins at offset.
func stated(r *http.Request, offset int64, complete bool) (int64, error) {
	length, ok := partial.ParseInt(r.Header[partial.Length])
	switch whole := offset + r.ContentLength; {
	case !complete || r.ContentLength < 0:
	case !ok:
		return whole, nil
	case length != whole:
		return 0, inconsistent(fmt.Errorf("%w: %s says %d bytes, the request brings the last of %d", resumable.ErrLength, partial.Length, length, whole))
	}
	if !ok {
		return -1, nil
	}
	return length, nil
}

func inconsistent(err error) error { return &verdict{err: err, kind: partial.InconsistentLength} }

// offset says how far an upload has got.
func (a *Agents) offset(w http.ResponseWriter, r *http.Request) error {
	c, err := a.Resumption.Store.Take(r.Context(), mux.Vars(r)["id"], time.Now(), func() {})
	if err != nil {
		return missing(err)
	}
	defer c.Release()
	st := c.Status()
	if st.Complete {
		if _, held := a.Spool.FindExact(st.Draft.Kind, st.Draft.Name, st.Digest); !held {
			return a.forgotten(c)
		}
		w.Header()[hop.DigestHeader] = []string{hop.FormatDigest(st.Digest)}
	}
	a.contacted(r)
	stateHeaders(w.Header(), st)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// stateHeaders are those that say how far an upload has got.
func stateHeaders(h http.Header, st resumable.Status) {
	h["Cache-Control"] = noStore
	h[partial.Complete] = []string{partial.FormatBool(st.Complete)}
	h[partial.Offset] = []string{partial.FormatInt(st.Offset)}
	h[partial.Limit] = []string{limits(st, time.Now()).String()}
	if st.Draft.Length >= 0 {
		h[partial.Length] = []string{partial.FormatInt(st.Draft.Length)}
	}
}

func limits(st resumable.Status, now time.Time) partial.Limits {
	return partial.Limits{
		MaxSize: st.Draft.MaxBytes, MinAppendSize: resumable.MinAppend, MaxAge: max(1, int64(st.Expires.Sub(now).Seconds())),
	}
}

// forgotten ends an upload that was complete, but whose file is no longer known
// to have been stored.
func (a *Agents) forgotten(c *resumable.Session) error {
	if err := c.End(resumable.EndDamaged); err != nil {
		return err
	}
	return fmt.Errorf("%w: its file was lost", resumable.ErrGone)
}

// cancel ends an upload because its sender says so.
func (a *Agents) cancel(w http.ResponseWriter, r *http.Request) error {
	c, err := a.Resumption.Store.Take(r.Context(), mux.Vars(r)["id"], time.Now(), func() {})
	if err != nil {
		return missing(err)
	}
	defer c.Release()
	if err := c.End(resumable.EndCancelled); err != nil {
		return err
	}
	w.Header()["Cache-Control"] = noStore
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// missing makes an upload that is not there an answer.
func missing(err error) error {
	if errors.Is(err, uploads.ErrUnknown) {
		return fmt.Errorf("%w: %w", errNoUpload, err)
	}
	return err
}

// unfinished says, with the answer that a file is not held, where its sender
// may go on with it.
func (a *Agents) unfinished(r *http.Request, kind uploads.Kind, name uploads.Name, sum uploads.Digest) error {
	d, err := a.draft(r, kind, name)
	if err != nil || a.Resumption.Store == nil {
		return errNotHeld
	}
	whole := resumable.Draft{Draft: d}
	st, ok := a.Resumption.Store.Find(whole.Source(), kind.Folder, name, sum, time.Now())
	if !ok {
		return errNotHeld
	}
	return &verdict{err: errNotHeld, extra: func(h http.Header) { h["Location"] = []string{a.location(st)} }}
}

// location is an upload's own path.
func (a *Agents) location(st resumable.Status) string {
	return "/" + a.Upload + "/" + partsFolder + "/" + st.ID
}
