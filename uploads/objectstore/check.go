package objectstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"

	"github.com/minio/minio-go/v7"

	"inventorybeacon/uploads"
)

// Check tries what deliveries need of the bucket with an object of its own: a
// write, which must work; a read, a delete and a write that must not replace,
// which deliveries do without.
func (s *Sink) Check(ctx context.Context) []uploads.Finding {
	key := path.Join(s.o.Prefix, "doctor", rand.Text())
	body := []byte("written by the inventory beacon's doctor; it may be deleted\n")
	write := uploads.Finding{What: "write an object", Err: s.write(ctx, key, body, false)}
	if write.Err != nil {
		write.Detail = advice(write.Err)
		return []uploads.Finding{write}
	}
	found := []uploads.Finding{write, s.tryRead(ctx, key, body), s.tryCreateOnly(ctx, key)}
	gone := uploads.Finding{What: "delete it", Err: s.client.RemoveObject(ctx, s.o.Bucket, key, minio.RemoveObjectOptions{}), Optional: true}
	if gone.Err != nil {
		gone.Detail = fmt.Sprintf("deliveries need no permission to delete; %s/%s stays", s.o.Bucket, key)
	}
	return append(found, gone)
}

func (s *Sink) write(ctx context.Context, key string, body []byte, create bool) error {
	o, err := s.how()
	if err != nil {
		return err
	}
	if create {
		o.SetMatchETagExcept("*")
	}
	_, err = minio.Core{Client: s.client}.PutObject(ctx, s.o.Bucket, key, bytes.NewReader(body), int64(len(body)), "", uploads.DigestOf(body).String(), o)
	return err
}

func (s *Sink) tryRead(ctx context.Context, key string, want []byte) uploads.Finding {
	f := uploads.Finding{What: "read it again", Optional: true}
	r, err := s.client.GetObject(ctx, s.o.Bucket, key, minio.GetObjectOptions{})
	var got []byte
	if err == nil {
		got, err = io.ReadAll(io.LimitReader(r, int64(len(want))+1))
		r.Close()
	}
	switch {
	case err != nil:
		f.Err, f.Detail = err, "deliveries need no permission to read"
	case !bytes.Equal(got, want):
		f.Err, f.Optional, f.Detail = errors.New("other bytes came back"), false, "something on the way to the bucket, or the bucket itself, does not keep what it is given"
	}
	return f
}

func (s *Sink) tryCreateOnly(ctx context.Context, key string) uploads.Finding {
	f := uploads.Finding{What: "refuse to write over it", Optional: true}
	switch err := s.write(ctx, key, []byte("other bytes\n"), true); {
	case err == nil:
		f.Err, f.Detail = errors.New("the store replaced the object"), "leave create_only off: this store does not know conditional writes"
	case taken(err):
		f.Detail = "create_only may be switched on for this store"
		if s.o.CreateOnly {
			f.Detail = "create_only is on, and this store honours it"
		}
	default:
		f.Err, f.Detail = err, "leave create_only off: this store does not know conditional writes"
	}
	if f.Err != nil && s.o.CreateOnly {
		f.Optional = false
	}
	return f
}

// taken reports whether a write was refused because the object exists.
func taken(err error) bool {
	a := minio.ToErrorResponse(err)
	return a.StatusCode == http.StatusPreconditionFailed || a.Code == minio.PreconditionFailed
}

// advice says what a person may do about a write that failed.
func advice(err error) string {
	switch a := minio.ToErrorResponse(err); a.Code {
	case minio.NoSuchBucket:
		return "make the bucket, or correct its name in the configuration"
	case minio.AccessDenied:
		return "the credentials must be allowed to put objects (s3:PutObject) below the prefix"
	case "InvalidAccessKeyId", "SignatureDoesNotMatch":
		return "correct the access key and the secret key; a clock that is wrong by minutes looks like this too"
	case "RequestTimeTooSkewed":
		return "set this machine's clock"
	case "PermanentRedirect", "AuthorizationHeaderMalformed":
		return "correct the region"
	}
	return "check the endpoint, the network and the certificate"
}
