// Package certs makes certificates for tests, in files as people have them.
package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Authority signs certificates and writes them to a folder of its own.
type Authority struct {
	File string         // of its own certificate
	Pool *x509.CertPool // that has it alone

	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Leaf is a certificate that an Authority has signed, in two files.
type Leaf struct {
	Cert, Key string
	Pair      tls.Certificate
}

// New makes an authority.
func New(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{dir: t.TempDir(), Pool: x509.NewCertPool()}
	a.key = newKey(t)
	template := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: "authority of " + t.Name()},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.Pool.AddCert(a.cert)
	a.File = filepath.Join(a.dir, "authority.pem")
	write(t, a.File, "CERTIFICATE", der)
	return a
}

// Leaf signs a certificate for names: addresses, URIs, addresses of e-mail and
// names of hosts. It is for servers and clients.
func (a *Authority) Leaf(t testing.TB, names ...string) *Leaf {
	t.Helper()
	return a.Until(t, time.Now().Add(time.Hour), names...)
}

// Until is Leaf for a certificate that is valid to end, which may be past.
func (a *Authority) Until(t testing.TB, end time.Time, names ...string) *Leaf {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: "leaf"},
		NotBefore: end.Add(-2 * time.Hour), NotAfter: end,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, name := range names {
		addName(t, template, name)
	}
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	base := filepath.Join(a.dir, template.SerialNumber.Text(36))
	l := &Leaf{Cert: base + ".crt", Key: base + ".key"}
	write(t, l.Cert, "CERTIFICATE", der)
	write(t, l.Key, "PRIVATE KEY", secret)
	if l.Pair, err = tls.LoadX509KeyPair(l.Cert, l.Key); err != nil {
		t.Fatal(err)
	}
	return l
}

func addName(t testing.TB, c *x509.Certificate, name string) {
	t.Helper()
	switch ip := net.ParseIP(name); {
	case ip != nil:
		c.IPAddresses = append(c.IPAddresses, ip)
	case strings.Contains(name, "://"):
		u, err := url.Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		c.URIs = append(c.URIs, u)
	case strings.Contains(name, "@"):
		c.EmailAddresses = append(c.EmailAddresses, name)
	default:
		c.DNSNames = append(c.DNSNames, name)
	}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func serial(t testing.TB) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func write(t testing.TB, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}
