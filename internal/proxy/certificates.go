package proxy

import (
	"crypto/tls"
	"errors"
	"strings"
	"sync/atomic"

	"github.com/understudy-proxy/understudy/internal/config"
)

// terminator is a listener's end of TLS. It outlives configurations, and with it
// the keys of session tickets do, so that clients resume their sessions after a
// reload and on any loop.
type terminator struct {
	config  *tls.Config // for handshakes: asks for what is in force
	inForce atomic.Pointer[tls.Config]
}

func newTerminator() *terminator {
	t := &terminator{}
	t.config = &tls.Config{
		// What comes next is whole messages: small records at the beginning would
		// cost more than they gain.
		DynamicRecordSizingDisabled: true,
		MinVersion:                  tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			if c := t.inForce.Load(); c != nil {
				return c, nil
			}
			return nil, errors.New("the listener does not speak TLS any more")
		},
	}
	return t
}

// use has handshakes from now on go by def.
func (t *terminator) use(def *config.ListenerTLS) {
	c := &tls.Config{
		GetCertificate:              newWardrobe(def.Certificates).choose,
		MinVersion:                  tls.VersionTLS12,
		NextProtos:                  def.ALPN,
		ClientCAs:                   def.Clients,
		ClientAuth:                  clientAuth[def.ClientAuth],
		DynamicRecordSizingDisabled: true,
	}
	if def.MinVersion == "1.3" {
		c.MinVersion = tls.VersionTLS13
	}
	for _, name := range def.CipherSuites {
		if id, ok := config.CipherSuite(name); ok {
			c.CipherSuites = append(c.CipherSuites, id)
		}
	}
	t.inForce.Store(c)
}

var clientAuth = map[config.ClientAuth]tls.ClientAuthType{
	config.ClientAuthNone:     tls.NoClientCert,
	config.ClientAuthOptional: tls.VerifyClientCertIfGiven,
	config.ClientAuthRequire:  tls.RequireAndVerifyClientCert,
}

// wardrobe holds the certificates of a listener by the names they are for.
type wardrobe struct {
	exact    map[string][]*tls.Certificate
	wildcard map[string][]*tls.Certificate // by what follows "*."
	all      []*tls.Certificate
}

func newWardrobe(list []config.Certificate) *wardrobe {
	w := &wardrobe{exact: map[string][]*tls.Certificate{}, wildcard: map[string][]*tls.Certificate{}}
	for i := range list {
		pair := list[i].Pair
		w.all = append(w.all, pair)
		for _, name := range pair.Leaf.DNSNames {
			name = strings.ToLower(name)
			if suffix, ok := strings.CutPrefix(name, "*."); ok {
				w.wildcard[suffix] = append(w.wildcard[suffix], pair)
			} else {
				w.exact[name] = append(w.exact[name], pair)
			}
		}
	}
	return w
}

// choose returns the certificate for the name that the client asks for: an exact
// one before a wildcard, else the first of the listener. Of several for one name
// it is the first that the client can read.
func (w *wardrobe) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	candidates := w.exact[name]
	if len(candidates) == 0 {
		_, suffix, _ := strings.Cut(name, ".")
		candidates = w.wildcard[suffix]
	}
	if len(candidates) == 0 {
		candidates = w.all[:1]
	}
	for _, c := range candidates {
		if hello.SupportsCertificate(c) == nil {
			return c, nil
		}
	}
	return candidates[0], nil
}
