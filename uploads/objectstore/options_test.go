package objectstore_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/objectstore"
	"inventorybeacon/uploads/uploadstest"
)

func TestCreateOnlyReplacesNothing(t *testing.T) {
	s := newStore(t)
	o := s.options()
	o.CreateOnly = true
	sink := open(t, o)
	for _, size := range []int{10, 17 << 20} { // in one request, and in parts
		p := uploadstest.Parcel(t, "Logs", "PC1 at 20261122T093000.log", make([]byte, size))
		for range 2 {
			if got := sink.Deliver(t.Context(), []uploads.Parcel{p}); got[0].Err != nil {
				t.Fatalf("%d bytes: %v", size, got[0].Err)
			}
		}
		key := objectstore.Key("fleet", p.Upload)
		if _, err := s.client.PutObject(t.Context(), bucket, key, strings.NewReader("forged"), 6, minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
		if got := sink.Deliver(t.Context(), []uploads.Parcel{p}); !errors.Is(got[0].Err, uploads.ErrRefused) {
			t.Errorf("%d bytes over somebody else's: %v", size, got[0].Err)
		}
		if got := open(t, s.options()).Deliver(t.Context(), []uploads.Parcel{p}); got[0].Err != nil {
			t.Errorf("%d bytes, replacing: %v", size, got[0].Err)
		}
	}
}

// role is what a machine of a cloud is told of its role.
func role(t *testing.T, access, secret string) *httptest.Server {
	const path = "/latest/meta-data/iam/security-credentials/"
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/latest/api/token":
			io.WriteString(w, "token")
		case path:
			io.WriteString(w, "relay")
		case path + "relay":
			json.NewEncoder(w).Encode(map[string]any{"Code": "Success", "AccessKeyId": access, "SecretAccessKey": secret, "Token": "", "Expiration": time.Now().Add(time.Hour)})
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	return srv
}

func TestSinkTakesTheRoleOfItsMachine(t *testing.T) {
	s := newStore(t)
	for _, v := range []string{"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"} {
		t.Setenv(v, "")
	}
	for secret, good := range map[string]bool{s.SecretKey: true, "guess": false} {
		o := s.options()
		o.AccessKey, o.SecretKey, o.InstanceRole, o.RoleEndpoint = "", "", true, role(t, s.AccessKey, secret).URL
		got := open(t, o).Deliver(t.Context(), []uploads.Parcel{uploadstest.Parcel(t, "Logs", "PC1.log", []byte("x"))})
		if (got[0].Err == nil) != good {
			t.Errorf("with the role's secret %v: %v", good, got[0].Err)
		}
	}
}

func TestRoleIsAskedForWhereTheEnvironmentSays(t *testing.T) {
	for _, tt := range []struct{ name, value, want string }{
		{"", "", "http://169.254.169.254"},
		{"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/x", "http://169.254.170.2"},
		{"AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:7/x", "http://127.0.0.1:7/x"},
		{"AWS_WEB_IDENTITY_TOKEN_FILE", "/token", "https://sts.eu-west-1.amazonaws.com"},
	} {
		for _, v := range []string{"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_REGION"} {
			t.Setenv(v, "")
		}
		if tt.name != "" {
			t.Setenv(tt.name, tt.value)
		}
		if got := objectstore.RoleHosts("eu-west-1"); got[0] != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestSinkAsksForEncryption(t *testing.T) {
	var got http.Header
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		io.Copy(io.Discard, r.Body)
		w.Header().Set("ETag", `"x"`)
	}))
	defer srv.Close()
	for _, tt := range []struct{ how, key, header, id string }{
		{"", "", "", ""},
		{objectstore.EncryptionAES, "", "AES256", ""},
		{objectstore.EncryptionKMS, "fleet", "aws:kms", "fleet"},
	} {
		o := objectstore.Options{Endpoint: srv.URL, Bucket: bucket, AccessKey: "a", SecretKey: "b", Encryption: tt.how, KMSKey: tt.key}
		d := open(t, o).Deliver(t.Context(), []uploads.Parcel{uploadstest.Parcel(t, "Logs", "PC1.log", []byte("x"))})
		if d[0].Err != nil || got.Get("X-Amz-Server-Side-Encryption") != tt.header || got.Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id") != tt.id {
			t.Errorf("%q: %v, headers %v", tt.how, d[0].Err, got)
		}
	}
	if _, err := objectstore.Open(objectstore.Options{Endpoint: srv.URL, Bucket: bucket, Encryption: "rot13"}); err == nil {
		t.Error("an unknown encryption was taken")
	}
}

func TestCheckTriesTheBucket(t *testing.T) {
	s := newStore(t)
	for _, tt := range []struct {
		name   string
		change func(*objectstore.Options)
		failed int
	}{
		{"as it should be", func(*objectstore.Options) {}, 0},
		{"create only", func(o *objectstore.Options) { o.CreateOnly = true }, 0},
		{"no bucket", func(o *objectstore.Options) { o.Bucket = "nowhere" }, 1},
		{"wrong secret", func(o *objectstore.Options) { o.SecretKey = "guess" }, 1},
		{"nobody listens", func(o *objectstore.Options) { o.Endpoint = "http://127.0.0.1:1" }, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := s.options()
			tt.change(&o)
			failed := 0
			for _, f := range open(t, o).Check(t.Context()) {
				if f.Err != nil {
					failed++
				}
				if f.Err != nil && f.Detail == "" {
					t.Errorf("%s: %v, and nothing to do about it", f.What, f.Err)
				}
			}
			if failed != tt.failed {
				t.Errorf("%d findings are bad, want %d", failed, tt.failed)
			}
		})
	}
	if left := s.held(t); len(left) != 0 {
		t.Errorf("%d objects were left behind", len(left))
	}
}

// A store that replaces objects whatever it is asked is told of.
func TestCheckFindsStoresWithoutConditions(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("ETag", `"x"`)
	}))
	defer srv.Close()
	for _, on := range []bool{false, true} {
		sink := open(t, objectstore.Options{Endpoint: srv.URL, Bucket: bucket, AccessKey: "a", SecretKey: "b", CreateOnly: on})
		found := false
		for _, f := range sink.Check(t.Context()) {
			if strings.Contains(f.What, "refuse") {
				found = f.Err != nil && f.Optional == !on
			}
		}
		if !found {
			t.Errorf("create only %v: not found out", on)
		}
	}
}
