package beacon

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"inventorybeacon/policy/revision"
	"inventorybeacon/uploads"
)

// Header values are kept as the slices a header map wants, so that an answer
// that was prepared costs no memory.
var (
	noStore      = []string{"no-store"}
	nosniff      = []string{"nosniff"}
	contentJSON  = []string{"application/json"}
	vary         = []string{"Accept-Encoding"}
	acceptRanges = []string{"bytes"}
	// An immutable name may be kept for a year, the longest that caches honour.
	cacheImmutable = []string{"public, max-age=31536000, immutable"}
	cachePrivate   = []string{"private, no-cache"}
	cacheAsk       = []string{"no-cache"}
)

// An answer is an object made ready to be served many times.
type answer struct {
	path   string
	policy bool
	device uploads.Device

	object       *revision.Object
	modified     []string
	contentType  []string
	cacheControl []string
	// identity is never nil, the others are where coding gains something.
	identity, gzip, zstd *representation
}

// A representation is the object in one content coding.
type representation struct {
	etag     []string
	digest   []string // Repr-Digest
	encoding []string // nil for identity
	length   []string
	size     int64
	body     []byte // nil if it has to be opened
	open     func() (io.ReadSeekCloser, error)
}

func newAnswer(o *revision.Object, t target) *answer {
	ans := &answer{
		path: t.path, policy: t.policy, device: t.device, object: o,
		modified:     []string{o.Modified.UTC().Format(http.TimeFormat)},
		contentType:  []string{o.ContentType},
		cacheControl: cacheClass(o),
		identity:     newRepresentation(o.ETag, o.Digest, "", o.Size),
	}
	ans.identity.body, ans.identity.open = o.Body, o.Open
	ans.gzip = coded("gzip", o.Gzip)
	ans.zstd = coded("zstd", o.Zstd)
	return ans
}

func cacheClass(o *revision.Object) []string {
	switch {
	case o.Private:
		return cachePrivate
	case o.Immutable:
		return cacheImmutable
	}
	return cacheAsk
}

func coded(encoding string, v *revision.Variant) *representation {
	if v == nil {
		return nil
	}
	rep := newRepresentation(v.ETag, v.Digest, encoding, int64(len(v.Body)))
	rep.body = v.Body
	return rep
}

func newRepresentation(etag string, digest [32]byte, encoding string, size int64) *representation {
	rep := &representation{
		etag: []string{etag}, length: []string{strconv.FormatInt(size, 10)}, size: size,
		digest: []string{"sha-256=:" + base64.StdEncoding.EncodeToString(digest[:]) + ":"},
	}
	if encoding != "" {
		rep.encoding = []string{encoding}
	}
	return rep
}

type memory struct{ *bytes.Reader }

func (memory) Close() error { return nil }

func (rep *representation) reader() (io.ReadSeekCloser, error) {
	if rep.body != nil {
		return memory{bytes.NewReader(rep.body)}, nil
	}
	return rep.open()
}

// serve writes the answer to r and returns its status. An error with status 0
// comes before anything was written.
func (ans *answer) serve(w http.ResponseWriter, r *http.Request) (int, error) {
	rep := ans.selected(r.Header["Accept-Encoding"])
	h := w.Header()
	if ans.unchanged(r.Header, rep) {
		h["Etag"] = rep.etag
		h["Cache-Control"] = ans.cacheControl
		ans.vary(h)
		w.WriteHeader(http.StatusNotModified)
		return http.StatusNotModified, nil
	}
	ranges, err := ans.ranges(r, rep)
	if err != nil {
		return 0, err
	}
	if r.Method == http.MethodHead || ranges == nil && rep.body != nil && len(rep.body) <= piece {
		ans.headers(h, rep)
		h["Content-Length"] = rep.length
		w.WriteHeader(http.StatusOK)
		if r.Method != http.MethodHead {
			_, err = w.Write(rep.body)
		}
		return http.StatusOK, err
	}
	body, err := rep.reader()
	if err != nil {
		return 0, fmt.Errorf("open %s: %w", ans.path, err)
	}
	defer body.Close()
	ans.headers(h, rep)
	switch len(ranges) {
	case 0:
		h["Content-Length"] = rep.length
		w.WriteHeader(http.StatusOK)
		return http.StatusOK, copyPieces(w, body, rep.size)
	case 1:
		return writeRange(w, body, ranges[0], rep.size)
	}
	return writeRanges(w, body, ranges, rep.size, ans.contentType[0])
}

// headers are those of every answer with a body.
func (ans *answer) headers(h http.Header, rep *representation) {
	h["Etag"] = rep.etag
	h["Cache-Control"] = ans.cacheControl
	h["Last-Modified"] = ans.modified
	h["Repr-Digest"] = rep.digest
	h["Accept-Ranges"] = acceptRanges
	h["Content-Type"] = ans.contentType
	h["X-Content-Type-Options"] = nosniff
	if rep.encoding != nil {
		h["Content-Encoding"] = rep.encoding
	}
	ans.vary(h)
}

// ranges returns the parts to send, nil for the whole. Only GET has parts, and
// only of the version that the client has the beginning of.
func (ans *answer) ranges(r *http.Request, rep *representation) ([]span, error) {
	asked := r.Header["Range"]
	if len(asked) == 0 || r.Method != http.MethodGet || !ans.sameVersion(r.Header, rep) {
		return nil, nil
	}
	spans, err := parseRanges(asked[0], rep.size)
	if err != nil {
		return nil, &verdict{err: err, extra: func(h http.Header) {
			h["Content-Range"] = []string{fmt.Sprintf("bytes */%d", rep.size)}
		}}
	}
	return spans, nil
}

func (ans *answer) vary(h http.Header) {
	if ans.gzip != nil || ans.zstd != nil {
		h["Vary"] = vary
	}
}

// unchanged reports whether the client already has rep.
func (ans *answer) unchanged(h http.Header, rep *representation) bool {
	if tags := h["If-None-Match"]; len(tags) > 0 {
		return matches(tags, rep.etag[0])
	}
	since := h["If-Modified-Since"]
	if len(since) == 0 || ans.object.ByAddress {
		return false
	}
	if since[0] == ans.modified[0] {
		return true
	}
	t, err := http.ParseTime(since[0])
	return err == nil && !ans.object.Modified.Truncate(time.Second).After(t)
}

// matches compares weakly, as RFC 9110 wants for If-None-Match.
func matches(lines []string, etag string) bool {
	for _, line := range lines {
		for line != "" {
			var tag string
			tag, line, _ = strings.Cut(line, ",")
			tag = strings.Trim(tag, " \t")
			if tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
				return true
			}
		}
	}
	return false
}

// sameVersion evaluates If-Range: a range of other bytes than the client has
// the beginning of would do harm.
func (ans *answer) sameVersion(h http.Header, rep *representation) bool {
	cond := h["If-Range"]
	if len(cond) == 0 {
		return true
	}
	if strings.HasPrefix(cond[0], `"`) {
		return cond[0] == rep.etag[0]
	}
	return cond[0] == ans.modified[0] && !ans.object.ByAddress
}
