package beacon_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf16"

	"inventorybeacon/beacon"
	"inventorybeacon/beacon/config"
	"inventorybeacon/uploads"
	"inventorybeacon/uploads/content"
	"inventorybeacon/uploads/quarantine"
	"inventorybeacon/uploads/spool"
	"inventorybeacon/uploads/uploadstest"
)

func zipped(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, s)
	w.Close()
	return b.String()
}

const (
	inventory = `<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE Inventory PUBLIC "Inventory" "http://www.managesoft.com/inventory.dtd">
<Inventory Tracker="16.0" Scope="example.com" MachineName="pc1" Type="Full"><Hardware Class="x"/></Inventory>`
	usage = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE USAGE PUBLIC "USAGE" "http://www.managesoft.com/usagelog.dtd">
<USAGE VERSION="1.00" USAGEAGENT="14.2"><MD NAME="pc1" DOMAIN="example.com"/></USAGE>`
	ourAgent = `Beacon-Agent: id="a1", domain="EXAMPLE", name="pc1"`
)

func TestBadBeginningIsRefused(t *testing.T) {
	subset := strings.Replace(inventory, `.dtd"`, `.dtd" [<!ENTITY e "x">]`, 1)
	for _, tt := range []struct {
		name, kind, file, body string
		bad                    bool
	}{
		{"inventory", "Inventories", "pc1 at 20261122T101112.ndi", inventory, false},
		{"inventory, compressed", "Inventories", "pc1 at 20261122T101112.ndi.gz", zipped(inventory), false},
		{"usage", "UsageData", "pc1 at 20261122T101112.mmi.gz", zipped(usage), false},
		{"not compressed", "Inventories", "pc1 at 20261122T101112.ndi.gz", inventory, true},
		{"another root", "Inventories", "pc1 at 20261122T101112.ndi.gz", zipped(usage), true},
		{"a page", "UsageData", "pc1 at 20261122T101112.mmi", "<html><body>log in</body></html>", true},
		{"internal subset", "Inventories", "pc1 at 20261122T101112.ndi", subset, true},
		{"internal subset, compressed", "Inventories", "pc1 at 20261122T101112.ndi.gz", zipped(subset), true},
		{"nothing", "Inventories", "pc1 at 20261122T101112.ndi.gz", "", true},
		{"a log is anything", "Logs", "pc1 at 20261122T101112.log", "\x00", false},
		{"but not any archive", "Logs", "pc1 at 20261122T101112.zip", "Rar!", true},
		{"an archive", "Logs", "pc1 at 20261122T101112.zip", "PK\x03\x04", false},
	} {
		for _, who := range []struct {
			name    string
			rule    content.Rule
			headers []string
			refuses bool
		}{
			{"our agent", content.Default, []string{ourAgent}, true},
			{"old agent", content.Default, nil, false},
			{"beacon below", content.Default, []string{ourAgent, "Beacon-Via: child"}, false},
			{"old agent, refuse", content.Refuse, nil, true},
			{"our agent, flag", content.Flag, []string{ourAgent}, false},
			{"our agent, off", content.Off, []string{ourAgent}, false},
		} {
			t.Run(tt.name+"/"+who.name, func(t *testing.T) {
				s := newSite(t)
				s.Rules = content.Rules{strings.ToLower(tt.kind): who.rule}
				resp := ask(s.Handler(), "PUT", "/ManageSoftRL/"+tt.kind+"/"+url.PathEscape(tt.file), tt.body, who.headers...)
				status, word := 200, ""
				if tt.bad && who.refuses {
					status, word = 422, "bad-content"
				}
				if got := code(t, resp); resp.StatusCode != status || got != word {
					t.Fatalf("%d %q, want %d %q", resp.StatusCode, got, status, word)
				}
				if status != 200 {
					if len(s.spool.bodies) > 0 {
						t.Error("it was stored")
					}
				} else if _, body := s.spool.last(t); body != tt.body {
					t.Errorf("%d bytes were stored of %d", len(body), len(tt.body))
				}
			})
		}
	}
}

// upload puts a file on a beacon that runs, and returns the status.
func upload(t *testing.T, base, kind, file, body string, headers ...string) int {
	t.Helper()
	req, err := http.NewRequest(http.MethodPut, base+"/ManageSoftRL/"+kind+"/"+url.PathEscape(file), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// arrived reports whether a file was relayed.
func arrived(dir, kind, file string) bool {
	_, err := os.Stat(filepath.Join(dir, config.RelayedDir, "Incoming", kind, file))
	return err == nil
}

func TestAnswerDoesNotWaitForTheCheck(t *testing.T) {
	dir := t.TempDir()
	begun, finish := make(chan struct{}), make(chan struct{})
	at, _ := start(t, beacon.Options{Config: load(t, dir, config.Flags{}), Check: func(ctx context.Context, u uploads.Upload, _ uploads.Body) error {
		close(begun)
		select {
		case <-finish:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}})
	const file, other = "pc1 at 20261122T101112.ndi.gz", "pc1 at 20261122T101112.log"
	if status := upload(t, at.Agents[0], "Inventories", file, zipped(inventory), ourAgent); status != 200 {
		t.Fatalf("%d while the check is not done", status)
	}
	<-begun
	if status := upload(t, at.Agents[0], "Logs", other, "x", ourAgent); status != 200 {
		t.Fatalf("%d while a check is going on", status)
	}
	eventually(t, "what needs no check is relayed", func() bool { return arrived(dir, "Logs", other) })
	if arrived(dir, "Inventories", file) {
		t.Error("a file was relayed that is not checked")
	}
	close(finish)
	eventually(t, "the file is relayed", func() bool { return arrived(dir, "Inventories", file) })
}

// bomb is a document that inflates to some bytes of spaces behind its root.
func bomb(t *testing.T, size int) string {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, inventory[:len(inventory)-len("</Inventory>")])
	spaces := strings.Repeat("<a/>"+strings.Repeat(" ", 1020), 1024)
	io.WriteString(w, spaces)
	w.Flush()
	first := b.Len()
	io.WriteString(w, spaces)
	w.Flush()
	again := b.String()[first:] // the same wherever the same is before
	return "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + b.String() + strings.Repeat(again, size>>20)
}

func utf16le(s string) string {
	b := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(s)) {
		b = append(b, byte(u), byte(u>>8))
	}
	return string(b)
}

// laughing puts entities before a document that grow tenfold nine times over.
func laughing(document string) string {
	var b strings.Builder
	b.WriteString(`<!DOCTYPE Inventory [<!ENTITY a0 "ha">`)
	for i := range 9 {
		fmt.Fprintf(&b, `<!ENTITY a%d "%s">`, i+1, strings.Repeat(fmt.Sprintf("&a%d;", i), 10))
	}
	return b.String() + "]>" + strings.Replace(document, "<Hardware", "&a9;<Hardware", 1)
}

func TestAttacksEndInQuarantine(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var called atomic.Int32
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			called.Add(1)
			c.Close()
		}
	}()
	outside := "http://" + listener.Addr().String() + "/x.dtd"
	pipe, opened := trap(t)
	inside := inventory[strings.Index(inventory, "<Inv"):]
	dir := t.TempDir()
	c := load(t, dir, config.Flags{})
	c.Kinds = map[string]config.Kind{"Inventories": {Max: 24 << 20}}
	at, _ := start(t, beacon.Options{Config: c})
	type attack struct {
		name, body string
		status     int // for our agent
	}
	attacks := []attack{
		{"a megabyte that is a gigabyte", bomb(t, 1<<30), 200},
		{"a million nested elements", zipped(inventory[:len(inventory)-12] + strings.Repeat("<a>", 1e6)), 200},
		{"entities of entities", laughing(inside), 422},
		{"an entity that is a file", `<!DOCTYPE Inventory [<!ENTITY e SYSTEM "file://` + pipe + `">]>` + strings.Replace(inside, "<Hardware", "&e;<Hardware", 1), 422},
		{"an entity that is elsewhere", `<!DOCTYPE Inventory [<!ENTITY e SYSTEM "` + outside + `">]>` + strings.Replace(inside, "<Hardware", "&e;<Hardware", 1), 422},
		{"a subset that is elsewhere", `<!DOCTYPE Inventory SYSTEM "` + outside + `" [<!ENTITY % p SYSTEM "` + outside + `">%p;]>` + inside, 422},
		{"an entity that is nowhere", strings.Replace(inventory, "<Hardware", "&e;<Hardware", 1), 200},
		{"shells in shells", zipped(zipped(zipped(inventory))), 422},
		{"something behind the end", zipped(inventory) + "garbage", 200},
		{"the half of it", zipped(inventory + fmt.Sprintf("<!--%x-->", uploadstest.Noise(9000, 1)))[:6000], 200},
	}
	harmless := []attack{
		{"a document type that is elsewhere", `<!DOCTYPE Inventory SYSTEM "` + outside + `">` + inside, 200},
		{"a document type that is a file", `<!DOCTYPE Inventory PUBLIC "x" "file://` + pipe + `">` + inside, 200},
		{"two members", zipped(inventory[:100]) + zipped(inventory[100:]), 200},
		{"UTF-16", utf16le(strings.Replace(inventory, "utf-8", "utf-16", 1)), 200},
		{"many elements side by side", zipped(inventory[:len(inventory)-12] + strings.Repeat("<a/>", 2e5) + "</Inventory>"), 200},
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	name := func(device string, n int, body string) string {
		return fmt.Sprintf("%s%d at 20261122T101112.ndi", device, n) + map[bool]string{true: ".gz"}[strings.HasPrefix(body, "\x1f\x8b")]
	}
	late := 0
	for i, a := range attacks {
		if status := upload(t, at.Agents[0], "Inventories", name("new", i, a.body), a.body, ourAgent); status != a.status {
			t.Errorf("%s: %d, want %d", a.name, status, a.status)
		}
		if a.status == 200 {
			late++
		}
		if status := upload(t, at.Agents[0], "Inventories", name("old", i, a.body), a.body); status != 200 {
			t.Errorf("%s, of an old agent: %d", a.name, status)
		}
	}
	for i, a := range harmless {
		if status := upload(t, at.Agents[0], "Inventories", name("good", i, a.body), a.body, ourAgent); status != a.status {
			t.Errorf("%s: %d, want %d", a.name, status, a.status)
		}
	}
	for i, a := range harmless {
		eventually(t, a.name+" is relayed", func() bool { return arrived(dir, "Inventories", name("good", i, a.body)) })
	}
	for i, a := range attacks {
		eventually(t, a.name+", of an old agent, is relayed", func() bool { return arrived(dir, "Inventories", name("old", i, a.body)) })
		if arrived(dir, "Inventories", name("new", i, a.body)) {
			t.Errorf("%s was relayed", a.name)
		}
	}
	eventually(t, "what was found late is in quarantine", func() bool {
		sidecars, err := filepath.Glob(filepath.Join(dir, config.QuarantineDir, "*.json"))
		return err == nil && len(sidecars) == late
	})
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 96<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
	if n := called.Load(); n > 0 {
		t.Errorf("%d connections were made", n)
	}
	if opened() {
		t.Error("a file was opened that a document named")
	}
	if conn, err := net.DialTimeout("tcp", listener.Addr().String(), time.Second); err != nil {
		t.Errorf("the listener would not have noticed: %v", err)
	} else {
		conn.Close()
	}
}

// A file that was out of quarantine when the process ended, and in the spool
// again, is in one place after the next start.
func TestInterruptedReleaseIsFinished(t *testing.T) {
	dir := t.TempDir()
	c := load(t, dir, config.Flags{})
	c.Relay = []config.Relay{{Name: "hub", Beacon: &config.Parent{URL: "http://127.0.0.1:1/ManageSoftRL"}}}
	b, err := beacon.Open(t.Context(), beacon.Options{Config: c})
	if err != nil {
		t.Fatal(err)
	}
	var kept uploads.Upload
	for i, released := range []bool{true, false} {
		name, err := uploads.ParseName(fmt.Sprintf("pc%d.ndi", i))
		if err != nil {
			t.Fatal(err)
		}
		receipt, err := b.Spool().Accept(t.Context(), draftOf(name, released), strings.NewReader("bad"))
		if err != nil {
			t.Fatal(err)
		}
		kept = uploads.Upload{Kind: receipt.Kind, Name: name, Digest: receipt.SHA256, Size: receipt.Bytes}
		if err := b.Quarantine().Keep(kept, uploadstest.Body([]byte("bad")), "content check", "why"); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if b, err = beacon.Open(t.Context(), beacon.Options{Config: c}); err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	left, err := b.Quarantine().List(false)
	if err != nil || len(left) != 1 || left[0].Name != kept.Name {
		t.Errorf("%+v, %v; what was not released stays", left, err)
	}
	if u := b.Quarantine().Usage(); u != (quarantine.Usage{Files: 1, Bytes: 3, Oldest: u.Oldest}) {
		t.Errorf("%+v", u)
	}
}

func draftOf(name uploads.Name, released bool) spool.Draft {
	return spool.Draft{Kind: "Inventories", Name: name, AgentID: "a1", Length: -1, Released: released}
}
