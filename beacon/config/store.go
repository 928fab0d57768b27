package config

import "os"

func (s *S3) check(bad report, key string) {
	checkURL(bad, key+".endpoint", s.Endpoint)
	if s.Bucket == "" {
		bad(key+".bucket", "is missing")
	}
	oneOf(bad, key+".style", s.Style, "", "path", "virtual")
	oneOf(bad, key+".encryption", s.Encryption, "", "AES256", "aws:kms")
	if s.KMSKey != "" && s.Encryption != "aws:kms" {
		bad(key+".kms_key", "means something with encryption: aws:kms only")
	}
	s.checkCredentials(bad, key)
}

func (s *S3) checkCredentials(bad report, key string) {
	if (s.AccessKey == "") != (s.SecretKey.Reveal() == "") {
		bad(key, "needs both access_key and secret_key, or neither")
	}
	ways := 0
	for _, given := range []bool{s.AccessKey != "", s.CredentialsFile != "", s.InstanceRole} {
		if given {
			ways++
		}
	}
	if ways > 1 {
		bad(key, "takes its credentials from one place: access_key, credentials_file or instance_role")
	}
	if s.Profile != "" && s.CredentialsFile == "" {
		bad(key+".profile", "means something with credentials_file only")
	}
	if s.CredentialsFile != "" {
		if _, err := os.Stat(s.CredentialsFile); err != nil {
			bad(key+".credentials_file", "cannot be read: %v", err)
		}
	}
}
