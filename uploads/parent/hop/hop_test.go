package hop_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"inventorybeacon/uploads"
	"inventorybeacon/uploads/parent/hop"
)

func TestOriginRoundTrips(t *testing.T) {
	name := rapid.StringMatching(`[^\x00-\x1f\x7f-\x9f]{0,40}`)
	rapid.Check(t, func(t *rapid.T) {
		o := hop.Origin{
			Device:    uploads.Device{Domain: name.Draw(t, "domain"), Name: name.Draw(t, "device")},
			AgentID:   name.Draw(t, "agent"),
			Recovered: rapid.Bool().Draw(t, "recovered"),
		}
		if secs := rapid.Int64Range(0, 1<<40).Draw(t, "modified"); secs > 0 {
			o.Modified = time.Unix(secs, 0).UTC()
		}
		line := o.String()
		if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("%q cannot be a header", line)
		}
		got, err := hop.ParseOrigin([]string{line})
		if err != nil || got != o {
			t.Fatalf("%s: %+v, %v; want %+v", line, got, err, o)
		}
	})
}

func TestParseOriginPassesOverTheUnknown(t *testing.T) {
	got, err := hop.ParseOrigin([]string{`colour=red, device="a\"b\\c"`, `size=12,x="1, 2", recovered=?0, modified=@-5, y=%"%41\"`})
	want := hop.Origin{Device: uploads.Device{Name: `a"b\c`}, Modified: time.Unix(-5, 0).UTC()}
	if err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
}

func TestParseOriginRefusesNonsense(t *testing.T) {
	for _, line := range []string{
		`device`, `device=`, `device="a`, `device=PC1`, `device="a" domain="b"`, `=x`, `Device="x"`, `modified=@x`,
		`device=%"%zz"`, `device=%"%ff"`, `device=%"%0a"`, `device="` + strings.Repeat("x", 256) + `"`, `agent="` + strings.Repeat("x", 5000) + `"`,
	} {
		if o, err := hop.ParseOrigin([]string{line}); !errors.Is(err, hop.ErrMalformed) || o != (hop.Origin{}) {
			t.Errorf("%.40s: %+v, %v", line, o, err)
		}
	}
	if o, err := hop.ParseOrigin(nil); err != nil || o != (hop.Origin{}) {
		t.Errorf("no header: %+v, %v", o, err)
	}
}

func FuzzParseOrigin(f *testing.F) {
	f.Add(`domain="EXAMPLE", device=%"B%c3%9cRO", agent="a", modified=@1790000000, recovered`)
	f.Add(`a=(1 2);x, b=:YQ==:`)
	f.Fuzz(func(t *testing.T, line string) {
		o, err := hop.ParseOrigin([]string{line})
		if err != nil {
			return
		}
		again, err := hop.ParseOrigin([]string{o.String()})
		if err != nil || again != o {
			t.Errorf("%q: %+v, then %+v, %v", line, o, again, err)
		}
	})
}

func TestViaRoundTrips(t *testing.T) {
	for _, via := range [][]string{nil, {"a"}, {"a", "b c", "d,e", "ü", `"%`}} {
		got, err := hop.ParseVia([]string{hop.FormatVia(via)})
		if err != nil || !slices.Equal(got, via) {
			t.Errorf("%q becomes %q, %v", via, got, err)
		}
	}
	if got, err := hop.ParseVia([]string{"a, b", " c ,,"}); err != nil || !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("two lines: %q, %v", got, err)
	}
	for _, bad := range []string{"%zz", "a%0ab", strings.Repeat("a,", 3000)} {
		if _, err := hop.ParseVia([]string{bad}); !errors.Is(err, hop.ErrMalformed) {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
}

func TestLooped(t *testing.T) {
	eight := []string{"1", "2", "3", "4", "5", "6", "7", "8"}
	for _, tt := range []struct {
		via  []string
		want bool
	}{{nil, false}, {[]string{"a"}, false}, {[]string{"a", "self"}, true}, {eight, false}, {append(eight, "9"), true}} {
		if got := hop.Looped(tt.via, "self"); got != tt.want {
			t.Errorf("Looped(%q) = %v", tt.via, got)
		}
	}
}

func TestDigestRoundTrips(t *testing.T) {
	d := uploads.DigestOf([]byte("x"))
	own := hop.FormatDigest(d)
	if want := "sha-256=:LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE=:"; own != want {
		t.Errorf("FormatDigest = %s, want %s", own, want)
	}
	for _, lines := range [][]string{{own}, {"md5=:AAAA:, " + own}, {"sha-512=:AAAA:", own + ";q=1"}} {
		if got, ok, err := hop.ParseDigest(lines); !ok || err != nil || got != d {
			t.Errorf("%q: %v, %v, %v", lines, got, ok, err)
		}
	}
	for _, lines := range [][]string{nil, {""}, {"sha-512=:AAAA:"}} {
		if _, ok, err := hop.ParseDigest(lines); ok || err != nil {
			t.Errorf("%q: %v, %v; want none", lines, ok, err)
		}
	}
	for _, lines := range [][]string{{"sha-256=AAAA"}, {"sha-256=:AAAA:"}, {"sha-256"}, {strings.TrimSuffix(own, ":")}} {
		if _, ok, err := hop.ParseDigest(lines); ok || !errors.Is(err, hop.ErrMalformed) {
			t.Errorf("%q: %v, %v; want malformed", lines, ok, err)
		}
	}
}
