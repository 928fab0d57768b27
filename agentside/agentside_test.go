package agentside

import (
	"errors"
	"strings"
	"testing"
)

func TestLocationTakesBaseOrRoot(t *testing.T) {
	for in, want := range map[string]string{
		"http://b1:8080":                      "http://b1:8080",
		"http://b1:8080/":                     "http://b1:8080",
		"https://b1.example.com/ManageSoftDL": "https://b1.example.com",
		"https://b1/managesoftrl/":            "https://b1",
		"https://b1/behind/proxy":             "https://b1/behind/proxy",
		"http://[::1]:8080/x/ManageSoftRL":    "http://[::1]:8080/x",
	} {
		l, err := location(in)
		if err != nil || l.Download != want+"/ManageSoftDL" || l.Upload != want+"/ManageSoftRL" || l.Name == "" {
			t.Errorf("%s: %+v, %v", in, l, err)
		}
	}
	for _, in := range []string{"", "b1:8080", "ftp://b1", "http://", "http://u:p@b1", "http://b1?x=1", "http://b1#x", "http://%zz"} {
		if l, err := location(in); err == nil {
			t.Errorf("%q was taken: %+v", in, l)
		}
	}
}

func TestOptionsReportAllMistakes(t *testing.T) {
	_, _, err := Options{Beacons: []string{"nonsense", "ftp://b"}, Domain: "a/b", Name: "x\n"}.complete()
	if !errors.Is(err, ErrUsage) {
		t.Fatal(err)
	}
	for _, want := range []string{"nonsense", "ftp://b", "a/b", "control"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not tell of %q", err, want)
		}
	}
	o, locations, err := Options{Beacons: []string{"http://b1", "http://b1/ManageSoftDL", "http://b2"}}.complete()
	if err != nil || o.Domain != DefaultDomain || o.Name == "" || o.Data != DefaultData || len(locations) != 2 || locations[1].Priority != 2 {
		t.Errorf("%+v, %+v, %v", o, locations, err)
	}
}

func TestOptionsComposeLetters(t *testing.T) {
	o, _, err := Options{Name: "e\u0301-7", Domain: "E\u0301"}.complete()
	if err != nil || o.Name != "\u00e9-7" || o.Domain != "\u00c9" {
		t.Errorf("%q in %q, %v", o.Name, o.Domain, err)
	}
}
