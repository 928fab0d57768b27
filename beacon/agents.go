// Package beacon is the server: it hands policy down to agents, takes what
// they tell, and passes it up.
//
// [Agents] is the HTTP surface that agents see, with nothing behind it but two
// interfaces: what is published, and where uploads go. [Admin] is health and
// metrics. [Beacon] is the whole, made from a configuration and a data
// directory.
//
// Old agents use the same surface as ours. A path is decoded once, segment by
// segment, and parsed into a typed name before anything else is done with it;
// whatever a request's headers say changes the body of its answer only through
// Accept-Encoding and Range.
package beacon

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/gorilla/mux"
	"golang.org/x/time/rate"

	"inventorybeacon/beacon/comeback"
	"inventorybeacon/policy"
	"inventorybeacon/policy/revision"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/catalogue"
	"inventorybeacon/uploads/content"
	"inventorybeacon/uploads/custody"
	"inventorybeacon/uploads/spool"
)

// A Snapshot is what is published at one instant. Two snapshots compare equal
// only if they are the same.
type Snapshot interface {
	Policy(policy.Query) (*revision.Object, error)
	File(path string) (*revision.Object, error)
}

// A Spool is where uploads go.
type Spool interface {
	Accept(ctx context.Context, d spool.Draft, body io.Reader) (uploads.Receipt, error)
	Find(kind string, name uploads.Name) (uploads.Receipt, bool)
	FindExact(kind string, name uploads.Name, d uploads.Digest) (uploads.Receipt, bool)
}

// Agents answers agents. Fill it in, then take its Handler.
type Agents struct {
	// Name is the beacon's identity.
	Name string
	// Download and Upload are the first segments of the paths.
	Download, Upload string

	Policies func() Snapshot
	Spool    Spool
	Kinds    *uploads.Kinds
	// Rules say for which kinds bad content is refused.
	Rules content.Rules
	// Room returns a [DiskError] while the disk is too full for an upload of a
	// class and so many bytes (-1: unknown).
	Room func(c comeback.Class, bytes int64) error
	// Last reports whether what disk there is belongs to policy: nothing else is
	// written or looked up. Nil is never. It must not block.
	Last func() bool
	// Signer signs the receipts that are asked for.
	Signer Signer
	// Wanted is told of every receipt that was asked for, with who holds the file;
	// nil if nobody need know. It must not block.
	Wanted func(f custody.File, holders []uploads.Custody)
	// Pressed reports whether the spool's memory is half used, so that slow
	// senders have to go.
	Pressed func() bool
	// Seen is told of every request that shows a device or an address. It must
	// not block.
	Seen func(catalogue.Sighting)

	// Resumption is for uploads that come in parts.
	Resumption Resumption

	// InFlight is how many uploads are taken at once.
	InFlight int
	// Idle is how long a sender may send nothing.
	Idle   time.Duration
	Limits Limits
	// Proxies are the peers whose X-Forwarded-For is believed.
	Proxies []netip.Prefix

	Metrics *Metrics
	Log     *slog.Logger

	router *mux.Router
	upload http.Handler // of an upload's own path
	cache  answers
	gate   gate
	turned turned
	// glimpses bounds the records of who was turned away by a limit.
	glimpses *rate.Limiter
	// turnstile is where requests with a body wait for CPU.
	turnstile turnstile
	drain     drain
	health    health
}

// Handler returns all routes. Call it once, when a is filled in.
func (a *Agents) Handler() http.Handler {
	a.openGate()
	a.turnstile = newTurnstile()
	a.glimpses = rate.NewLimiter(glimpses, glimpses)
	a.router = a.routes()
	return http.HandlerFunc(a.serve)
}

// routes has one entry a path; which methods it takes is the entry's business,
// so that HEAD, 405 and Allow are the same everywhere. Paths arrive escaped and
// are never cleaned: a redirect would turn a PUT into a GET.
func (a *Agents) routes() *mux.Router {
	r := mux.NewRouter().SkipClean(true).UseEncodedPath()
	get := func(h handler) methods { return methods{http.MethodGet: h, http.MethodHead: h} }
	down, up := "/{root:(?i:"+a.Download+")}", "/{root:(?i:"+a.Upload+")}"
	r.Handle(down+"/{path:.*}", a.handle(get(a.download)))
	root := get(a.reachable)
	if a.Resumption.Store != nil {
		root[http.MethodOptions] = a.options
		r.Handle(up+"/{parts:(?i:[.]resumable)}/{id:[^/]+}", a.handle(a.partMethods()))
	}
	r.Handle(up, a.handle(root))
	r.Handle(up+"/", a.handle(root))
	a.upload = a.handle(a.uploadMethods(methods{http.MethodPut: a.put, http.MethodHead: a.head, http.MethodGet: a.receipt}))
	r.Handle(up+"/{path:.+}", a.upload)
	r.NotFoundHandler = a.handle(methods{"": notFound})
	return r
}

// serve is every request's way in.
func (a *Agents) serve(w http.ResponseWriter, r *http.Request) {
	if endsConnection(r) {
		w.Header().Set("Connection", "close")
	}
	if brings(r.Method) {
		t := &turn{gate: a.turnstile}
		defer t.leave()
		t.take(r.Context())
		r = withTurn(r, t)
	}
	if err := a.early(r); err != nil {
		a.refuse(err).ServeHTTP(w, r)
		return
	}
	if a.again(w, r) {
		return
	}
	if a.plain(r) {
		a.upload.ServeHTTP(w, r)
		return
	}
	a.router.ServeHTTP(w, escaped(r))
}

// plain picks out a PUT to the path of a file, which is nearly every request that
// brings something: comparing it with the routes costs a tenth of taking it.
func (a *Agents) plain(r *http.Request) bool {
	root, file := cutRoot(r)
	return r.Method == http.MethodPut && sameRoot(a.Upload, root) && file != "" && file[0] != '.' && file[0] != '%'
}

// endsConnection picks the requests whose end somebody in between may have
// seen elsewhere: a chunked one, which may have had a Content-Length too, and
// any HTTP/1.0 one that has a body, or may have one without saying how long.
func endsConnection(r *http.Request) bool {
	if r.ProtoMajor != 1 {
		return false
	}
	bodiless := r.ContentLength == 0 && (r.Method == http.MethodGet || r.Method == http.MethodHead)
	return len(r.TransferEncoding) > 0 || r.ProtoMinor == 0 && !bodiless
}

func (a *Agents) reachable(w http.ResponseWriter, r *http.Request) error {
	if a.drain.started() {
		return a.stopping(a.anybody(r))
	}
	a.contacted(r)
	h := w.Header()
	h["Cache-Control"] = noStore
	h["Content-Type"] = []string{"text/plain; charset=utf-8"}
	h["Content-Length"] = []string{"3"}
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		io.WriteString(w, "ok\n")
	}
	return nil
}

func notFound(http.ResponseWriter, *http.Request) error { return errNoPath }
