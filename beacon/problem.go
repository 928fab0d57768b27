package beacon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"inventorybeacon/beacon/admission"
	"inventorybeacon/policy"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/parent/problem"
	"inventorybeacon/uploads/resumable"
)

// Errors about the request itself.
var (
	errNoPath     = errors.New("nothing is served at this path")
	errMethod     = errors.New("this path does not take this method")
	errNoUpload   = errors.New("no such unfinished upload")
	errOffset     = errors.New("another offset")
	errNotHeld    = errors.New("this beacon issued no receipt for it")
	errBadRequest = errors.New("bad request")
	errTooOften   = errors.New("asked too often")
	errPromised   = fmt.Errorf("%w: others were promised this moment", uploads.ErrClosed)
	errNoLength   = errors.New("an HTTP/1.0 request with a body needs a Content-Length")
	errBadRange   = errors.New("no part of the range exists")
	errEncoded    = fmt.Errorf("%w: a body is taken as it is, without Content-Encoding", uploads.ErrBadKind)
)

// verdicts says how each error that a sender can do something about is told to
// it. What is not here is our problem: it gets a bare 500, and the log the
// details. The first match counts.
var verdicts = []struct {
	err    error
	status int
	code   problem.Code
}{
	{uploads.ErrBadName, http.StatusBadRequest, problem.BadName},
	{uploads.ErrBadKind, http.StatusUnsupportedMediaType, problem.BadKind},
	{uploads.ErrTooLarge, http.StatusRequestEntityTooLarge, problem.TooLarge},
	{uploads.ErrDigest, http.StatusUnprocessableEntity, problem.DigestMismatch},
	{uploads.ErrContent, http.StatusUnprocessableEntity, problem.BadContent},
	{uploads.ErrLoop, http.StatusLoopDetected, problem.Loop},
	{uploads.ErrFull, http.StatusInsufficientStorage, problem.SpoolFull},
	{syscall.EROFS, http.StatusInsufficientStorage, problem.SpoolFull}, // until somebody has mended the disk
	{errTooOften, http.StatusTooManyRequests, problem.Busy},
	{uploads.ErrClosed, http.StatusServiceUnavailable, problem.Busy},
	{policy.ErrNone, http.StatusNotFound, problem.NotFound},
	{policy.ErrNoFile, http.StatusNotFound, problem.NotFound},
	{errNoPath, http.StatusNotFound, problem.NotFound},
	{errMethod, http.StatusMethodNotAllowed, problem.MethodNotAllowed},
	{errNotHeld, http.StatusNotFound, problem.NotFound},
	{errNoUpload, http.StatusNotFound, problem.NotFound},
	{errOffset, http.StatusConflict, problem.OffsetMismatch},
	{resumable.ErrGone, http.StatusGone, problem.Gone},
	{resumable.ErrLength, http.StatusBadRequest, problem.BadRequest},
	{resumable.ErrSmall, http.StatusBadRequest, problem.BadRequest},
	{errBadRange, http.StatusRequestedRangeNotSatisfiable, problem.BadRange},
	{errNoLength, http.StatusLengthRequired, problem.LengthRequired},
	{errBadRequest, http.StatusBadRequest, problem.BadRequest},
	// A body that ended early is the line's fault, not the file's: the sender is
	// to try again, if it can still read this.
	{uploads.ErrShort, http.StatusRequestTimeout, problem.Stalled},
	{os.ErrDeadlineExceeded, http.StatusRequestTimeout, problem.Stalled},
}

// ours says which verdicts are about this beacon: their details are not the
// sender's business.
func ours(status int) bool { return status >= http.StatusInternalServerError }

// words are what a sender is told when the details stay here.
var words = map[problem.Code]string{
	problem.Internal:  "something is wrong with this beacon; its log says what",
	problem.Busy:      "this beacon is busy; come back later",
	problem.SpoolFull: "this beacon can store nothing now; come back later",
	problem.Loop:      "this file has been here before, or at a beacon of the same name, or has passed too many",
}

// quotaWords are for a sender that alone has as much here as it may have.
const quotaWords = "as much of this sender waits here as may; come back later"

// detail is what a sender is told.
func detail(code problem.Code, err error) string {
	if v, ok := errors.AsType[*verdict](err); ok && (v.reason == admission.QuotaFiles || v.reason == admission.QuotaBytes) {
		return quotaWords
	}
	if w, known := words[code]; known {
		return w
	}
	return err.Error()
}

// A verdict is an error with more to its answer than the table says.
type verdict struct {
	err    error
	reason admission.Reason // the limit that was met, if it was one
	after  time.Duration    // Retry-After, in whole seconds
	early  bool             // it was told before, and did not wait
	allow  string           // for 405
	extra  func(http.Header)
	// kind is the problem's type, if it is one that others know too, and members
	// are the further ones that its document then has.
	kind    string
	members map[string]any
}

func (v *verdict) Error() string { return v.err.Error() }
func (v *verdict) Unwrap() error { return v.err }

// busy turns a sender away for a while.
func busy(why string, reason admission.Reason, after time.Duration) error {
	return &verdict{err: fmt.Errorf("%w: %s", uploads.ErrClosed, why), reason: reason, after: after}
}

// A handler answers, or returns why not without having written anything.
type handler func(http.ResponseWriter, *http.Request) error

// methods are the handlers of one path; "" takes every method.
type methods map[string]handler

func (m methods) serve(w http.ResponseWriter, r *http.Request) error {
	h, ok := m[r.Method]
	if !ok {
		h, ok = m[""]
	}
	if !ok {
		return &verdict{err: errMethod, allow: strings.Join(slices.Sorted(maps.Keys(m)), ", ")}
	}
	return h(w, r)
}

// refuse is a handler that answers every request with err.
func (a *Agents) refuse(err error) http.Handler {
	return a.handle(methods{"": func(http.ResponseWriter, *http.Request) error { return err }})
}

// judge looks an error up.
func judge(err error) (status int, code problem.Code) {
	for _, v := range verdicts {
		if errors.Is(err, v.err) {
			return v.status, v.code
		}
	}
	return http.StatusInternalServerError, problem.Internal
}

// handle is the only place where errors become answers, and the only one that
// logs them.
func (a *Agents) handle(m methods) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := m.serve(w, r)
		if err == nil {
			return
		}
		status, code := judge(err)
		if _, ok := errors.AsType[*verdict](err); !ok && (code == problem.SpoolFull || code == problem.Busy) {
			err = a.full(err, a.anybody(r))
		}
		a.log(r, status, code, err)
		a.Metrics.refused(r.Method, code)
		if v, ok := errors.AsType[*verdict](err); ok {
			a.Metrics.limited(v.reason)
		}
		if a.telling(err) {
			a.sighted(r, status, code)
		}
		if errors.Is(err, context.Canceled) {
			panic(http.ErrAbortHandler) // nobody is left to read an answer
		}
		turnOf(r).leave() // who does not read the answer holds up nobody
		dampen(r, err)
		say(w, r, status, code, err)
		if brings(r.Method) && status != http.StatusRequestTimeout {
			readOn(w, r)
		}
	})
}

func (a *Agents) log(r *http.Request, status int, code problem.Code, err error) {
	level := slog.LevelInfo
	v, _ := errors.AsType[*verdict](err)
	if v != nil && v.reason != "" {
		a.logTurned(r.Context(), v.reason, err)
	}
	switch {
	case v != nil && v.reason != "":
		level = slog.LevelDebug
	case errors.Is(err, context.Canceled), status == http.StatusNotFound:
		level = slog.LevelDebug
	case code == problem.Internal:
		level = slog.LevelError
	case ours(status):
		level = slog.LevelWarn
	}
	a.Log.LogAttrs(r.Context(), level, "request refused",
		slog.String("method", r.Method), slog.String("path", shorten(r.URL.EscapedPath())),
		slog.String("peer", a.peer(r).String()), slog.Int("status", status), slog.String("code", string(code)), slog.Any("err", err))
}

// maxLogged is how much of a sender's words is logged or indexed.
const maxLogged = 256

func shorten(s string) string { return s[:min(len(s), maxLogged)] }

// say writes the problem document (RFC 9457).
func say(w http.ResponseWriter, r *http.Request, status int, code problem.Code, err error) {
	h := w.Header()
	h["Cache-Control"] = noStore
	h["Content-Type"] = []string{problem.MediaType}
	h["X-Content-Type-Options"] = nosniff
	if v, ok := errors.AsType[*verdict](err); ok {
		v.headers(h)
	}
	body := encoded(problem.Document{Status: status, Code: code, Title: http.StatusText(status), Detail: detail(code, err)}, err)
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	if brings(r.Method) && r.ProtoMajor == 1 {
		// Else the server would read the body first, and only then answer.
		http.NewResponseController(w).EnableFullDuplex() // best effort
		if r.ContentLength > maxReadOn || r.Header.Get("Expect") != "" || status == http.StatusRequestTimeout {
			h["Connection"] = []string{"close"}
		}
	}
	answerNow(w)
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(body) // the sender may be gone
	}
}

// encoded returns d as it is sent, with what err has to add to it.
func encoded(d problem.Document, err error) []byte {
	doc := map[string]any{"type": "about:blank", "status": d.Status, "code": d.Code, "title": d.Title, "detail": d.Detail}
	if v, ok := errors.AsType[*verdict](err); ok && v.kind != "" {
		doc["type"] = v.kind
		maps.Copy(doc, v.members)
	}
	body, merr := json.Marshal(doc)
	if merr != nil {
		panic(merr) // strings and numbers always marshal
	}
	return body
}

// brings reports whether requests of a method have a body as a rule.
func brings(method string) bool {
	return method == http.MethodPut || method == http.MethodPost || method == http.MethodPatch
}

// answerNow gives an answer its time: the body before it may have taken long.
func answerNow(w http.ResponseWriter) {
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTime)) // a recorder in a test has none
}

func (v *verdict) headers(h http.Header) {
	if v.allow != "" {
		h["Allow"] = []string{v.allow}
	}
	if v.after > 0 {
		h["Retry-After"] = []string{strconv.Itoa(int(v.after / time.Second))}
	}
	if v.extra != nil {
		v.extra(h)
	}
}
