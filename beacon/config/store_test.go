package config

import (
	"fmt"
	"strings"
	"testing"
)

func TestStoreTakesCredentialsFromOnePlace(t *testing.T) {
	good := S3{Endpoint: "https://s3.example.com", Bucket: "inventory"}
	for _, tt := range []struct {
		name   string
		change func(*S3)
		want   string // a part of the mistake; none: it is fine
	}{
		{"the environment", func(*S3) {}, ""},
		{"keys", func(s *S3) { s.AccessKey, s.SecretKey = "a", Secret{"b"} }, ""},
		{"half of the keys", func(s *S3) { s.AccessKey = "a" }, "both access_key and secret_key"},
		{"a role", func(s *S3) { s.InstanceRole = true }, ""},
		{"a role and keys", func(s *S3) { s.AccessKey, s.SecretKey, s.InstanceRole = "a", Secret{"b"}, true }, "one place"},
		{"no such file", func(s *S3) { s.CredentialsFile = "/nowhere/credentials" }, "cannot be read"},
		{"a profile of nothing", func(s *S3) { s.Profile = "relay" }, "credentials_file only"},
		{"encryption", func(s *S3) { s.Encryption, s.KMSKey = "aws:kms", "fleet" }, ""},
		{"unknown encryption", func(s *S3) { s.Encryption = "rot13" }, "rot13"},
		{"a key of nothing", func(s *S3) { s.KMSKey = "fleet" }, "aws:kms only"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := good
			tt.change(&s)
			var got []string
			s.check(func(key, format string, args ...any) {
				got = append(got, Mistake{Key: key, Text: fmt.Sprintf(format, args...)}.String())
			}, "relay[0].s3")
			if all := strings.Join(got, "; "); (tt.want == "") != (all == "") || !strings.Contains(all, tt.want) {
				t.Errorf("%q, want %q", all, tt.want)
			}
		})
	}
}
