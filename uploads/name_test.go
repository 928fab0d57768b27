package uploads_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"inventorybeacon/uploads"
)

func TestNameRefusesWhatCanHurt(t *testing.T) {
	bad := map[string]string{
		"empty":              "",
		"parent":             "..",
		"climbing":           "../x.ndi",
		"climbing windows":   `..\x.ndi`,
		"dots inside":        "a..b.ndi",
		"absolute":           "/etc/passwd",
		"drive":              "C:x.ndi",
		"stream":             "x.ndi:ads",
		"stream type":        "x.ndi::$DATA",
		"unc":                `\\host\share`,
		"still encoded":      "a%2e%2e.ndi",
		"device":             "NUL",
		"device with ext":    "nul.ndi.gz",
		"device com":         "COM1.ndi",
		"device com zero":    "com0.log",
		"device superscript": "COM¹.ndi",
		"device lpt":         "Lpt³.log",
		"device and space":   "AUX .ndi",
		"trailing dot":       "x.ndi.",
		"trailing space":     "x.ndi ",
		"hidden":             ".x.ndi",
		"leading space":      " x.ndi",
		"leading dash":       "-rf.ndi",
		"nul byte":           "a\x00b.ndi",
		"newline":            "a\nb.ndi",
		"delete":             "a\x7fb.ndi",
		"c1":                 "a\u0085b.ndi",
		"invalid utf-8":      "a\xffb.ndi",
		"right to left":      "a\u202eidn.b",
		"zero width":         "a\u200bb.ndi",
		"bom":                "\ufeffa.ndi",
		"full-width dot":     "a\uff0eb.ndi",
		"full-width slash":   "a\uff0fb.ndi",
		"decomposed":         "e\u0301.ndi",
		"kelvin":             "\u212a.ndi",
		"quote":              "a'b.ndi",
		"markup":             "<b>.ndi",
		"formula":            "=1+1.ndi",
		"shell":              "a;rm.ndi",
		"dollar":             "a$(x).ndi",
		"format":             "%s.ndi",
		"too long":           strings.Repeat("a", 197) + ".ndi",
	}
	for name, in := range bad {
		t.Run(name, func(t *testing.T) {
			if n, err := uploads.ParseName(in); !errors.Is(err, uploads.ErrBadName) {
				t.Errorf("ParseName(%q) = %q, %v", in, n, err)
			}
		})
	}
}

func TestNameTakesWhatIsLegal(t *testing.T) {
	for _, in := range []string{
		"a", "ws0042 at 20260310T172738.mmi.gz", "system on ws-1 at 20260310T172738 (Full).ndi",
		"Ünïté 中文.ndi", "0.log", "a.b.c@d,e+f-g_h.txt", "CONSOLE.ndi", "COM10.ndi", "nullable.ndi", "เครื่อง.ndi",
		strings.Repeat("a", 196) + ".ndi",
	} {
		if n, err := uploads.ParseName(in); err != nil || n.String() != in {
			t.Errorf("ParseName(%q) = %q, %v", in, n, err)
		}
	}
}

func TestNameTellsItsParts(t *testing.T) {
	at := time.Date(2026, 3, 10, 17, 27, 38, 0, time.UTC)
	for _, tt := range []struct {
		in        string
		want      uploads.Parts
		stem, ext string
	}{
		{"ws0042 at 20260310T172738.mmi.gz", uploads.Parts{Device: "ws0042", At: at}, "ws0042 at 20260310T172738", ".mmi"},
		{"vc at 20260310T172738 (VMWare Horizon).NDI", uploads.Parts{Device: "vc", At: at, Tag: "VMWare Horizon"}, "vc at 20260310T172738 (VMWare Horizon)", ".ndi"},
		{"system on ws-1 at 20260310T172738 (Full).ndi.GZ", uploads.Parts{User: "system", Device: "ws-1", At: at, Tag: "Full"}, "system on ws-1 at 20260310T172738 (Full)", ".ndi"},
		{"jdoe on ws-1.ndi", uploads.Parts{User: "jdoe", Device: "ws-1"}, "jdoe on ws-1", ".ndi"},
		{"host.example.com at 20260310T172738.ndi", uploads.Parts{Device: "host.example.com", At: at}, "host.example.com at 20260310T172738", ".ndi"},
		{"look at me.log", uploads.Parts{}, "look at me", ".log"},
		{"x at 20261399T999999.log", uploads.Parts{}, "x at 20261399T999999", ".log"},
		{"tracker.log", uploads.Parts{}, "tracker", ".log"},
		{"plain", uploads.Parts{}, "plain", ""},
	} {
		n, err := uploads.ParseName(tt.in)
		if err != nil {
			t.Fatal(err)
		}
		if got := n.Parts(); got != tt.want {
			t.Errorf("%q: parts %+v, want %+v", tt.in, got, tt.want)
		}
		if n.Stem() != tt.stem || n.Ext() != tt.ext || n.Stem()+n.Suffix() != tt.in {
			t.Errorf("%q: stem %q ext %q suffix %q", tt.in, n.Stem(), n.Ext(), n.Suffix())
		}
	}
}

func TestFileNameKeepsOddDevices(t *testing.T) {
	at := time.Date(2026, 3, 10, 17, 27, 38, 0, time.UTC)
	for device, want := range map[string]string{
		"ws0042":          "ws0042",
		"a/b":             "a@2Fb",
		"a@b":             "a@40b",
		"a%b":             "a@25b",
		"lamp on desk":    "lamp@20on desk",
		"meet at noon":    "meet@20at noon",
		"x (y)":           "x @28y@29",
		"a..b":            "a.@2Eb",
		"_edge":           "@5Fedge",
		"e\u0301":         "é",
		"con.example.com": "con.example.com",
		"\xf0\u0374":      "@F0\u02b9",
		"bad\xff":         "bad@FF",
		"dot.":            "dot@2E",
		"*\u0308\u0301":   "@2A@CC@88@CC@81",
	} {
		n, err := uploads.FileName(device, at, "Full", ".ndi.gz")
		if err != nil {
			t.Errorf("FileName(%q): %v", device, err)
			continue
		}
		if p := n.Parts(); p.Device != want || !p.At.Equal(at) || p.Tag != "Full" {
			t.Errorf("FileName(%q) = %q, which says %+v; want device %q", device, n, p, want)
		}
	}
}

func FuzzName(f *testing.F) {
	f.Add("system on ws-1 at 20260310T172738 (Full).ndi.gz")
	f.Add("é..x")
	f.Fuzz(func(t *testing.T, s string) {
		n, err := uploads.ParseName(s)
		if err != nil {
			return
		}
		if strings.ContainsAny(s, "/\\:\x00%<>|?*\"") || len(s) > uploads.MaxNameBytes || n.Stem()+n.Suffix() != s {
			t.Errorf("accepted %q, stem %q, suffix %q", s, n.Stem(), n.Suffix())
		}
		n.Parts()
	})
}

func FuzzFileName(f *testing.F) {
	f.Add("a/b")
	f.Add(" on ")
	f.Fuzz(func(t *testing.T, device string) {
		at := time.Date(2026, 3, 10, 17, 27, 38, 0, time.UTC)
		if device == "" || len(device) > 40 {
			return
		}
		n, err := uploads.FileName(device, at, "", ".ndi")
		if err != nil {
			t.Fatalf("FileName(%q): %v", device, err)
		}
		if got := n.Parts().Device; got != uploads.EscapeDevice(device) {
			t.Errorf("FileName(%q) = %q, device %q", device, n, got)
		}
	})
}
