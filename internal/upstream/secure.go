package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/session"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// sessionsKept is how many sessions of TLS are remembered for each endpoint: as
// many as there are loops and names that copies ask for, in most houses.
const sessionsKept = 128

// clientConfig is how endpoints with def are reached; nil for in the clear.
func clientConfig(def *config.BackendTLS, address string) *tls.Config {
	if def == nil {
		return nil
	}
	c := &tls.Config{
		RootCAs:                     def.Roots,
		ServerName:                  def.ServerName,
		InsecureSkipVerify:          def.InsecureSkipVerify,
		MinVersion:                  tls.VersionTLS12,
		ClientSessionCache:          tls.NewLRUClientSessionCache(sessionsKept),
		DynamicRecordSizingDisabled: true,
	}
	if def.Pair != nil {
		c.Certificates = []tls.Certificate{*def.Pair}
	}
	if c.ServerName == "" {
		c.ServerName, _, _ = net.SplitHostPort(address) // an endpoint has a port
	}
	return c
}

// settings are those of the endpoint for one connection, offering protocols.
func (c *Conn) settings(protocols []string) *tls.Config {
	cfg := c.endpoint.tls.Clone()
	cfg.NextProtos = protocols
	if c.server != "" {
		cfg.ServerName = c.server
	}
	return cfg
}

// secure begins the handshake of TLS on a connection that was just made.
func (c *Conn) secure() {
	protocols := []string{"http/1.1"}
	switch {
	case c.raw:
		protocols = nil // nobody knows what the client speaks
	case c.endpoint.Backend.def.Load().Protocol == config.ProtocolAuto && !c.lastCall && !c.upgrade:
		protocols = []string{"h2", "http/1.1"}
	}
	c.shaking = true
	c.client.Loop.SecureClient(c.conn, c.settings(protocols), 0, c.secured) // the timer of the connection bounds it
}

// secured goes on when the handshake has ended.
func (c *Conn) secured(conn *loop.Conn, state *tls.ConnectionState, err error) {
	c.shaking = false
	switch {
	case c.closed:
	case err != nil:
		c.fail(Failure{Reason: traffic.FailTLS, Detail: tlsFault(err)})
	case state.NegotiatedProtocol == "h2":
		c.endpoint.chose.Store(true)
		c.becomeLane(session.Connect(conn, "https", c.client.sessionOptions(c.endpoint)))
	default:
		if !c.raw && !c.lastCall && !c.upgrade {
			c.endpoint.chose.Store(false)
		}
		c.opened()
	}
}

// becomeLane gives the connection to a session and goes on as the first of its
// lanes, which connects when the session does.
func (c *Conn) becomeLane(s *session.Session) {
	p := &c.client.pool(c.endpoint).sessions
	p.open = append(p.open, pooled{s, c.server})
	c.lane = true
	c.conn = s.Open(c)
	c.setPlace()
}

// refusedBy says whether err is an alert of the other side: in TLS 1.3 it looks at
// our certificate when we take the handshake for done.
func refusedBy(err error) bool {
	var remote *net.OpError
	return errors.As(err, &remote) && remote.Op == "remote error"
}

// tlsFault says in words why TLS with a backend failed.
func tlsFault(err error) string {
	var host x509.HostnameError
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &host):
		return "the backend's certificate is for another name: " + strings.TrimPrefix(host.Error(), "x509: ")
	case errors.As(err, &unknown):
		return "the backend's certificate is signed by an authority that is not trusted; tls.ca of the backend names those that are"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the backend's certificate has expired or is not valid yet: " + strings.TrimPrefix(invalid.Error(), "x509: ")
	case errors.As(err, &record):
		return "the backend does not speak TLS at this address"
	case !refusedBy(err):
		return "the TLS handshake with the backend failed: " + strings.TrimPrefix(err.Error(), "tls: ")
	}
	switch text := strings.TrimPrefix(err.Error(), "remote error: tls: "); text {
	case "certificate required", "bad certificate", "handshake failure":
		return "the backend refused us, perhaps for want of a client certificate: " + text
	default:
		return "the backend refused us: " + text
	}
}
