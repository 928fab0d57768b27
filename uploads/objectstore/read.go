package objectstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/stall"
)

// A Reader reads what sinks, of this beacon or of others, put into a bucket.
type Reader struct{ s *Sink }

// An Object is a file in the bucket as a listing tells of it.
type Object struct {
	Key  string
	Name uploads.Name // as the key has it
	Size int64
	ETag string
	// Modified is when it was put there, by the store's clock.
	Modified time.Time
}

// OpenReader checks the options and returns a reader. It does not speak to the store.
func OpenReader(o Options) (*Reader, error) {
	s, err := Open(o)
	if err != nil {
		return nil, err
	}
	return &Reader{s}, nil
}

// page is how many keys are asked for at once: the most that a store gives.
const page = 1000

// List returns files of one kind whose names are of one day, in the order of their
// keys, from the one behind after on; next is where to go on, empty at the end.
// Keys that no sink makes are passed over.
func (r *Reader) List(ctx context.Context, kind string, day time.Time, after string) (found []Object, next string, err error) {
	ctx, watch := stall.New(ctx, r.s.o.Limits)
	defer watch.Stop() // which ends the listing, too
	prefix := path.Join(r.s.o.Prefix, segment(kind), "date="+day.Format(time.DateOnly)) + "/"
	n := 0
	for o := range r.s.client.ListObjects(ctx, r.s.o.Bucket, minio.ListObjectsOptions{Prefix: prefix, Recursive: true, StartAfter: after, MaxKeys: page}) {
		if o.Err != nil {
			return nil, "", fmt.Errorf("list bucket %s: %w", r.s.o.Bucket, stall.Cause(ctx, o.Err))
		}
		watch.Moved()
		if name, ok := nameIn(o.Key); ok {
			found = append(found, Object{Key: o.Key, Name: name, Size: o.Size, ETag: o.ETag, Modified: o.LastModified})
		}
		if n++; n == page {
			return found, o.Key, nil
		}
	}
	if ctx.Err() != nil { // the listing ends without a word then
		return nil, "", fmt.Errorf("list bucket %s: %w", r.s.o.Bucket, stall.Cause(ctx, ctx.Err()))
	}
	return found, "", nil
}

// marked is a file's name in a key: stem, digits of the digest, suffix.
var marked = regexp.MustCompile(`^(.+)~([0-9a-f]{16})((?:\.[^.~/]+){0,2})$`)

// nameIn returns the name of the file that [Key] made a key of.
func nameIn(key string) (uploads.Name, bool) {
	m := marked.FindStringSubmatch(path.Base(key))
	if m == nil {
		return uploads.Name{}, false
	}
	n, err := uploads.ParseName(m[1] + m[3])
	return n, err == nil && n.Suffix() == m[3]
}

// Read returns what the store says of a file, and its bytes, which end in an
// [uploads.ErrDigest] if they are not those that were put. The error matches
// [uploads.ErrUnknown] if the object is gone, and [uploads.ErrRefused] if it is
// none that a sink made, or can never be read. Via ends with the beacon that put it.
func (r *Reader) Read(ctx context.Context, kind string, o Object) (uploads.Upload, io.ReadCloser, error) {
	ctx, watch := stall.New(ctx, r.s.o.Limits)
	body, info, _, err := minio.Core{Client: r.s.client}.GetObject(ctx, r.s.o.Bucket, o.Key, minio.GetObjectOptions{})
	if err != nil {
		watch.Stop()
		return uploads.Upload{}, nil, unread(o.Key, stall.Cause(ctx, err))
	}
	u, err := r.upload(kind, o.Key, info)
	if err != nil {
		watch.Stop() // before the body, which nobody waits for then
		body.Close()
		return uploads.Upload{}, nil, fmt.Errorf("%w: %s: %w", uploads.ErrRefused, o.Key, err)
	}
	return u, &watched{uploads.Verify(&moving{body, watch}, u.Size, u.Digest), body, watch, ctx}, nil
}

func unread(key string, err error) error {
	answer := minio.ToErrorResponse(err)
	switch {
	case answer.Code == minio.NoSuchKey:
		return fmt.Errorf("%w: %s", uploads.ErrUnknown, key)
	case answer.Code == "InvalidObjectState", answer.StatusCode == http.StatusBadRequest:
		// It was moved to an archive, or has a key that only its writer knows.
		return fmt.Errorf("%w: %s: %w", uploads.ErrRefused, key, err)
	}
	return fmt.Errorf("read %s: %w", key, err)
}

// upload reads an object's metadata. That its key follows from them is what makes
// it one of a sink.
func (r *Reader) upload(kind, key string, info minio.ObjectInfo) (u uploads.Upload, err error) {
	said := map[string]string{}
	for k, v := range info.UserMetadata {
		if said[strings.ToLower(k)], err = url.PathUnescape(v); err != nil {
			return u, fmt.Errorf("metadata %s: %w", strings.ToLower(k), err)
		}
	}
	u = uploads.Upload{
		Kind: kind, Size: info.Size, Device: uploads.Device{Domain: said["domain"], Name: said["device"]}, AgentID: said["agent"], Beacon: said["beacon"],
	}
	if u.Digest, err = uploads.ParseDigest(said["sha256"]); err != nil {
		return u, fmt.Errorf("metadata sha256: %w", err)
	}
	if u.Name, err = uploads.ParseName(said["name"]); err != nil {
		return u, fmt.Errorf("metadata name: %w", err)
	}
	if want := Key(r.s.o.Prefix, u); want != key {
		return u, errors.New("its key does not follow from its metadata")
	}
	u.Via = strings.FieldsFunc(said["via"], func(c rune) bool { return c == ',' })
	if u.Beacon != "" {
		u.Via = append(u.Via, u.Beacon)
	}
	return u, nil
}

// A watched body is a transfer that may not stand still.
type watched struct {
	io.Reader
	body  io.Closer
	watch *stall.Watch
	ctx   context.Context
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = stall.Cause(w.ctx, err)
	}
	return n, err
}

func (w *watched) Close() error {
	w.watch.Stop()
	return w.body.Close()
}

type moving struct {
	r     io.Reader
	watch *stall.Watch
}

func (m *moving) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.watch.Moved()
	return n, err
}

// Check tries what reading needs of the bucket: a listing, which must work, and a
// read of a file of that kind if there is one.
func (r *Reader) Check(ctx context.Context, kind string, now time.Time) []uploads.Finding {
	list := uploads.Finding{What: "list the reports of other beacons"}
	var newest Object
	for _, day := range []time.Time{now.UTC(), now.UTC().AddDate(0, 0, -1)} {
		found, _, err := r.List(ctx, kind, day, "")
		if err != nil {
			list.Err, list.Detail = err, listAdvice(err)
			return []uploads.Finding{list}
		}
		if len(found) > 0 {
			newest = found[len(found)-1]
			break
		}
	}
	if newest.Key == "" {
		list.Detail = "there are none of today or yesterday: does a beacon relay to this bucket, under this prefix?"
		return []uploads.Finding{list}
	}
	read := uploads.Finding{What: "read one", Detail: newest.Key}
	_, body, err := r.Read(ctx, kind, newest)
	if err == nil {
		_, err = io.Copy(io.Discard, body)
		body.Close()
	}
	if read.Err = err; err != nil {
		read.Detail = "the credentials must be allowed to get objects (s3:GetObject) below the prefix"
		if errors.Is(err, uploads.ErrRefused) || errors.Is(err, uploads.ErrDigest) {
			read.Optional, read.Detail = true, "somebody else wrote it: reports that are sound are read beside it"
		}
	}
	return []uploads.Finding{list, read}
}

func listAdvice(err error) string {
	if minio.ToErrorResponse(err).Code == minio.AccessDenied {
		return "the credentials must be allowed to list the bucket (s3:ListBucket) and to get objects (s3:GetObject) below the prefix"
	}
	return advice(err)
}
