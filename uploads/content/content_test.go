package content_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/content"
	"inventorybeacon/uploads/document"
)

const (
	ndi = `<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE Inventory PUBLIC "Inventory" "http://www.managesoft.com/inventory.dtd">
<Inventory Tracker="16.0" Scope="example.com" MachineName="ws1" Type="Full"><Hardware Class="x"/></Inventory>`
	mmi = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE USAGE PUBLIC "USAGE" "http://www.managesoft.com/usagelog.dtd">
<USAGE VERSION="1.00"><MD NAME="ws1" DOMAIN="example.com"/></USAGE>`
	subset = `<!DOCTYPE Inventory [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><Inventory MachineName="ws1">&b;</Inventory>`
)

func named(t testing.TB, s string) uploads.Name {
	t.Helper()
	n, err := uploads.ParseName(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func zipped(parts ...string) string {
	var b bytes.Buffer
	for _, p := range parts {
		w := gzip.NewWriter(&b)
		io.WriteString(w, p)
		w.Close()
	}
	return b.String()
}

func check(t testing.TB, name, body string) error {
	t.Helper()
	return content.Check(t.Context(), named(t, name), strings.NewReader(body), int64(len(body)), uploads.DefaultMaxBytes)
}

func head(t testing.TB, name, body string) (document.Root, error) {
	t.Helper()
	n := min(len(body), content.HeadBytes)
	return content.Head(named(t, name), []byte(body[:n]), n == len(body))
}

// real is an inventory of some size.
func real(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile("../../testdata/inventories/debian12.ndi")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSoundFilesPass(t *testing.T) {
	long := strings.Replace(ndi, "<Hardware", "<!--"+strings.Repeat(" x", 200<<10)+"--><Hardware", 1)
	for name, body := range map[string]string{
		"a.ndi": ndi, "b.NDI": ndi, "a.ndi.gz": zipped(ndi), "members.ndi.gz": zipped(ndi[:50], "", ndi[50:]), "long.ndi.gz": zipped(long),
		"a.mmi": mmi, "a.mmi.gz": zipped(mmi), "real.ndi": real(t), "real.ndi.GZ": zipped(real(t)),
		"a.log": "anything\x00", "a.log.gz": zipped("anything"), "empty.log": "", "empty.log.gz": zipped(""),
		"padded.ndi.gz": zipped(ndi) + strings.Repeat("\x00", 10<<10), "padded.log.gz": zipped("x", "y") + "\x00", "widely.log.gz": zipped("x") + strings.Repeat("\x00", 1<<20),
		"a.zip": "PK\x03\x04…", "empty.zip": "PK\x05\x06" + strings.Repeat("\x00", 18), "a.zip.gz": zipped("PK\x03\x04…"),
		"a.xml": "not looked at", "a.ndjson": "", "noextension": "x",
		"late.ndi":    "<!--" + strings.Repeat(" x", 3000) + "-->" + ndi[strings.Index(ndi, "<Inv"):],
		"late.ndi.gz": zipped("<!--" + noise(8000) + "-->" + ndi[strings.Index(ndi, "<Inv"):]),
	} {
		if _, err := head(t, name, body); err != nil {
			t.Errorf("%s, head: %v", name, err)
		}
		if err := check(t, name, body); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// noise does not compress well.
func noise(n int) string {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = 'a' + byte(r.IntN(26))
	}
	return string(b)
}

func TestBadFilesAreFound(t *testing.T) {
	garbled := []byte(zipped(strings.Repeat(ndi, 1)))
	garbled[len(garbled)-6] ^= 1
	for _, tt := range []struct {
		name, body string
		early      bool // the first bytes show it
	}{
		{"empty.ndi", "", true}, {"empty.ndi.gz", "", true}, {"empty.zip", "", true},
		{"text.ndi", "hello", true}, {"text.ndi.gz", "hello", true}, {"page.ndi", "<html><body/></html>", true},
		{"plain.ndi.gz", ndi, true}, {"zipped.ndi", zipped(ndi), true}, {"twice.ndi.gz", zipped(zipped(ndi)), true},
		{"usage.ndi", mmi, true}, {"inventory.mmi.gz", zipped(ndi), true},
		{"subset.ndi", subset, true}, {"subset.ndi.gz", zipped(subset), true},
		{"other.zip", "Rar!…", true}, {"short.zip", "PK", true}, {"other.zip.gz", zipped("Rar!…"), true}, {"text.log.gz", "hello", true},
		{"half.gz", "\x1f\x8b", true},
		{"cut.ndi", ndi[:len(ndi)-3], false}, {"cut.ndi.gz", zipped(real(t))[:1200], false}, {"cut2.ndi.gz", zipped(real(t) + noise(9000))[:5000], false}, {"cut.log.gz", zipped(noise(9000))[:5000], false},
		{"garbage.ndi.gz", zipped(ndi) + "garbage", false}, {"garbage.log.gz", zipped("x") + "g", false},
		{"padded.ndi.gz", zipped(ndi) + strings.Repeat("\x00", 512) + "g", false}, {"another.log.gz", zipped("x") + "\x00" + zipped("x"), false},
		{"padding.log.gz", zipped("x") + strings.Repeat("\x00", 2<<20), false}, {"garbled.ndi.gz", string(garbled), false},
		{"behind.ndi", ndi + "<x/>", false}, {"behind.ndi.gz", zipped(ndi, ndi), false}, {"open.ndi", strings.Replace(ndi, "/>", ">", 1), false},
		{"late.ndi.gz", zipped("<!--" + noise(8000) + "-->" + subset), false},
	} {
		_, err := head(t, tt.name, tt.body)
		if errors.Is(err, uploads.ErrContent) != tt.early {
			t.Errorf("%s, head: %v", tt.name, err)
		}
		err = check(t, tt.name, tt.body)
		if !errors.Is(err, uploads.ErrContent) || content.Words(err) == "" {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestFindingsQuoteNothing(t *testing.T) {
	const evil = "\x1b[31mevil"
	for _, body := range []string{"<" + evil + "/>", "<!DOCTYPE x SYSTEM 'evil'><evil/>", "<Inventory evil='\x1b'/>", "<Inventory>&evil;</Inventory>", "<?xml version='1.0' encoding='evil'?><a/>"} {
		err := check(t, "a.ndi", body)
		if err == nil || strings.Contains(err.Error(), "evil") || strings.ContainsRune(err.Error(), 0x1b) {
			t.Errorf("%q: %q", body, err)
		}
	}
}

func TestHeadSaysWhoseItIs(t *testing.T) {
	want := document.Root{Name: "Inventory", Machine: "ws1", Scope: "example.com"}
	for name, body := range map[string]string{"a.ndi": ndi, "a.ndi.gz": zipped(ndi), "b.ndi.gz": zipped(ndi[:len(ndi)-12] + noise(9000))} {
		if got, err := head(t, name, body); err != nil || got != want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestLimitOnWhatInflates(t *testing.T) {
	repeated := "<Inventory>" + strings.Repeat("<a/>", 1<<19) + "</Inventory>" // which deflate makes 200 times smaller
	for _, tt := range []struct {
		name, file, body string
		max              int64
		ok               bool
	}{
		{"repetitions within the free bytes", "a.ndi.gz", zipped(repeated), 64 << 20, true},
		{"too many repetitions", "a.log.gz", string(bomb(t, 1<<26, 0)), 64 << 20, false},
		{"past the kind's limit", "a.ndi.gz", zipped("<Inventory>" + noise(3<<19) + "</Inventory>"), 1 << 20, false},
		{"within it", "a.ndi.gz", zipped("<Inventory><a b='" + noise(900<<10) + "'/></Inventory>"), 1 << 20, true},
	} {
		err := content.Check(t.Context(), named(t, tt.file), strings.NewReader(tt.body), int64(len(tt.body)), tt.max)
		if (err == nil) != tt.ok || err != nil && !errors.Is(err, uploads.ErrContent) {
			t.Errorf("%s: %d bytes: %v", tt.name, len(tt.body), err)
		}
	}
}

// bomb is size bytes of zeros, compressed, in more shells of gzip. It has no end,
// which nobody should get to see.
func bomb(t testing.TB, size int64, shells int) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 1<<20)
	w.Write(zeros)
	w.Flush()
	first := b.Len()
	w.Write(zeros)
	w.Flush()
	again := bytes.Clone(b.Bytes()[first:]) // the same wherever there are zeros before
	out := "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + b.String() + strings.Repeat(string(again), int(size>>20)-2)
	for range shells {
		out = zipped(out)
	}
	return []byte(out)
}

func TestBombsTakeNoMemory(t *testing.T) {
	shallow := bomb(t, 1<<30, 0)
	for _, tt := range []struct {
		name string
		file string
		body []byte
	}{
		{"one megabyte that is one gigabyte", "a.log.gz", shallow},
		{"the same, called an inventory", "a.ndi.gz", shallow},
		{"deeper", "a.ndi.gz", bomb(t, 1<<30, 2)},
		{"a million nested elements", "a.ndi.gz", []byte(zipped("<Inventory>" + strings.Repeat("<a>", 1e6)))},
		{"billion laughs", "a.ndi", []byte(laughs())},
	} {
		check(t, "warm.ndi.gz", zipped(ndi)) // the pools have what they need
		name := named(t, tt.file)
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := content.Check(t.Context(), name, bytes.NewReader(tt.body), int64(len(tt.body)), 24<<20)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, uploads.ErrContent) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 512<<10 {
			t.Errorf("%s: %d bytes were allocated", tt.name, grown)
		}
	}
}

func laughs() string {
	var b strings.Builder
	b.WriteString(`<!DOCTYPE Inventory [<!ENTITY l0 "lol">`)
	for i := range 9 {
		fmt.Fprintf(&b, `<!ENTITY l%d "%s">`, i+1, strings.Repeat(fmt.Sprintf("&l%d;", i), 10))
	}
	return b.String() + "]><Inventory>&l9;</Inventory>"
}

func TestCheckStopsAndFaultsAreNotFindings(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := content.Check(ctx, named(t, "a.ndi.gz"), strings.NewReader(zipped(ndi)), 1, 1<<20); err != context.Canceled {
		t.Errorf("cancelled: %v", err)
	}
	fault := errors.New("disk")
	for _, name := range []string{"a.ndi", "a.ndi.gz", "a.zip", "a.log.gz"} {
		body := io.MultiReader(strings.NewReader(map[bool]string{true: zipped(noise(9000))[:5000], false: ""}[strings.HasSuffix(name, ".log.gz")]), iotest.ErrReader(fault))
		if err := content.Check(t.Context(), named(t, name), body, 1, 1<<20); err != fault {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzContent(f *testing.F) {
	for _, name := range []string{"a.ndi", "a.ndi.gz", "a.zip", "a.mmi.gz", "a.log.gz"} {
		for _, body := range []string{ndi, zipped(ndi), subset, "PK\x03\x04", zipped(ndi) + "x", zipped(mmi, "")} {
			f.Add(name, []byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, s string, body []byte) {
		name, err := uploads.ParseName(s)
		if err != nil {
			return
		}
		n := min(len(body), content.HeadBytes)
		_, early := content.Head(name, body[:n], n == len(body))
		late := content.Check(t.Context(), name, bytes.NewReader(body), int64(len(body)), 1<<20)
		if early != nil && late == nil {
			t.Fatalf("refused at once (%v), and sound afterwards", early)
		}
		for cut := 1; cut < len(body) && late == nil; cut += 1 + len(body)/50 {
			if _, err := content.Head(name, body[:cut], false); err != nil {
				t.Fatalf("sound, and refused by its first %d bytes: %v", cut, err)
			}
		}
		for _, err := range []error{early, late} {
			if err != nil && !errors.Is(err, uploads.ErrContent) {
				t.Fatalf("%v is no finding", err)
			}
		}
	})
}

func BenchmarkHead(b *testing.B) {
	for _, tt := range []struct{ name, body string }{{"plain.ndi", real(b)}, {"small.ndi.gz", zipped(real(b))}, {"large.ndi.gz", zipped(ndi[:len(ndi)-12] + strings.Repeat(noise(40), 1) + noise(20<<10))}} {
		b.Run(tt.name, func(b *testing.B) {
			n := named(b, tt.name)
			h := []byte(tt.body[:min(len(tt.body), content.HeadBytes)])
			b.ReportAllocs()
			for b.Loop() {
				if _, err := content.Head(n, h, false); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCheck(b *testing.B) {
	text := real(b)
	cut := strings.LastIndex(text, "</Inventory>")
	root := strings.Index(text, "<Section")
	text = text[:cut] + strings.Repeat(text[root:cut], 60) + text[cut:]
	body := zipped(text)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if err := check(b, "a.ndi.gz", body); err != nil {
			b.Fatal(err)
		}
	}
}
