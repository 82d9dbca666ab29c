package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/understudy-proxy/understudy/internal/http1"
	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// handshakeRow names a count of handshakes.
type handshakeRow struct {
	listener string
	result   traffic.Handshake
}

// failureLog bounds what one loop writes of handshakes that fail: anybody who can
// connect can have one fail.
type failureLog struct {
	next   time.Duration // no line before
	silent int           // failures without a line since the last one
}

// failurePause is between two lines.
const failurePause = time.Second

// shake begins the handshake of TLS on a connection that has said something: who
// says nothing costs no goroutine.
func (o *opening) shake() {
	first := o.in.Bytes()
	if len(first) == 0 {
		return
	}
	if 'A' <= first[0] && first[0] <= 'Z' { // a method; records of TLS begin with a type, 22 (RFC 8446 §5.1)
		o.answerPlain()
		return
	}
	o.shaking = true
	o.worker.loop.SecureServer(o.conn, first, o.listener.terminator.config, 0, o.shaken)
	o.in.Reset()
}

// shaken goes on when the handshake has ended.
func (o *opening) shaken(c *loop.Conn, state *tls.ConnectionState, err error) {
	w := o.worker
	if err != nil {
		result, why := handshakeFault(err)
		o.failed(result, why)
		o.forget()
		w.server.clients.Add(-1)
		c.Close()
		w.checkDrained()
		return
	}
	w.handshakes[handshakeRow{w.plan.nameOf(o.listener), traffic.HandshakeDone}]++
	o.secure, o.identities = true, identitiesOf(state)
	o.forget()
	cl := w.serve(o.arrival, state.ServerName, nil)
	c.SetHandler(cl)
	if state.NegotiatedProtocol == "h2" && cl.protocol == "" {
		cl.become(nil)
	}
}

// answerPlain tells a client that speaks HTTP without TLS what is wrong.
func (o *opening) answerPlain() {
	const why = "plain HTTP was sent to a port that speaks HTTPS"
	o.failed(traffic.HandshakePlain, why)
	a := http1.Answer{Status: 400, Body: why, Close: true}
	_, _ = o.conn.Write(a.Append(nil)) // a fresh connection takes so little at once
	o.in.Reset()
	if o.conn.CloseWrite() != nil {
		o.close()
		return
	}
	o.left = true
	o.worker.loop.Arm(&o.timer, lingerTime)
}

// failed counts a handshake that came to nothing, and says so, not too often.
func (o *opening) failed(result traffic.Handshake, why string) {
	w := o.worker
	name := w.plan.nameOf(o.listener)
	w.handshakes[handshakeRow{name, result}]++
	row := w.row(0)
	row.Codes[0]++
	row.Errors[traffic.Client]++
	w.reportTo(&o.arrival, 0, why)
	if now := w.loop.Now(); now >= w.failures.next {
		silent, client := w.failures.silent, o.from.Addr()
		w.failures = failureLog{next: now + failurePause}
		w.server.notes.add(func(log *slog.Logger) {
			log.Info("TLS handshake failed", "listener", name, "client", client, "result", string(result), "why", why, "unsaid", silent)
		})
	} else {
		w.failures.silent++
	}
}

// identitiesOf are the names in a client's certificate that was verified.
func identitiesOf(state *tls.ConnectionState) []string {
	if len(state.VerifiedChains) == 0 {
		return nil
	}
	cert := state.PeerCertificates[0]
	names := append([]string(nil), cert.DNSNames...)
	for _, u := range cert.URIs {
		names = append(names, u.String())
	}
	return append(names, cert.EmailAddresses...)
}

// handshakeFault says in words why a handshake of a client failed.
func handshakeFault(err error) (traffic.Handshake, string) {
	var remote *net.OpError
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &remote) && remote.Op == "remote error":
		return traffic.HandshakeRejected, "the client refused our certificate or what we speak: " + alertText(remote.Err)
	case errors.As(err, &cert):
		return traffic.HandshakeCertificate, "the client's certificate is not valid: " + certificateFault(cert.Err)
	case errors.As(err, &record):
		return traffic.HandshakeOther, "the client does not speak TLS"
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &remote):
		return traffic.HandshakeLeft, "the client left during the handshake"
	}
	text := strings.TrimPrefix(err.Error(), "tls: ")
	switch {
	case strings.Contains(text, "didn't provide a certificate"):
		return traffic.HandshakeCertificate, "the client showed no certificate, and the listener requires one"
	case strings.Contains(text, "unsupported versions"):
		return traffic.HandshakeVersion, "the client speaks no version of TLS that the listener allows"
	case strings.Contains(text, "no cipher suite"):
		return traffic.HandshakeVersion, "the client has no cipher suite that the listener allows"
	case strings.Contains(text, "application protocols"):
		return traffic.HandshakeVersion, "the client wants a protocol (ALPN) that the listener does not offer"
	}
	return traffic.HandshakeOther, text
}

// alertText is what the peer has said.
func alertText(err error) string { return strings.TrimPrefix(err.Error(), "tls: ") }

// certificateFault says what is wrong with a certificate.
func certificateFault(err error) string {
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &unknown):
		return "it is signed by an authority that is not in clientCA"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "it has expired or is not valid yet"
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return "it is not meant for clients"
	}
	return strings.TrimPrefix(err.Error(), "x509: ")
}
