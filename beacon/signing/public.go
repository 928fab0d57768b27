package signing

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
)

// Public returns the public key.
func (k *Key) Public() ed25519.PublicKey { return k.private.Public().(ed25519.PublicKey) }

var errNoPublic = errors.New("it holds no Ed25519 public key in PEM: give the file keys/beacon.pub of the other beacon")

// ParsePublic reads a public key's file.
func ParsePublic(text []byte) (ed25519.PublicKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errNoPublic
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, errNoPublic
	}
	public, ok := parsed.(ed25519.PublicKey)
	if !ok {
		return nil, errNoPublic
	}
	return public, nil
}
