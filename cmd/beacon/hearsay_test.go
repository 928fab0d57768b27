package main

import (
	"bytes"
	"testing"
)

func TestHearsayShortensLogs(t *testing.T) {
	const digest = "ec010e5e952f70b23178e7a63eea349d87edb335be78fb3bb1f738c7d37c3e34"
	for _, tt := range []struct{ name, line, want string }{
		{"fetch", `time=2026-01-05T09:30:00Z level=DEBUG msg="document fetched" path="Schedules/Default Machine Schedule~de40e22bfed02395.osd" status=200 bytes=538 sha256=` + digest,
			`GET 200 Schedules/Default Machine Schedule~de40e22bfed02395.osd (538 bytes)`},
		{"fetch of a plain path", `time=x level=DEBUG msg="document fetched" path=Policies/Merged/D_domain/Machine/d.npl status=200 bytes=9 sha256=` + digest,
			`GET 200 Policies/Merged/D_domain/Machine/d.npl (9 bytes)`},
		{"digest", `time=x level=INFO msg="policy in force" revision=1 digest=` + digest, `policy in force revision=1 digest=ec010e5e952f…`},
		{"one word", `time=x level=INFO msg=serving at=here`, `serving at=here`},
		{"warning", `time=x level=WARN msg="not fetched" err="time=1 level=2"`, `WARN not fetched err="time=1 level=2"`},
		{"no log", "policy revision 1; sent 1 files", "policy revision 1; sent 1 files"},
		{"nothing", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			h := &hearsay{w: &out}
			for _, part := range []string{tt.line[:len(tt.line)/2], tt.line[len(tt.line)/2:], "\nhalf a li"} {
				if n, err := h.Write([]byte(part)); n != len(part) || err != nil {
					t.Fatalf("Write: %d, %v", n, err)
				}
			}
			if got, want := out.String(), "        "+tt.want+"\n"; got != want {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
}
