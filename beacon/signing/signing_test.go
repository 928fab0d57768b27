package signing_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"inventorybeacon/beacon/signing"
)

// open opens the key in dir and returns what the log said.
func open(t *testing.T, dir string) (*signing.Key, string) {
	t.Helper()
	var said bytes.Buffer
	k, err := signing.Open(dir, slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return k, said.String()
}

func public(t *testing.T, dir string) ed25519.PublicKey {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, signing.PublicFile))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" {
		t.Fatalf("%s holds no public key:\n%s", signing.PublicFile, text)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key.(ed25519.PublicKey)
}

var words = []byte(`{"receipt":"rbe4dl2zcrllb4ywdjihotynxp"}`)

func TestKeyIsMadeOnce(t *testing.T) {
	dir := t.TempDir()
	first, said := open(t, dir)
	if said != "" {
		t.Errorf("a new key: %s", said)
	}
	again, _ := open(t, dir)
	if !bytes.Equal(first.Sign(words), again.Sign(words)) {
		t.Error("another key after a restart")
	}
	if !ed25519.Verify(public(t, dir), words, first.Sign(words)) {
		t.Error("the signature does not agree with beacon.pub")
	}
	if ed25519.Verify(public(t, dir), append(words, ' '), first.Sign(words)) {
		t.Error("the signature agrees with other words")
	}
	fi, err := os.Stat(filepath.Join(dir, signing.PrivateFile))
	if err != nil || runtime.GOOS != "windows" && fi.Mode().Perm() != 0o600 {
		t.Errorf("private key: %v, %v", fi.Mode(), err)
	}
}

// A lost or foreign public key's file is made anew from the private one.
func TestKeyPublishesItself(t *testing.T) {
	dir := t.TempDir()
	k, _ := open(t, dir)
	name := filepath.Join(dir, signing.PublicFile)
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if _, said := open(t, dir); said != "" {
		t.Errorf("said %s", said)
	}
	if err := os.WriteFile(name, []byte("another's\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, said := open(t, dir); !strings.Contains(said, "written anew") {
		t.Errorf("said %q", said)
	}
	if !ed25519.Verify(public(t, dir), words, k.Sign(words)) {
		t.Error("the signature does not agree with beacon.pub")
	}
}

func TestKeyWarnsOfReaders(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("skipped: file modes say nothing on Windows")
	}
	dir := t.TempDir()
	open(t, dir)
	if err := os.Chmod(filepath.Join(dir, signing.PrivateFile), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, said := open(t, dir); !strings.Contains(said, "chmod 600") {
		t.Errorf("said %q", said)
	}
}

// A damaged key is never replaced silently: what it signed would be void.
func TestKeyRefusesDamage(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "noise": "noise", "other PEM": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, signing.PrivateFile)
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := signing.Open(dir, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "move it away") {
				t.Errorf("error %v", err)
			}
			if b, err := os.ReadFile(file); err != nil || string(b) != text {
				t.Errorf("the file now holds %q, %v", b, err)
			}
		})
	}
}

// Whoever has no program of ours checks with openssl.
func TestSignatureVerifiesWithOpenssl(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("SKIPPED, NOT TESTED: no openssl to verify a signature with")
	}
	dir := t.TempDir()
	k, _ := open(t, dir)
	file := filepath.Join(dir, "receipt.json")
	verify := func() (string, error) {
		out, err := exec.CommandContext(t.Context(), openssl, "pkeyutl", "-verify", "-pubin", "-inkey", filepath.Join(dir, signing.PublicFile),
			"-rawin", "-in", file, "-sigfile", file+".sig").CombinedOutput()
		return string(out), err
	}
	for name, b := range map[string][]byte{file: words, file + ".sig": k.Sign(words)} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := verify(); err != nil || !strings.Contains(out, "Signature Verified Successfully") {
		t.Errorf("%v: %s", err, out)
	}
	if err := os.WriteFile(file, append(words, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := verify(); err == nil {
		t.Errorf("other words verify: %s", out)
	}
}
