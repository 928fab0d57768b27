package desk_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"inventorybeacon/beacon/config"
	"inventorybeacon/beacon/desk"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/archive"
	"inventorybeacon/uploads/spool"
)

var at = time.Date(2026, 3, 10, 17, 27, 38, 0, time.UTC)

// stopped is the data directory of a beacon that ran once.
func stopped(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	s, err := spool.Open(filepath.Join(dir, config.SpoolDir), spool.Options{Spares: -1, SegmentBytes: 1 << 20})
	if err == nil {
		err = errors.Join(s.Close(), os.Mkdir(filepath.Join(dir, config.KeysDir), 0o700), os.WriteFile(filepath.Join(dir, config.NameFile), []byte(name+"\n"), 0o644))
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func entry(n int, change func(*archive.Entry)) (archive.Entry, string) {
	body := fmt.Sprint("log of ", n)
	e := archive.Entry{
		Seq: uint64(n), Kind: "Logs", Name: fmt.Sprintf("ws%d at 20260310T172738.log", n), Device: fmt.Sprintf("ws%d", n), Domain: "EXAMPLE",
		SHA256: uploads.DigestOf([]byte(body)), Bytes: int64(len(body)), Received: at, Beacon: "site",
	}
	if change != nil {
		change(&e)
	}
	return e, body
}

// packed makes an archive of entries, each changed in its way.
func packed(t *testing.T, changes ...func(*archive.Entry)) string {
	t.Helper()
	private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	var b bytes.Buffer
	w, err := archive.NewWriter(&b, archive.Header{Beacon: "site", Key: private.Public().(ed25519.PublicKey), Created: at}, func(b []byte) []byte { return ed25519.Sign(private, b) })
	for n, change := range changes {
		if err == nil {
			e, body := entry(n, change)
			err = w.Add(e, strings.NewReader(body))
		}
	}
	if err == nil {
		_, err = w.Close()
	}
	file := filepath.Join(t.TempDir(), "site.tar")
	if err := errors.Join(err, os.WriteFile(file, b.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	return file
}

// imported makes an import and returns what came of it, with the acknowledgement.
func imported(ctx context.Context, dir, file string) (out *desk.Imported, ack []byte, err error) {
	var b bytes.Buffer
	err = desk.ImportUploads.Ask(ctx, dir, desk.Import{Path: file}, &b)
	for steps := json.NewDecoder(&b); ; {
		var s desk.ImportStep
		if steps.Decode(&s) != nil {
			return out, ack, err
		}
		ack = append(ack, s.Line...)
		out = s.Imported
	}
}

func TestImportTellsAllThatIsBadAtOnce(t *testing.T) {
	dir := stopped(t, "centre")
	file := packed(t,
		nil,
		func(e *archive.Entry) { e.Kind = "Nonsense" },
		func(e *archive.Entry) { e.Name = "../etc/passwd" },
		func(e *archive.Entry) { e.Name = "ws3.exe" },
		func(e *archive.Entry) { e.Via = []string{"centre"} },
		func(e *archive.Entry) { e.Via = strings.Split("abcdefgh", "") },
		func(e *archive.Entry) { e.SHA256[0]++ },
		func(e *archive.Entry) { e.Device = "ws\x1b[2J" },
		func(e *archive.Entry) { e.Received = time.Time{} },
		func(e *archive.Entry) { e.Via = []string{"leaf"} },
		func(e *archive.Entry) { e.Received = time.Now().Add(time.Hour) },
	)
	out, ack, err := imported(t.Context(), dir, file)
	if err != nil || out == nil || out.New != 3 || out.Duplicate != 0 || len(out.Refused) != 8 {
		t.Fatalf("%+v, %v", out, err)
	}
	var places []string
	for _, r := range out.Refused {
		places = append(places, r.Place)
	}
	slices.Sort(places)
	for i, p := range places {
		if p != fmt.Sprintf("files/%09d", i+2) {
			t.Errorf("refused %q", places)
		}
	}
	a, err := archive.OpenAck(bytes.NewReader(ack), nil)
	if err != nil || a.Manifest.Files != 3 || a.Header.From != "site" || a.Header.Beacon != "centre" {
		t.Errorf("acknowledged %+v, %v", a, err)
	}

	s, err := spool.Open(filepath.Join(dir, config.SpoolDir), spool.Options{Spares: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, k := range s.Held(0, 10, nil) {
		u, _ := s.Lookup(k.Seq)
		if u.Beacon != "centre" || u.Via[len(u.Via)-1] != "site" || u.Received.After(time.Now()) || u.Device.Domain != "EXAMPLE" {
			t.Errorf("%+v", u)
		}
		if e, _ := entry(0, nil); u.Name.String() == e.Name && (!u.Received.Equal(at) || u.Digest != e.SHA256) {
			t.Errorf("%+v", u)
		}
	}
}

func TestImportIsRepeated(t *testing.T) {
	dir := stopped(t, "centre")
	file := packed(t, make([]func(*archive.Entry), 50)...)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if out, _, err := imported(ctx, dir, file); err == nil || out != nil {
		t.Errorf("interrupted: %+v, %v", out, err)
	}
	first, _, err := imported(t.Context(), dir, file)
	if err != nil || first.New+first.Duplicate != 50 {
		t.Fatalf("%+v, %v", first, err)
	}
	again, ack, err := imported(t.Context(), dir, file)
	if err != nil || again.New != 0 || again.Duplicate != 50 {
		t.Fatalf("%+v, %v", again, err)
	}
	if a, err := archive.OpenAck(bytes.NewReader(ack), nil); err != nil || a.Manifest.Files != 50 {
		t.Errorf("%+v, %v", a, err)
	}
}

// leaving gives up when it is told the first thing.
type leaving struct {
	bytes.Buffer
	cancel func()
}

func (l *leaving) Write(p []byte) (int, error) {
	l.cancel()
	return l.Buffer.Write(p)
}

// An import that fails half-way says why, to somebody who reads its steps.
func TestImportTellsWhyItStopped(t *testing.T) {
	dir := stopped(t, "centre")
	file := packed(t, make([]func(*archive.Entry), 50)...)
	ctx, cancel := context.WithCancel(t.Context())
	b := leaving{cancel: cancel}
	err := desk.ImportUploads.Ask(ctx, dir, desk.Import{Path: file}, &b)
	steps := strings.Split(strings.TrimSpace(b.String()), "\n")
	var last desk.ImportStep
	if jerr := json.Unmarshal([]byte(steps[len(steps)-1]), &last); jerr != nil || last.Stage != desk.ImportFailed || err == nil || last.Error != err.Error() {
		t.Errorf("%v, the last step: %+v", err, last)
	}
	err = desk.ImportUploads.Ask(t.Context(), dir, desk.Import{Path: dir}, &b)
	if err == nil {
		t.Error("a folder was imported")
	}
}

func TestStoppedBeaconNeedsItsName(t *testing.T) {
	dir := stopped(t, "centre")
	if err := os.Remove(filepath.Join(dir, config.NameFile)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := imported(t.Context(), dir, packed(t, nil)); err == nil || !strings.Contains(err.Error(), "--config") {
		t.Errorf("without a name: %v", err)
	}
	file := filepath.Join(t.TempDir(), "beacon.yaml")
	if err := os.WriteFile(file, []byte("name: centre\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := desk.ImportUploads.Ask(t.Context(), dir, desk.Import{Path: packed(t, nil), Config: file}, io.Discard); err != nil {
		t.Errorf("with its configuration: %v", err)
	}
}

func TestStoppedBeaconExports(t *testing.T) {
	dir := stopped(t, "centre")
	if _, _, err := imported(t.Context(), dir, packed(t, make([]func(*archive.Entry), 5)...)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		in   desk.Export
		want int
	}{
		{desk.Export{}, 5},
		{desk.Export{Limit: 2}, 2},
		{desk.Export{MaxBytes: 25}, 3}, // of 8 bytes each
		{desk.Export{Device: "example/WS3"}, 1},
		{desk.Export{Device: "OTHER/ws3"}, 0},
		{desk.Export{Kind: "logs"}, 5},
		{desk.Export{Kind: "UsageData"}, 0},
	} {
		var b bytes.Buffer
		err := desk.ExportUploads.Ask(t.Context(), dir, tt.in, &b)
		if err != nil {
			t.Fatal(err)
		}
		a, err := archive.Open(bytes.NewReader(b.Bytes()), nil)
		if err != nil || a.Manifest.Files != tt.want || a.Header.Beacon != "centre" {
			t.Errorf("%+v: %+v, %v", tt.in, a, err)
		}
	}
	if err := desk.ExportUploads.Ask(t.Context(), dir, desk.Export{Sink: "up"}, io.Discard); err == nil {
		t.Error("a stopped beacon knows a destination")
	}
}
