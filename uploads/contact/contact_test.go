package contact

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var full = Contact{
	ID: "4f0c9a1be2", Domain: "EXAMPLE", Name: "ws-17", Version: "1.4.0",
	Revision: 42, Digest: strings.Repeat("9f", 32), Spool: 3,
	Clock: time.Unix(1790000000, 0).UTC(), Error: `put: "no route"`,
}

func TestContactIsWrittenAsDictionary(t *testing.T) {
	got, err := Format(full)
	if err != nil {
		t.Fatal(err)
	}
	want := `id="4f0c9a1be2", domain="EXAMPLE", name="ws-17", version="1.4.0", revision=42, digest="` +
		strings.Repeat("9f", 32) + `", spool=3, clock=@1790000000, error="put: \"no route\""`
	if got != want {
		t.Errorf("Format:\n got %s\nwant %s", got, want)
	}
}

func TestContactWritesOtherScriptsAsDisplayString(t *testing.T) {
	got, err := Format(Contact{Name: `straße 100%"`, Spool: SpoolUnknown})
	if err != nil {
		t.Fatal(err)
	}
	if want := `name=%"stra%c3%9fe 100%25%22"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	back, err := Parse([]string{got})
	if err != nil || back.Name != `straße 100%"` {
		t.Errorf("read back %q, %v", back.Name, err)
	}
}

func TestContactReadsWhatItCan(t *testing.T) {
	for name, tc := range map[string]struct {
		lines []string
		want  Contact
	}{
		"nothing":             {nil, Contact{Spool: SpoolUnknown}},
		"empty line":          {[]string{""}, Contact{Spool: SpoolUnknown}},
		"several lines":       {[]string{`id="a"`, `name="b"`}, Contact{ID: "a", Name: "b", Spool: SpoolUnknown}},
		"unknown members":     {[]string{`x=1, id="a", y="z", on, off=?0`}, Contact{ID: "a", Spool: SpoolUnknown}},
		"every other type":    {[]string{`a=1.5, b=tok/en:x, c=:aGk=:, d=?1, e=(1 "x";q=2 t), f=@1, g=-7, id="a"`}, Contact{ID: "a", Spool: SpoolUnknown}},
		"wrong types":         {[]string{`id=7, name=tok, revision="42", spool=1.5, clock=?1, error=(a)`}, Contact{Spool: SpoolUnknown}},
		"below zero":          {[]string{`revision=-1, spool=-1, clock=-5`}, Contact{Spool: SpoolUnknown}},
		"parameters":          {[]string{`id="a";x=1; y, revision=7;z`}, Contact{ID: "a", Revision: 7, Spool: SpoolUnknown}},
		"the last one counts": {[]string{`id="a", id="b"`}, Contact{ID: "b", Spool: SpoolUnknown}},
		"no spaces, tabs":     {[]string{"id=\"a\",spool=0\t,\tname=\"b\""}, Contact{ID: "a", Name: "b"}},
		"clock as a number":   {[]string{`clock=1790000000, spool=0`}, Contact{Clock: full.Clock}},
		"clock out of range":  {[]string{`clock=@999999999999999, spool=0`}, Contact{}},
		"error is cut and cleaned": {
			[]string{`spool=0, error=%"a%0ab%e2%80%aec` + strings.Repeat("%c3%9f", 200) + `"`},
			Contact{Error: "a b c" + strings.Repeat("ß", 125)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(tc.lines)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestContactIgnoresWhatIsMalformed(t *testing.T) {
	for name, line := range map[string]string{
		"upper-case key":     `ID="a"`,
		"no value":           `id=`,
		"string not ended":   `id="a`,
		"bad escape":         `id="a\n"`,
		"ends in escape":     `id="a\`,
		"byte over ASCII":    `id="ä"`,
		"control byte":       "id=\"a\x01\"",
		"no comma":           `id="a" name="b"`,
		"comma at the end":   `id="a",`,
		"sixteen digits":     `revision=1234567890123456`,
		"minus alone":        `revision=-`,
		"decimal too long":   `x=1.2345`,
		"date with fraction": `clock=@1.5`,
		"list not ended":     `x=(1 2`,
		"list without space": `x=(1"a")`,
		"boolean":            `x=?2`,
		"bytes not ended":    `x=:aGk`,
		"display no quote":   `name=%a`,
		"display bad escape": `name=%"%C3%9F"`,
		"display not UTF-8":  `name=%"%c3"`,
		"display not ended":  `name=%"a`,
		"parameter":          `id="a";=1`,
		"too long":           `id="` + strings.Repeat("a", MaxBytes) + `"`,
		"name too long":      `name="` + strings.Repeat("a", maxName+1) + `"`,
		"hidden in the name": `name=%"a%e2%80%aeb"`,
		"newline in the id":  `id=%"a%0ab"`,
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse([]string{line})
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("error %v, want ErrMalformed", err)
			}
			if !got.IsZero() {
				t.Errorf("got %+v, want nothing", got)
			}
		})
	}
}

func TestContactRefusesToWriteWhatNobodyCouldRead(t *testing.T) {
	for name, c := range map[string]Contact{
		"name with a newline": {Name: "a\nb"},
		"name not UTF-8":      {Name: "a\xff"},
		"name too long":       {Name: strings.Repeat("a", maxName+1)},
		"id too long":         {ID: strings.Repeat("a", maxID+1)},
	} {
		t.Run(name, func(t *testing.T) {
			if s, err := Format(c); err == nil {
				t.Errorf("wrote %s", s)
			}
		})
	}
}

func TestContactRoundTrips(t *testing.T) {
	text := func(limit int) *rapid.Generator[string] {
		return rapid.StringOfN(rapid.Rune().Filter(func(r rune) bool { return !hidden(r) && r != '\uFFFD' }), 0, 60, limit)
	}
	rapid.Check(t, func(t *rapid.T) {
		c := Contact{
			ID: text(maxID).Draw(t, "id"), Domain: text(maxName).Draw(t, "domain"), Name: text(maxName).Draw(t, "name"),
			Version: text(maxVersion).Draw(t, "version"), Digest: text(maxDigest).Draw(t, "digest"),
			Error:    strings.TrimSpace(text(maxError).Draw(t, "error")),
			Revision: rapid.Uint64Range(0, maxInteger).Draw(t, "revision"),
			Spool:    rapid.Int64Range(-1, maxInteger).Draw(t, "spool"),
		}
		if secs := rapid.Int64Range(0, maxClock).Draw(t, "clock"); secs > 0 {
			c.Clock = time.Unix(secs, 0).UTC()
		}
		s, err := Format(c)
		if err != nil {
			t.Fatal(err)
		}
		if len(s) > MaxBytes {
			t.Fatalf("%d bytes written", len(s))
		}
		back, err := Parse([]string{s})
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		if d := cmp.Diff(c, back); d != "" {
			t.Fatalf("%s:\n%s", s, d)
		}
	})
}

// Whatever comes in, what was understood can be written and reads the same.
func FuzzParse(f *testing.F) {
	s, _ := Format(full)
	f.Add(s)
	f.Add(`name=%"stra%c3%9fe", x=(1 "a";b), y=:aGk=:, z=?1;q, clock=@1`)
	f.Add(`id="a\"", spool=-1,`)
	f.Fuzz(func(t *testing.T, s string) {
		c, err := Parse([]string{s})
		if err != nil {
			if !c.IsZero() {
				t.Fatalf("%q: error with a contact", s)
			}
			return
		}
		out, err := Format(c)
		if err != nil {
			t.Fatalf("%q: read but cannot write: %v", s, err)
		}
		if back, err := Parse([]string{out}); err != nil || back != c {
			t.Fatalf("%q -> %q: %+v, want %+v (%v)", s, out, back, c, err)
		}
	})
}
