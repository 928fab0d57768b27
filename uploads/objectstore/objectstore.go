// Package objectstore delivers uploads to an S3-compatible object store.
//
// Each file becomes one object,
//
//	<prefix>/<Kind>/date=<yyyy-mm-dd>/<domain>/<device>/<stem>~<first 16 digits of its sha256>.<ext>
//
// so that engines that read partitioned stores can query it. The key follows
// from the file alone, so a repeat puts the same bytes in the same place: that
// needs no permission but to put, and no support of conditions.
package objectstore

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/encrypt"
	"github.com/minio/minio-go/v7/pkg/s3utils"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/stall"
)

// Options say where the store is and how to speak to it.
type Options struct {
	// Endpoint is the store's address, for example https://s3.eu-central-1.amazonaws.com;
	// plain http is spoken only if it says so.
	Endpoint string
	Bucket   string
	Prefix   string
	// Region defaults to what the endpoint's name says, else to us-east-1, which
	// most stores other than Amazon's go by.
	Region string
	// Style is how the bucket is named in addresses: "path", "virtual", or empty
	// for what the endpoint's name suggests.
	Style string
	// AccessKey and SecretKey are the credentials. Without them they come from
	// CredentialsFile (the AWS format, of Profile) if it is named, from the role
	// of this machine, container or pod if InstanceRole says so, else from the
	// environment (AWS_* or MINIO_*).
	AccessKey, SecretKey, SessionToken string
	CredentialsFile, Profile           string
	InstanceRole                       bool
	// RoleEndpoint is where the role is asked for, if not at the usual place.
	RoleEndpoint string
	// Encryption is how the store encrypts objects: "AES256", "aws:kms" with the
	// key KMSKey (empty: the account's), or empty for the bucket's own default.
	Encryption, KMSKey string
	// CreateOnly never replaces an object, for stores that know conditional
	// writes: one that is there is this delivery, or was put there by somebody else.
	CreateOnly bool
	// CA is a file of PEM certificates to trust instead of the system's.
	CA string
	// Transport replaces the transport that Open would make; its TLS settings
	// count, not CA. It is shared by all deliveries.
	Transport http.RoundTripper
	// Limits bound how long a transfer may stand still; zero means [stall.Default].
	Limits stall.Limits
	// Identity is the beacon's, for the custody it reports and the metadata.
	Identity string
	// Log defaults to discarding.
	Log *slog.Logger
}

// partSize is how large the parts of large files are. It is what one delivery
// buffers: larger parts cost memory per worker, smaller ones requests per file.
const partSize = 16 << 20

// How a store may be asked to encrypt.
const (
	EncryptionAES = "AES256"
	EncryptionKMS = "aws:kms"
)

// largeAtOnce bounds how many large files are on their way, each of which takes
// a part's memory. More are faster on a long way, fewer leave a small machine
// its memory; files that fit one request do not wait for them.
const largeAtOnce = 4

// A Sink puts uploads into one bucket.
type Sink struct {
	client    *minio.Client
	o         Options
	large     chan struct{} // a place for each large file on its way
	closeIdle func()        // connections
}

var _ uploads.Sink = (*Sink)(nil)

// Open checks the options and returns a sink. It does not speak to the store.
func Open(o Options) (*Sink, error) {
	if o.Limits == (stall.Limits{}) {
		o.Limits = stall.Default
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Prefix = strings.Trim(o.Prefix, "/")
	client, err := dial(&o)
	if err != nil {
		return nil, fmt.Errorf("object store %s: %w", o.Endpoint, err)
	}
	idle := http.Client{Transport: o.Transport}
	return &Sink{client: client, o: o, large: make(chan struct{}, largeAtOnce), closeIdle: idle.CloseIdleConnections}, nil
}

// dial makes the client, and the transport if there is none.
func dial(o *Options) (*minio.Client, error) {
	at, err := url.Parse(o.Endpoint)
	switch {
	case err != nil:
		return nil, err
	case at.Scheme != "http" && at.Scheme != "https" || at.Host == "" || strings.Trim(at.Path, "/") != "":
		return nil, errors.New("the endpoint must have the form https://host[:port]")
	}
	if err := s3utils.CheckValidBucketName(o.Bucket); err != nil {
		return nil, fmt.Errorf("bucket %q: %w", o.Bucket, err)
	}
	switch o.Encryption {
	case "", EncryptionAES, EncryptionKMS:
	default:
		return nil, fmt.Errorf("encryption %q: want %s or %s", o.Encryption, EncryptionAES, EncryptionKMS)
	}
	lookup, ok := map[string]minio.BucketLookupType{"": minio.BucketLookupAuto, "path": minio.BucketLookupPath, "virtual": minio.BucketLookupDNS}[o.Style]
	if !ok {
		return nil, fmt.Errorf("style %q: want path or virtual", o.Style)
	}
	if o.Transport == nil {
		if o.Transport, err = newTransport(at.Scheme == "https", o.CA); err != nil {
			return nil, err
		}
	}
	if o.Region == "" && !strings.HasSuffix(at.Hostname(), ".amazonaws.com") {
		o.Region = "us-east-1" // asking would need a permission more
	}
	return minio.New(at.Host, &minio.Options{
		Creds: o.credentials(), Secure: at.Scheme == "https", Transport: o.Transport,
		Region: o.Region, BucketLookup: lookup,
		TrailingHeaders: false, // some stores refuse every body that has them
		MaxRetries:      1,     // the relay decides when to try again
	})
}

func newTransport(secure bool, ca string) (*http.Transport, error) {
	t, err := minio.DefaultTransport(secure)
	if err != nil || ca == "" {
		return t, err
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, fmt.Errorf("read CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("CA %s holds no PEM certificate", ca)
	}
	if t.TLSClientConfig != nil {
		t.TLSClientConfig.RootCAs = pool
	}
	return t, nil
}

// Group implements [uploads.Sink]: a PUT carries one file.
func (s *Sink) Group() int { return 1 }

// Deliver implements [uploads.Sink].
func (s *Sink) Deliver(ctx context.Context, parcels []uploads.Parcel) []uploads.Delivery {
	out := make([]uploads.Delivery, len(parcels))
	for i, p := range parcels {
		if out[i].Err = s.put(ctx, p); out[i].Err == nil {
			at := time.Now().UTC().Truncate(time.Millisecond)
			out[i].Custody = []uploads.Custody{{Level: uploads.LevelStore, Beacon: s.o.Identity, At: at}}
		}
	}
	return out
}

// put delivers one file. A kept-alive connection that turns out to be dead
// costs one more attempt, here.
func (s *Sink) put(ctx context.Context, p uploads.Parcel) error {
	if p.Size > partSize {
		select {
		case s.large <- struct{}{}:
			defer func() { <-s.large }()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	stale, err := s.attempt(ctx, p)
	if stale && ctx.Err() == nil {
		s.closeIdle()
		_, err = s.attempt(ctx, p)
	}
	return err
}

// attempt reports, beside its error, whether it failed without an answer on a
// connection that had been kept alive.
func (s *Sink) attempt(ctx context.Context, p uploads.Parcel) (stale bool, err error) {
	if s.o.CreateOnly && p.Size > partSize {
		// Not every store heeds the condition where it completes an object in parts.
		if err := s.present(ctx, p.Upload); !errors.Is(err, uploads.ErrUnknown) {
			return false, err
		}
	}
	body, err := p.Open()
	if err != nil {
		return false, fmt.Errorf("open upload %d: %w", p.Seq, err)
	}
	defer body.Close()
	ctx, watch := stall.New(ctx, s.o.Limits)
	defer watch.Stop()
	var reused bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }})
	lent := uploads.Lend(uploads.Verify(body, p.Size, p.Digest))
	defer lent.TakeBack()
	info, err := s.send(ctx, p.Upload, lent, &progress{watch: watch, size: p.Size})
	if err != nil && s.o.CreateOnly && taken(err) {
		err = s.present(ctx, p.Upload)
		if errors.Is(err, uploads.ErrUnknown) {
			err = nil // it exists, and its name holds half of the digest
		}
		return false, err
	}
	if err != nil {
		_, unanswered := errors.AsType[*url.Error](err)
		return unanswered && reused && ctx.Err() == nil, judge(s.o.Bucket, stall.Cause(ctx, err))
	}
	if info.ETag == "" {
		return false, fmt.Errorf("put to bucket %s: the answer names no object: is there a proxy or portal in between?", s.o.Bucket)
	}
	return false, nil
}

// send puts a file that fits one request under its digest, which the store
// verifies, and a larger one in parts under their MD5s. Neither is signed
// piecewise, as the client would by itself over plain http: an empty file's last
// piece is taken for the next request by some stores, and the client closes such
// a body twice at once.
func (s *Sink) send(ctx context.Context, u uploads.Upload, body io.Reader, sent *progress) (minio.UploadInfo, error) {
	key := Key(s.o.Prefix, u)
	o, err := s.how()
	if err != nil {
		return minio.UploadInfo{}, err
	}
	o.UserMetadata, o.Progress = metadata(u, s.o.Identity), sent
	if s.o.CreateOnly {
		o.SetMatchETagExcept("*")
	}
	if u.Size <= partSize {
		return minio.Core{Client: s.client}.PutObject(ctx, s.o.Bucket, key, body, u.Size, "", u.Digest.String(), o)
	}
	o.PartSize, o.SendContentMd5 = partSize, true
	return s.client.PutObject(ctx, s.o.Bucket, key, body, u.Size, o)
}

// how is what all writes have in common.
func (s *Sink) how() (o minio.PutObjectOptions, err error) {
	o.ContentType, o.DisableContentSha256 = "application/octet-stream", true
	switch s.o.Encryption {
	case "":
	case EncryptionAES:
		o.ServerSideEncryption = encrypt.NewSSE()
	case EncryptionKMS:
		o.ServerSideEncryption, err = encrypt.NewSSEKMS(s.o.KMSKey, nil)
	}
	return o, err
}

// present says of an object that has a file's name whether it is this very
// file, or matches [uploads.ErrUnknown] if there is none. Whoever may not look
// cannot tell: that counts as none.
func (s *Sink) present(ctx context.Context, u uploads.Upload) error {
	key := Key(s.o.Prefix, u)
	info, err := s.client.StatObject(ctx, s.o.Bucket, key, minio.StatObjectOptions{})
	switch code := minio.ToErrorResponse(err).Code; {
	case code == minio.AccessDenied || code == minio.NoSuchKey:
		return fmt.Errorf("%w: %s", uploads.ErrUnknown, key)
	case err != nil:
		return fmt.Errorf("look for %s: %w", key, err)
	}
	if sum := info.UserMetadata["Sha256"]; sum != u.Digest.String() || info.Size != u.Size {
		return fmt.Errorf("%w: bucket %s holds other bytes as %s: somebody else wrote them", uploads.ErrRefused, s.o.Bucket, key)
	}
	return nil
}

// progress is told of bytes as they are sent.
type progress struct {
	watch *stall.Watch
	size  int64
	sent  int64
}

// Read implements [io.Reader] as the client wants it: p is what was sent.
func (w *progress) Read(p []byte) (int, error) {
	w.sent += int64(len(p))
	if w.sent >= w.size || w.sent%partSize == 0 { // each part is answered
		w.watch.Sent()
	} else {
		w.watch.Moved()
	}
	return len(p), nil
}

// judge says whose fault a failure is: the file's only if the store refuses
// what belongs to it, its key, its size or its bytes. All else, missing
// permissions and buckets among it, is the store's and is tried again.
func judge(bucket string, err error) error {
	if errors.Is(err, uploads.ErrDigest) || errors.Is(err, uploads.ErrUnknown) {
		return err
	}
	answer := minio.ToErrorResponse(err)
	switch answer.Code {
	case "KeyTooLongError", "InvalidObjectName", "XMinioInvalidObjectName", "EntityTooLarge", "MetadataTooLarge", "InvalidArgument":
		return fmt.Errorf("%w: put to bucket %s: %w", uploads.ErrRefused, bucket, err)
	case "BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch":
		return fmt.Errorf("%w: put to bucket %s: %w", uploads.ErrDigest, bucket, err)
	}
	return fmt.Errorf("put to bucket %s: %w", bucket, err)
}
