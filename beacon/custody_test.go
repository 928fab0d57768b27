package beacon_test

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"inventorybeacon/beacon/signing"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/custody"
	"inventorybeacon/uploads/directory"
	"inventorybeacon/uploads/relay"
	"inventorybeacon/uploads/spool"
)

// signs gives the site a key and returns its public part.
func (s *site) signs(t *testing.T) ed25519.PublicKey {
	t.Helper()
	dir := t.TempDir()
	key, err := signing.Open(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.Signer = key
	text, err := os.ReadFile(filepath.Join(dir, signing.PublicFile))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return public.(ed25519.PublicKey)
}

func TestReceiptIsGivenSigned(t *testing.T) {
	s := newSite(t)
	public := s.signs(t)
	var wanted []custody.File
	s.Wanted = func(f custody.File, holders []uploads.Custody) {
		wanted = append(wanted, f)
		if custody.Highest(holders) != uploads.LevelBeacon {
			t.Errorf("holders %v", holders)
		}
	}
	h := s.Handler()
	put := text(t, ask(h, "PUT", ndi, "one"))
	one := uploads.DigestOf([]byte("one")).String()
	for _, target := range []string{ndi + "?sha256=" + one, strings.ToLower(ndi) + "?sha256=" + strings.ToUpper(one)} {
		resp := ask(h, "GET", target, "")
		body := text(t, resp)
		if resp.StatusCode != 200 || resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %v", target, resp.StatusCode, resp.Header)
		}
		signature, err := base64.StdEncoding.DecodeString(resp.Header.Get("Beacon-Signature"))
		if err != nil || !ed25519.Verify(public, []byte(body), signature) {
			t.Errorf("%s: the signature %q does not agree with the body, %v", target, resp.Header.Get("Beacon-Signature"), err)
		}
		if body != put {
			t.Errorf("the receipt is\n%s, on the PUT it was\n%s", body, put)
		}
	}
	if len(wanted) != 2 || wanted[0].Digest.String() != one || wanted[0].Kind != "Inventories" {
		t.Errorf("wanted %v", wanted)
	}
}

// Without the digest an upload cannot be read, and a signature stands on nothing
// but a receipt.
func TestReceiptIsRefused(t *testing.T) {
	s := newSite(t)
	s.signs(t)
	h := s.Handler()
	ask(h, "PUT", ndi, "one")
	other := uploads.DigestOf([]byte("other")).String()
	for target, want := range map[string]struct {
		status int
		code   string
	}{
		ndi:                       {405, "method-not-allowed"},
		ndi + "?sha256=":          {405, "method-not-allowed"},
		ndi + "?sha256=abc":       {400, "bad-request"},
		ndi + "?sha256=" + other:  {404, "not-found"},
		ndi + "x?sha256=" + other: {415, "bad-kind"},
		"/ManageSoftRL/Inventories/%2e%2e?sha256=" + other: {400, "bad-name"},
	} {
		resp := ask(h, "GET", target, "")
		if resp.StatusCode != want.status || code(t, resp) != want.code || resp.Header.Get("Beacon-Signature") != "" {
			t.Errorf("%s: %d %v", target, resp.StatusCode, resp.Header)
		}
		if allow := resp.Header.Get("Allow"); (allow != "") != (want.status == 405) || strings.Contains(allow, "GET") {
			t.Errorf("%s: Allow: %q", target, allow)
		}
	}
}

// A file that was delivered a week ago, and whose place in the journal has long
// been used again, is still known: the repeat stores nothing and is relayed to
// nobody.
func TestRepeatIsKnownAWeekAfterDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		at := func() (*spool.Spool, func()) {
			sp, err := spool.Open(filepath.Join(dir, "spool"), spool.Options{
				SegmentBytes: 64 << 10, Recycle: true, Beacon: "beacon-1", Sinks: []spool.SinkName{{Name: "files", Required: true}},
			})
			if err != nil {
				t.Fatal(err)
			}
			sink, err := directory.Open(filepath.Join(dir, "relayed"), directory.Options{Identity: "beacon-1"})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			r := relay.New(relay.Options{Name: "files", Queue: sp, Sink: sink})
			go func() { done <- r.Run(ctx) }()
			return sp, func() {
				cancel()
				if err := <-done; !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				if err := errors.Join(sp.Close(), sink.Close()); err != nil {
					t.Error(err)
				}
			}
		}
		put := func(sp *spool.Spool, name, body string) (r uploads.Receipt) {
			s := newSite(t)
			s.Spool = sp
			resp := ask(s.Handler(), http.MethodPut, "/ManageSoftRL/Logs/"+url.PathEscape(name), body)
			if err := json.Unmarshal([]byte(text(t, resp)), &r); err != nil || resp.StatusCode != http.StatusOK {
				t.Fatalf("%s: %d, %v", name, resp.StatusCode, err)
			}
			return r
		}
		sp, stop := at()
		first := put(sp, "PC1 at 20261122T093000.log", "the same bytes")
		for i := range 40 { // fills segments, so that the first one is freed
			put(sp, "PC2 at 20261122T093000 ("+string(rune('a'+i%26))+string(rune('a'+i/26))+").log", strings.Repeat("x", 10_000))
			time.Sleep(time.Minute)
		}
		time.Sleep(7 * 24 * time.Hour)
		synctest.Wait()
		for range 2 { // of the running beacon, and of one that was restarted
			if st := sp.Stats(); st.Pending != 0 || st.Receipts == 0 {
				t.Errorf("the first file still lies in the journal: %+v", st)
			}
			again := put(sp, "pc1 AT 20261122T093000.log", "the same bytes")
			want := first
			want.Duplicate, want.Custody = true, again.Custody
			if !slices.Equal([]any{want.ID, want.Received, want.Duplicate}, []any{again.ID, again.Received, again.Duplicate}) || !custody.Reached(again.Custody, uploads.LevelStore) {
				t.Errorf("a week later: %+v, want %+v", again, want)
			}
			stop()
			sp, stop = at()
		}
		stop()
		files, err := fs.Glob(os.DirFS(dir), "relayed/Incoming/Logs/PC1*")
		if err != nil || len(files) != 1 {
			t.Errorf("relayed %q, %v", files, err)
		}
	})
}
