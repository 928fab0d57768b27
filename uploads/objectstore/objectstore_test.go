package objectstore_test

import (
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/objectstore"
	"inventorybeacon/uploads/uploadstest"
)

const bucket = "uploads"

// store is a real S3 server behind a proxy, with one bucket.
type store struct {
	*uploadstest.S3
	proxy  *uploadstest.Proxy
	client *minio.Client // another hand than the sink's
}

func newStore(t *testing.T) *store {
	t.Helper()
	s := &store{S3: uploadstest.NewS3(t)}
	s.proxy = uploadstest.NewProxy(t, "unix", s.Socket)
	direct := uploadstest.NewProxy(t, "unix", s.Socket)
	var err error
	s.client, err = minio.New(direct.Addr, &minio.Options{Creds: credentials.NewStaticV4(s.AccessKey, s.SecretKey, ""), Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.client.MakeBucket(t.Context(), bucket, minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *store) options() objectstore.Options {
	return objectstore.Options{
		Endpoint: "http://" + s.proxy.Addr, Bucket: bucket, Prefix: "/fleet/", Style: "path",
		AccessKey: s.AccessKey, SecretKey: s.SecretKey, Limits: uploadstest.Limits, Identity: "b1",
	}
}

func open(t *testing.T, o objectstore.Options) *objectstore.Sink {
	t.Helper()
	s, err := objectstore.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// held reads everything back.
func (s *store) held(t *testing.T) (out []uploadstest.Holding) {
	t.Helper()
	for o := range s.client.ListObjects(t.Context(), bucket, minio.ListObjectsOptions{Recursive: true}) {
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		r, err := s.client.GetObject(t.Context(), bucket, o.Key, minio.GetObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		out = append(out, uploadstest.Holding{Kind: strings.Split(o.Key, "/")[1], Digest: uploads.DigestOf(b)})
	}
	return out
}

func TestSinkConforms(t *testing.T) {
	uploadstest.TestSink(t, func(t *testing.T) *uploadstest.Destination {
		s := newStore(t)
		return &uploadstest.Destination{
			Proxy: s.proxy, Level: uploads.LevelStore, Held: s.held,
			Open: func(t *testing.T) uploads.Sink { return open(t, s.options()) },
			Plant: func(t *testing.T, u uploads.Upload, data []byte) {
				_, err := s.client.PutObject(t.Context(), bucket, objectstore.Key("fleet", u), strings.NewReader(string(data)), int64(len(data)), minio.PutObjectOptions{})
				if err != nil {
					t.Fatal(err)
				}
			},
			Break: func(*testing.T) func() {
				s.proxy.Set(uploadstest.Fault{Refuse: true})
				return func() { s.proxy.Set(uploadstest.Fault{}) }
			},
		}
	})
}

func TestSinkWritesMetadata(t *testing.T) {
	s := newStore(t)
	p := uploadstest.Parcel(t, "Inventories", "BÜRO 7 at 20261122T093000.ndi.gz", []byte("x"))
	p.Device, p.Via = uploads.Device{Domain: "EXAMPLE", Name: "BÜRO 7"}, []string{"child 1"}
	if got := open(t, s.options()).Deliver(t.Context(), []uploads.Parcel{p}); got[0].Err != nil {
		t.Fatal(got[0].Err)
	}
	info, err := s.client.StatObject(t.Context(), bucket, objectstore.Key("fleet", p.Upload), minio.StatObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"Sha256": p.Digest.String(), "Device": "B%C3%9CRO%207", "Domain": "EXAMPLE", "Agent": "a1", "Beacon": "b1",
		"Via": "child%201", "Received": "2026-11-22T09:30:00Z", "Name": "B%C3%9CRO%207%20at%2020261122T093000.ndi.gz",
	} {
		if got := info.UserMetadata[key]; got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
}

// What is the store's fault must never cost a file: it is tried again.
func TestSinkRetriesWhatIsTheStoresFault(t *testing.T) {
	s := newStore(t)
	p := uploadstest.Parcel(t, "Inventories", "PC1 at 20261122T093000.ndi.gz", []byte("x"))
	for name, change := range map[string]func(*objectstore.Options){
		"no such bucket":    func(o *objectstore.Options) { o.Bucket = "nowhere" },
		"wrong secret":      func(o *objectstore.Options) { o.SecretKey = "guess" },
		"unknown key":       func(o *objectstore.Options) { o.AccessKey = "nobody" },
		"nobody listens":    func(o *objectstore.Options) { o.Endpoint = "http://127.0.0.1:1" },
		"no credentials":    func(o *objectstore.Options) { o.AccessKey, o.CredentialsFile = "", filepath.Join(t.TempDir(), "none") },
		"right, as a check": nil,
	} {
		t.Run(name, func(t *testing.T) {
			o := s.options()
			if change != nil {
				change(&o)
			}
			got := open(t, o).Deliver(t.Context(), []uploads.Parcel{p})
			if (got[0].Err == nil) != (change == nil) || errors.Is(got[0].Err, uploads.ErrRefused) {
				t.Errorf("Deliver: %v", got[0].Err)
			}
		})
	}
}

func TestSinkReadsCredentials(t *testing.T) {
	s := newStore(t)
	file := filepath.Join(t.TempDir(), "credentials")
	text := "[relay]\naws_access_key_id = " + s.AccessKey + "\naws_secret_access_key = " + s.SecretKey + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", s.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s.SecretKey)
	for name, from := range map[string]objectstore.Options{"file": {CredentialsFile: file, Profile: "relay"}, "environment": {}} {
		t.Run(name, func(t *testing.T) {
			o := s.options()
			o.AccessKey, o.SecretKey = "", ""
			o.CredentialsFile, o.Profile = from.CredentialsFile, from.Profile
			if got := open(t, o).Deliver(t.Context(), []uploads.Parcel{uploadstest.Parcel(t, "Logs", "PC1.log", []byte("x"))}); got[0].Err != nil {
				t.Error(got[0].Err)
			}
		})
	}
}

// answering is a store that gives every request the same answer.
func answering(t *testing.T, status int, code string) objectstore.Options {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		io.WriteString(w, "<Error><Code>"+code+"</Code><Message>no</Message></Error>")
	}))
	t.Cleanup(srv.Close)
	return objectstore.Options{Endpoint: srv.URL, Bucket: bucket, AccessKey: "a", SecretKey: "b"}
}

func TestSinkJudgesAnswers(t *testing.T) {
	p := uploadstest.Parcel(t, "Inventories", "PC1 at 20261122T093000.ndi.gz", []byte("x"))
	for _, tt := range []struct {
		status int
		code   string
		want   error // nil: try again
	}{
		{400, "KeyTooLongError", uploads.ErrRefused},
		{400, "EntityTooLarge", uploads.ErrRefused},
		{400, "BadDigest", uploads.ErrDigest},
		{403, "AccessDenied", nil},
		{403, "SignatureDoesNotMatch", nil},
		{403, "RequestTimeTooSkewed", nil},
		{404, "NoSuchBucket", nil},
		{400, "ExpiredToken", nil},
		{503, "SlowDown", nil},
		{500, "InternalError", nil},
	} {
		t.Run(tt.code, func(t *testing.T) {
			err := open(t, answering(t, tt.status, tt.code)).Deliver(t.Context(), []uploads.Parcel{p})[0].Err
			verdict := errors.Is(err, uploads.ErrRefused) || errors.Is(err, uploads.ErrDigest)
			if err == nil || verdict != (tt.want != nil) || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("Deliver: %v, want %v", err, tt.want)
			}
		})
	}
}

func TestSinkTrustsOnlyItsCA(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("ETag", `"x"`)
	}))
	defer srv.Close()
	o := objectstore.Options{Endpoint: srv.URL, Bucket: bucket, AccessKey: "a", SecretKey: "b"}
	p := uploadstest.Parcel(t, "Logs", "PC1.log", []byte("x"))
	if got := open(t, o).Deliver(t.Context(), []uploads.Parcel{p}); got[0].Err == nil {
		t.Error("delivered to a store that nobody vouches for")
	}
	o.CA = writeCA(t, srv)
	if got := open(t, o).Deliver(t.Context(), []uploads.Parcel{p}); got[0].Err != nil {
		t.Error(got[0].Err)
	}
}

func TestOpenRefusesMistakes(t *testing.T) {
	good := objectstore.Options{Endpoint: "https://s3.example.com", Bucket: bucket, AccessKey: "a", SecretKey: "b"}
	if _, err := objectstore.Open(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*objectstore.Options){
		"no scheme":  func(o *objectstore.Options) { o.Endpoint = "s3.example.com" },
		"path":       func(o *objectstore.Options) { o.Endpoint += "/bucket" },
		"no bucket":  func(o *objectstore.Options) { o.Bucket = "" },
		"bad bucket": func(o *objectstore.Options) { o.Bucket = "no such/bucket" },
		"style":      func(o *objectstore.Options) { o.Style = "fancy" },
		"missing CA": func(o *objectstore.Options) { o.CA = filepath.Join(t.TempDir(), "none.pem") },
	} {
		t.Run(name, func(t *testing.T) {
			o := good
			change(&o)
			if _, err := objectstore.Open(o); err == nil {
				t.Error("opened")
			}
		})
	}
}

func TestKey(t *testing.T) {
	digest, err := uploads.ParseDigest(strings.Repeat("0123456789abcdef", 4))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		prefix, name string
		device       uploads.Device
		want         string
	}{
		{"", "PC1 at 20261122T093000 (Full).ndi.gz", uploads.Device{Domain: "EX", Name: "PC1"}, "Inventories/date=2026-11-22/EX/PC1/PC1 at 20261122T093000 (Full)~0123456789abcdef.ndi.gz"},
		{"a/b", "some.ndi", uploads.Device{}, "a/b/Inventories/date=unknown/_unknown/_unknown/some~0123456789abcdef.ndi"},
		{"p", "x.ndi", uploads.Device{Name: "../etc"}, "p/Inventories/date=unknown/_unknown/%2E%2E%2Fetc/x~0123456789abcdef.ndi"},
		{"p", "x.ndi", uploads.Device{Domain: "..", Name: "a/b"}, "p/Inventories/date=unknown/%2E%2E/a%2Fb/x~0123456789abcdef.ndi"},
	} {
		u := uploadstest.Upload(t, "Inventories", tt.name, nil)
		u.Device, u.Digest = tt.device, digest
		if got := objectstore.Key(tt.prefix, u); got != tt.want {
			t.Errorf("Key(%q, %q, %v) = %q, want %q", tt.prefix, tt.name, tt.device, got, tt.want)
		}
	}
}

// writeCA writes the test server's certificate as a CA file.
func writeCA(t *testing.T, srv *httptest.Server) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
