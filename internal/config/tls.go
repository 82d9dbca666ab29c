package config

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// ListenerTLS says what a listener does with TLS.
type ListenerTLS struct {
	Mode         string        `yaml:"mode"`         // Terminate, or with TLS also Passthrough: it stays encrypted, and only the name of the server is read
	Certificates []Certificate `yaml:"certificates"` // chosen by the name that the client asks for; the first is for all others
	ClientAuth   ClientAuth    `yaml:"clientAuth"`   // default none
	ClientCA     string        `yaml:"clientCA"`     // PEM file of the authorities that sign clients' certificates
	MinVersion   string        `yaml:"minVersion"`   // 1.2 or 1.3; default 1.2
	CipherSuites []string      `yaml:"cipherSuites"` // of TLS 1.2, names as in Go; empty = those that are thought secure
	ALPN         []string      `yaml:"alpn"`         // protocols to offer; default of HTTPS h2 and http/1.1, of TLS none

	// Clients holds the authorities of ClientCA. Set when the files are read.
	Clients *x509.CertPool `yaml:"-"`
}

// The modes of TLS. Passthrough leaves it to the backends.
const (
	TLSTerminate   = "Terminate"
	TLSPassthrough = "Passthrough"
)

// Certificate names the files of a certificate and its key, both PEM.
type Certificate struct {
	Cert string `yaml:"cert"` // the certificate, followed by those of the authorities between
	Key  string `yaml:"key"`

	// Pair is their content, its Leaf parsed. Set when the files are read.
	Pair *tls.Certificate `yaml:"-"`
}

// ClientAuth says whether clients show certificates.
type ClientAuth string

// Whether clients show certificates. One that is shown must always be valid.
const (
	ClientAuthNone     ClientAuth = "none"
	ClientAuthOptional ClientAuth = "optional"
	ClientAuthRequire  ClientAuth = "require"
)

// BackendTLS says how a backend is reached by TLS.
type BackendTLS struct {
	CA                 string `yaml:"ca"`                 // PEM file of authorities; empty = the system's
	ServerName         string `yaml:"serverName"`         // name to ask for and to verify; empty = the endpoint's host, and for copies that of the Host policy
	Cert               string `yaml:"cert"`               // shown to the backend
	Key                string `yaml:"key"`                // of cert
	InsecureSkipVerify bool   `yaml:"insecureSkipVerify"` // believe anybody

	// Roots and Pair are the content of the files. Set when they are read.
	Roots *x509.CertPool   `yaml:"-"`
	Pair  *tls.Certificate `yaml:"-"`
}

// Same says whether connections made under t may be used under u: all that they
// say is the same, and so is what was in the files.
func (t *BackendTLS) Same(u *BackendTLS) bool {
	if t == nil || u == nil {
		return t == u
	}
	return t.ServerName == u.ServerName && t.InsecureSkipVerify == u.InsecureSkipVerify &&
		t.Roots.Equal(u.Roots) && samePair(t.Pair, u.Pair)
}

func samePair(a, b *tls.Certificate) bool {
	if a == nil || b == nil {
		return a == b
	}
	return slices.EqualFunc(a.Certificate, b.Certificate, bytes.Equal)
}

// Files lists the files that c was made of besides its own, each once.
func (c *Config) Files() []string {
	var files []string
	add := func(names ...string) {
		for _, name := range names {
			if name != "" && !slices.Contains(files, name) {
				files = append(files, name)
			}
		}
	}
	for i := range c.Listeners {
		if t := c.Listeners[i].TLS; t != nil {
			for _, pair := range t.Certificates {
				add(pair.Cert, pair.Key)
			}
			add(t.ClientCA)
		}
	}
	for i := range c.Backends {
		if t := c.Backends[i].TLS; t != nil {
			add(t.CA, t.Cert, t.Key)
		}
	}
	return files
}

// CipherSuite is the suite of that name, if it is one of TLS 1.2 that is thought
// secure.
func CipherSuite(name string) (uint16, bool) {
	for _, s := range tls.CipherSuites() {
		if s.Name == name && slices.Contains(s.SupportedVersions, tls.VersionTLS12) {
			return s.ID, true
		}
	}
	return 0, false
}

// warn notes what is allowed and probably not meant.
func (v *validator) warn(p *place, hint, format string, args ...any) {
	v.config.Warnings = append(v.config.Warnings, FieldError{Path: p.String(), Message: fmt.Sprintf(format, args...), Hint: hint})
}

// terminating checks the TLS of a listener that ends it, and reads its files.
func (v *validator) terminating(p *place, l *Listener) {
	t := l.TLS
	oneOf(v, p.field("mode"), t.Mode, TLSTerminate)
	list := p.field("certificates")
	if len(t.Certificates) == 0 {
		v.fail(list, "write them like [{cert: shop.crt, key: shop.key}]", "is empty, so there is nothing to show to clients")
	}
	for i := range t.Certificates {
		c := &t.Certificates[i]
		c.Pair = v.pair(list.at(i), c.Cert, c.Key)
	}
	oneOf(v, p.field("clientAuth"), t.ClientAuth, ClientAuthNone, ClientAuthOptional, ClientAuthRequire)
	switch asks := t.ClientAuth != ClientAuthNone; {
	case asks && t.ClientCA == "":
		v.fail(p.field("clientCA"), "name the file of the authorities that sign clients' certificates", "is missing, so no client could be believed")
	case !asks && t.ClientCA != "":
		v.fail(p.field("clientCA"), "write clientAuth: require, or optional", "has no effect, because clients are not asked for certificates")
	case asks:
		t.Clients = v.authorities(p.field("clientCA"), t.ClientCA)
	}
	oneOf(v, p.field("minVersion"), t.MinVersion, "1.2", "1.3")
	v.cipherSuites(p.field("cipherSuites"), t)
	for i, name := range t.ALPN {
		if l.Protocol == "TLS" {
			break // whatever the backend speaks
		}
		oneOf(v, p.field("alpn").at(i), name, "h2", "http/1.1")
	}
}

func (v *validator) cipherSuites(list *place, t *ListenerTLS) {
	if t.MinVersion == "1.3" && len(t.CipherSuites) > 0 {
		v.fail(list, "remove it", "has no effect with TLS 1.3, whose suites are all secure")
	}
	var names []string
	for _, s := range tls.CipherSuites() {
		if _, ok := CipherSuite(s.Name); ok {
			names = append(names, s.Name)
		}
	}
	for i, name := range t.CipherSuites {
		insecure := slices.ContainsFunc(tls.InsecureCipherSuites(), func(s *tls.CipherSuite) bool { return s.Name == name })
		if _, ok := CipherSuite(name); insecure {
			v.fail(list.at(i), "remove it", "%s is broken", name)
		} else if !ok {
			v.fail(list.at(i), suggest(name, names), "%q is not a cipher suite of TLS 1.2", abridged(name))
		}
	}
}

// backendTLS checks how a backend is reached, and reads its files.
func (v *validator) backendTLS(p *place, t *BackendTLS) {
	if t.CA != "" {
		t.Roots = v.authorities(p.field("ca"), t.CA)
	}
	if t.Cert != "" || t.Key != "" {
		t.Pair = v.pair(p, t.Cert, t.Key)
	}
	if t.ServerName != "" && !isHost(t.ServerName) {
		v.fail(p.field("serverName"), "write it like shop.internal", "%q is not a name", abridged(t.ServerName))
	}
	switch {
	case !t.InsecureSkipVerify:
	case t.CA != "":
		v.fail(p.field("insecureSkipVerify"), "remove one of them", "believes anybody, whatever ca says")
	default:
		v.warn(p.field("insecureSkipVerify"), "name the authority with ca, and the server with serverName",
			"the backend is not verified: whoever answers at its address gets the requests")
	}
}

// pair reads a certificate and its key.
func (v *validator) pair(p *place, certFile, keyFile string) *tls.Certificate {
	cert := v.read(p.field("cert"), certFile)
	key := v.read(p.field("key"), keyFile)
	if cert == nil || key == nil {
		return nil
	}
	if !v.holds(p.field("cert"), certFile, cert, "CERTIFICATE") {
		return nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		at, file := p.field("cert"), certFile
		if _, bad := x509.ParseCertificate(firstBlock(cert)); bad == nil {
			at, file = p.field("key"), keyFile
		}
		v.fail(at, "", "%s: %s", file, plainError(err))
		return nil
	}
	if pair.Leaf == nil {
		pair.Leaf, _ = x509.ParseCertificate(pair.Certificate[0]) // X509KeyPair has parsed it
	}
	v.inTime(p.field("cert"), certFile, pair.Leaf)
	return &pair
}

// plainError says in our words what crypto/tls says of a key.
func plainError(err error) string {
	switch text := err.Error(); text {
	case "tls: private key does not match public key", "tls: private key type does not match public key type":
		return "the key is not that of the certificate"
	case "tls: failed to find any PEM data in key input":
		return "has no PEM block"
	default:
		return text
	}
}

// authorities reads a bundle of certificates.
func (v *validator) authorities(p *place, file string) *x509.CertPool {
	data := v.read(p, file)
	if data == nil || !v.holds(p, file, data, "CERTIFICATE") {
		return nil
	}
	pool := x509.NewCertPool()
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			v.fail(p, "", "%s: %s", file, err)
			return nil
		}
		v.inTime(p, file, cert)
		pool.AddCert(cert)
	}
	return pool
}

// maxPEM is more than all authorities of the world take.
const maxPEM = 8 << 20

// read returns what is in a file, or nil after saying why not.
func (v *validator) read(p *place, file string) []byte {
	if file == "" {
		v.fail(p, "name a PEM file", "is missing")
		return nil
	}
	info, err := os.Stat(file)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxPEM) {
		err = errors.New("is not a PEM file")
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(file)
	}
	var failed *os.PathError
	if errors.As(err, &failed) {
		err = failed.Err
	}
	if err != nil {
		v.fail(p, "relative names begin where understudy was started", "%s: %s", file, err)
		return nil
	}
	return data
}

// holds says whether a file has a PEM block of a type.
func (v *validator) holds(p *place, file string, data []byte, kind string) bool {
	found := ""
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == kind {
			return true
		}
		found = block.Type
	}
	if found == "" {
		v.fail(p, "convert it with openssl x509 -inform der", "%s: has no PEM block", file)
	} else {
		v.fail(p, "", "%s: has no %s, but a %s", file, kind, found)
	}
	return false
}

func firstBlock(data []byte) []byte {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			return block.Bytes
		}
	}
	return nil
}

// inTime warns of a certificate that is not valid now. It is no error: a proxy
// that does not start because one of its certificates has expired serves nobody.
func (v *validator) inTime(p *place, file string, cert *x509.Certificate) {
	const day = "2006-01-02"
	switch now := time.Now(); {
	case now.After(cert.NotAfter):
		v.warn(p, "renew it", "%s: the certificate of %s expired on %s", file, nameOf(cert), cert.NotAfter.UTC().Format(day))
	case now.Before(cert.NotBefore):
		v.warn(p, "look at the clock", "%s: the certificate of %s is not valid before %s", file, nameOf(cert), cert.NotBefore.UTC().Format(day))
	}
}

// nameOf is what people call the owner of a certificate.
func nameOf(cert *x509.Certificate) string {
	switch {
	case len(cert.DNSNames) > 0:
		return cert.DNSNames[0]
	case cert.Subject.CommonName != "":
		return cert.Subject.CommonName
	}
	return "nobody"
}
