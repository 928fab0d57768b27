// Package signing is a beacon's word that can be checked elsewhere: an Ed25519
// key pair of its own and signatures over the exact bytes of an answer.
//
//	keys/beacon.key  the private key, PKCS #8 in PEM, for its owner alone
//	keys/beacon.pub  the public key, PKIX in PEM; give it to whoever checks
//
// A signature is 64 bytes, on the wire in base64. This checks one, with the
// bytes and the signature in files:
//
//	openssl pkeyutl -verify -pubin -inkey beacon.pub -rawin -in FILE -sigfile FILE.sig
package signing

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"

	"inventorybeacon/uploads/durablefile"
)

// Header carries a signature over the body of the answer it stands on.
const Header = "Beacon-Signature"

// The files in the folder of keys.
const (
	PrivateFile = "beacon.key"
	PublicFile  = "beacon.pub"
)

// A Key signs. It may be used from several goroutines.
type Key struct{ private ed25519.PrivateKey }

// Open reads the key pair in dir, which must exist, and makes it the first time.
// The public key's file is made anew where it is missing or another's. A private
// key that others may read is used, with a warning: the folder may still keep
// them out.
func Open(dir string, log *slog.Logger) (*Key, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open signing key: %w", err)
	}
	defer root.Close()
	k, err := load(root)
	if errors.Is(err, fs.ErrNotExist) {
		k, err = create(root)
	}
	if err != nil {
		return nil, fmt.Errorf("signing key %s: %w", filepath.Join(dir, PrivateFile), err)
	}
	if err := k.publish(root, log); err != nil {
		return nil, fmt.Errorf("publish signing key %s: %w", filepath.Join(dir, PublicFile), err)
	}
	if fi, err := root.Stat(PrivateFile); err == nil && runtime.GOOS != "windows" && fi.Mode().Perm()&0o077 != 0 {
		log.Warn("the signing key's file can be read by others: chmod 600", "file", filepath.Join(dir, PrivateFile), "mode", fi.Mode().Perm().String())
	}
	return k, nil
}

var errDamaged = errors.New("it holds no Ed25519 key in PEM: restore it, or move it away to have a new one made, with which older signatures do not agree")

func load(root *os.Root) (*Key, error) {
	text, err := root.ReadFile(PrivateFile)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errDamaged
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", errDamaged, err)
	}
	private, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, errDamaged
	}
	return &Key{private}, nil
}

// create makes the private key, durably, before anything is signed with it. Of
// two processes the first one's counts.
func create(root *os.Root) (*Key, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	err = durablefile.Write(root, PrivateFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
	if errors.Is(err, fs.ErrExist) {
		return load(root)
	}
	return &Key{private}, err
}

// publish writes the public key's file unless it is there as it should be.
func (k *Key) publish(root *os.Root, log *slog.Logger) error {
	public, err := k.PublicPEM()
	if err != nil {
		return err
	}
	have, err := root.ReadFile(PublicFile)
	switch {
	case err == nil && bytes.Equal(have, public):
		return nil
	case err == nil:
		log.Warn("the public signing key's file was not that of the private one and is written anew", "file", PublicFile)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return durablefile.Replace(root, PublicFile, public, 0o644)
}

// PublicPEM returns the public key as its file holds it.
func (k *Key) PublicPEM() ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(k.private.Public())
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// Sign returns the signature over exactly these bytes.
func (k *Key) Sign(b []byte) []byte { return ed25519.Sign(k.private, b) }

// Encode writes a signature as its header has it.
func Encode(signature []byte) string { return base64.StdEncoding.EncodeToString(signature) }
