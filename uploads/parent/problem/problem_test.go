package problem_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"inventorybeacon/uploads/parent/problem"
)

func response(status int, media, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {media}}, Body: io.NopCloser(strings.NewReader(body))}
}

func TestReadTellsVerdictsFromStrangers(t *testing.T) {
	const media = problem.MediaType
	for name, tt := range map[string]struct {
		resp *http.Response
		want problem.Code
	}{
		"ours":              {response(415, media, `{"status":415,"code":"bad-kind","detail":"no"}`), problem.BadKind},
		"with a charset":    {response(415, media+"; charset=utf-8", `{"code":"bad-kind"}`), problem.BadKind},
		"plain JSON":        {response(415, "application/json", `{"status":415,"code":"bad-kind"}`), ""},
		"no media type":     {response(415, "", `{"status":415,"code":"bad-kind"}`), ""},
		"somebody's code":   {response(415, media, `{"status":415,"code":"nope"}`), ""},
		"no code":           {response(403, media, `{"status":403,"title":"Forbidden"}`), ""},
		"another's status":  {response(403, media, `{"status":415,"code":"bad-kind"}`), ""},
		"HTML":              {response(403, media, `<html>`), ""},
		"endless":           {response(403, media, strings.Repeat(" ", 1<<20)+`{"code":"forbidden"}`), ""},
		"bad range, PUT":    {response(400, media, `{"code":"bad-range"}`), problem.BadRange},
		"busy beacon":       {response(503, media, `{"code":"busy"}`), problem.Busy},
		"busy with sender":  {response(429, media, `{"code":"busy"}`), problem.Busy},
		"no policy applies": {response(404, media, `{"code":"not-found"}`), problem.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			d, ok := problem.Read(tt.resp)
			if ok != (tt.want != "") || ok && (d.Code != tt.want || d.Status != tt.resp.StatusCode) {
				t.Errorf("Read = %+v, %v; want %q", d, ok, tt.want)
			}
			if ok && strings.Contains(d.Error(), "\n") {
				t.Errorf("%q has several lines", d.Error())
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for v, want := range map[string]time.Duration{
		"0": 0, "30": 30 * time.Second, "999999999": 24 * time.Hour,
		"Sun, 22 Nov 2026 12:01:00 GMT": time.Minute, "Sun, 22 Nov 2026 11:00:00 GMT": 0,
		"": -1, "-5": -1, "soon": -1, "99999999999999999999": -1,
	} {
		got, ok := problem.RetryAfter(http.Header{"Retry-After": {v}}, now)
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("%q: %v, %v; want %v", v, got, ok, want)
		}
	}
}
