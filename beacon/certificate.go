package beacon

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"inventorybeacon/uploads/durablefile"
)

// statEvery is how often the files of a certificate are looked at, at most.
const statEvery = time.Second

// A keyPair is a certificate and its key, read again when the files change. A
// pair that cannot be used leaves the old one in force.
type keyPair struct {
	certificate, key string
	log              *slog.Logger
	failed           func() // called for each change that could not be used

	mu      sync.Mutex
	pair    *tls.Certificate
	stamp   [2]stamp
	checked time.Time
}

// A stamp tells two states of a file apart.
type stamp struct {
	modified time.Time
	size     int64
}

func loadKeyPair(certificate, key string, log *slog.Logger, failed func()) (*keyPair, error) {
	p := &keyPair{certificate: certificate, key: key, log: log, failed: failed}
	p.stamp = p.stamps()
	if err := p.load(); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *keyPair) load() error {
	pair, err := tls.LoadX509KeyPair(p.certificate, p.key)
	if err != nil {
		return fmt.Errorf("load certificate %s: %w", p.certificate, err)
	}
	p.pair = &pair
	return nil
}

// stamps leaves a file that cannot be seen at zero, which is a change too.
func (p *keyPair) stamps() (s [2]stamp) {
	for i, name := range []string{p.certificate, p.key} {
		if fi, err := os.Stat(name); err == nil {
			s[i] = stamp{fi.ModTime(), fi.Size()}
		}
	}
	return s
}

// get is for [tls.Config.GetCertificate].
func (p *keyPair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return p.at(time.Now()), nil
}

func (p *keyPair) at(now time.Time) *tls.Certificate {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.checked) < statEvery {
		return p.pair
	}
	p.checked = now
	s := p.stamps()
	if s == p.stamp {
		return p.pair
	}
	p.stamp = s
	if err := p.load(); err != nil {
		p.failed()
		p.log.Error("changed certificate cannot be used; the old one stays: put a certificate and its key in place", "err", err)
	} else {
		p.log.Info("certificate reloaded", "file", p.certificate, "expires", p.pair.Leaf.NotAfter)
	}
	return p.pair
}

// expires returns the end of the certificate in force.
func (p *keyPair) expires() time.Time { return p.at(time.Now()).Leaf.NotAfter }

// tlsConfig serves p from the given version ("1.2" or "1.3") on. TLS 1.2 is for
// old agents, with the suites that authenticate what they encrypt.
func tlsConfig(p *keyPair, version string) *tls.Config {
	c := &tls.Config{GetCertificate: p.get, MinVersion: tls.VersionTLS13}
	if version == "1.2" {
		c.MinVersion = tls.VersionTLS12
		c.CipherSuites = []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		}
	}
	return c
}

// selfSignedLife is long because nobody renews what was made to try things out.
const selfSignedLife = 5 * 365 * 24 * time.Hour

// ensureSelfSigned makes a certificate for this machine's names where there is
// neither a certificate nor a key, and reports whether it did. Agents trust it
// with --ca.
func ensureSelfSigned(certificate, key string, hosts []string, now time.Time) (bool, error) {
	_, errC := os.Stat(certificate)
	_, errK := os.Stat(key)
	if !errors.Is(errC, fs.ErrNotExist) || !errors.Is(errK, fs.ErrNotExist) {
		return false, nil // loading says what is wrong, if anything
	}
	cert, private, err := selfSigned(hosts, now)
	if err != nil {
		return false, fmt.Errorf("make certificate: %w", err)
	}
	root, err := os.OpenRoot(filepath.Dir(certificate))
	if err != nil {
		return false, fmt.Errorf("make certificate: %w", err)
	}
	defer root.Close()
	// The key first: a certificate without one would not be made again.
	if err := durablefile.Write(root, filepath.Base(key), private, 0o600); err != nil {
		return false, fmt.Errorf("make certificate: %w", err)
	}
	if err := durablefile.Write(root, filepath.Base(certificate), cert, 0o644); err != nil {
		return false, fmt.Errorf("make certificate: %w", err)
	}
	return true, nil
}

func selfSigned(hosts []string, now time.Time) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: hosts[0]},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(selfSignedLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else if h != "" {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, private.Public(), private)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}
