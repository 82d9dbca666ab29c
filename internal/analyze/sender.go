package analyze

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/preface"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// sender puts questions by HTTP, in the way in which the backend's copies go. It is
// safe for many goroutines.
type sender struct {
	mu     sync.Mutex
	cfg    *config.Config
	routes map[string]*reach // by backend
}

// reach is how one backend is reached. Each endpoint has connections of its own, by
// the name that TLS asks for.
type reach struct {
	def       *config.Backend
	endpoints []*http.Transport // nil = none has been needed yet
	next      int
}

func newSender() *sender { return &sender{routes: make(map[string]*reach)} }

// apply puts another configuration in force. Connections of backends that are
// others now, or gone, are closed when they are idle.
func (s *sender) apply(cfg *config.Config) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cfg = cfg
	for name, t := range s.routes {
		if def := backendOf(cfg, name); def == nil || !sameWay(def, t.def) {
			t.closeIdle()
			delete(s.routes, name)
		}
	}
}

func sameWay(a, b *config.Backend) bool {
	return a.Protocol == b.Protocol && a.ProxyProtocol == b.ProxyProtocol && a.ConnectTimeout == b.ConnectTimeout && a.IdleTimeout == b.IdleTimeout &&
		a.TLS.Same(b.TLS) && slices.Equal(a.Endpoints, b.Endpoints)
}

// close ends what is open.
func (s *sender) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.routes {
		t.closeIdle()
	}
}

func (t *reach) closeIdle() {
	for _, e := range t.endpoints {
		if e != nil {
			e.CloseIdleConnections()
		}
	}
}

// choose finds how a question gets to which endpoint.
func (s *sender) choose(q *Question) (way, *http.Transport, string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w, ok := find(s.cfg, label{q.Route, q.Rule, q.Mirror}, q.Backend)
	if !ok {
		return way{}, nil, "", false
	}
	t := s.routes[q.Backend]
	if t == nil {
		t = &reach{def: w.backend, endpoints: make([]*http.Transport, len(w.backend.Endpoints))}
		s.routes[q.Backend] = t
	}
	t.next = (t.next + 1) % len(t.endpoints)
	endpoint := w.backend.Endpoints[t.next]
	if w.backend.ProxyProtocol != "" {
		return w, newTransport(w.backend, endpoint, q.Live.Client), endpoint, true // of one client, and closed after its answer
	}
	if t.endpoints[t.next] == nil {
		t.endpoints[t.next] = newTransport(w.backend, endpoint, netip.Addr{})
	}
	return w, t.endpoints[t.next], endpoint, true
}

// newTransport makes connections to one endpoint, whatever name a request has for
// it: by names they are told apart. A backend that wants to be told of the client is.
func newTransport(def *config.Backend, endpoint string, client netip.Addr) *http.Transport {
	dialer := net.Dialer{Timeout: time.Duration(max(def.ConnectTimeout, 0))}
	t := &http.Transport{
		DisableCompression: true, MaxIdleConns: mostAsking, MaxIdleConnsPerHost: mostAsking, IdleConnTimeout: time.Duration(max(def.IdleTimeout, 0)),
		Protocols: new(http.Protocols), DisableKeepAlives: def.ProxyProtocol != "",
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, "tcp", endpoint)
			if err != nil || def.ProxyProtocol == "" {
				return conn, err
			}
			return announced(conn, def.ProxyProtocol, client)
		},
	}
	t.Protocols.SetHTTP1(def.Protocol != config.ProtocolHTTP2)
	switch {
	case def.TLS == nil:
		t.Protocols.SetUnencryptedHTTP2(def.Protocol == config.ProtocolHTTP2)
	default:
		t.Protocols.SetHTTP2(def.Protocol != config.ProtocolHTTP1 && def.ProxyProtocol == "")
		t.TLSClientConfig = &tls.Config{
			RootCAs: def.TLS.Roots, ServerName: def.TLS.ServerName, InsecureSkipVerify: def.TLS.InsecureSkipVerify, MinVersion: tls.VersionTLS12,
		}
		if def.TLS.Pair != nil {
			t.TLSClientConfig.Certificates = []tls.Certificate{*def.TLS.Pair}
		}
	}
	return t
}

// announced tells of the client by a PROXY header. Its port is not known any more,
// and what it has connected to is not what is connected to now: the latter is told.
func announced(conn net.Conn, version string, client netip.Addr) (net.Conn, error) {
	number := 1
	if version == "v2" {
		number = 2
	}
	to, _ := conn.RemoteAddr().(*net.TCPAddr)
	header := preface.AppendProxy(nil, number, netip.AddrPortFrom(client, 0), to.AddrPort())
	if _, err := conn.Write(header); err != nil {
		conn.Close()
		return nil, fmt.Errorf("tell of the client: %w", err)
	}
	return conn, nil
}

// Ask implements Asker.
func (s *sender) Ask(ctx context.Context, q *Question) *traffic.Outcome {
	out := &traffic.Outcome{Backend: q.Backend, Mirror: q.Mirror, Fate: traffic.Failed, Source: traffic.Shadow}
	w, t, endpoint, ok := s.choose(q)
	if !ok {
		return nil
	}
	r, ok := w.again(q.Request, q.Live, endpoint, newID())
	if !ok {
		return nil
	}
	out.Endpoint = endpoint
	if d := time.Duration(w.mirror.Timeout); d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	began := time.Now()
	var start, first atomic.Int64 // are written even when the request has been given up
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaders:         func() { start.Store(int64(time.Since(began))) },
		GotFirstResponseByte: func() { first.Store(int64(time.Since(began))) },
	})
	request, err := r.request(ctx, w.backend.TLS != nil, w.place(r, endpoint))
	if err != nil {
		return nil
	}
	answer, err := t.RoundTrip(request)
	if err == nil {
		s.mu.Lock()
		limit := int64(s.cfg.Capture.Body)
		s.mu.Unlock()
		err = read(out, answer, limit)
	}
	out.Start, out.First, out.End = time.Duration(start.Load()), time.Duration(first.Load()), time.Since(began)
	if err != nil {
		out.Reason, out.Error = traffic.FailReset, err.Error()
		if errors.Is(err, context.DeadlineExceeded) {
			out.Reason = traffic.FailTimeout
		}
		return out
	}
	out.Fate, out.Source = traffic.Completed, traffic.None
	return out
}

// place is what a connection to the endpoint is called: with TLS by the name of the
// server that it asks for, which is that of copies.
func (w way) place(r *resend, endpoint string) string {
	if w.backend.TLS == nil || w.backend.TLS.ServerName != "" || w.mirror.Host.Kind == config.HostBackend {
		return endpoint
	}
	name := r.host
	if host, _, err := net.SplitHostPort(r.host); err == nil {
		name = host
	}
	name = strings.Trim(name, "[]")
	if name == "" {
		return endpoint
	}
	const port = "443" // no matter which: the transport knows where to connect
	return net.JoinHostPort(name, port)
}

// request is r for net/http, sent to a place whatever its host says.
func (r *resend) request(ctx context.Context, secure bool, place string) (*http.Request, error) {
	scheme := "http"
	if secure {
		scheme = "https"
	}
	path, query, _ := strings.Cut(r.target, "?")
	// As it was written, not as url would write it; unless it begins with what it
	// would take for a host.
	u := &url.URL{Scheme: scheme, Host: place, Opaque: path, RawQuery: query}
	if strings.HasPrefix(path, "//") {
		plain, err := url.PathUnescape(path)
		if err != nil {
			return nil, fmt.Errorf("ask again: %w", err)
		}
		u.Opaque, u.Path, u.RawPath = "", plain, path
	}
	request, err := http.NewRequestWithContext(ctx, r.method, scheme+"://place/", bytes.NewReader(r.body))
	if err != nil {
		return nil, fmt.Errorf("ask again: %w", err)
	}
	request.URL, request.Host = u, r.host
	request.Header["User-Agent"] = nil // ours is none of the client's
	for _, h := range r.fields {
		name := http.CanonicalHeaderKey(h.Name)
		request.Header[name] = append(request.Header[name], h.Value)
	}
	return request, nil
}

// read takes an answer in, as a copy's is captured.
func read(out *traffic.Outcome, answer *http.Response, limit int64) error {
	defer answer.Body.Close()
	if limit <= 0 {
		limit = 1 << 20
	}
	out.Status = answer.StatusCode
	m := &traffic.Message{Head: head(answer)}
	body, err := io.ReadAll(io.LimitReader(answer.Body, limit))
	m.Body, m.Length = body, int64(len(body))
	if err == nil {
		hash := xxhash.New()
		_, _ = hash.Write(body) // it never fails
		var more int64
		if more, err = io.Copy(hash, answer.Body); more > 0 {
			m.Length += more
			m.Hash = hash.Sum64()
		}
	}
	m.Whole = err == nil
	m.Trailer = fields(answer.Trailer)
	out.Bytes, out.Answer = m.Length, m
	return err
}

// head writes the head of an answer as HTTP/1.1.
func head(answer *http.Response) []byte {
	start := fmt.Sprintf("HTTP/1.1 %03d %s\r\n", answer.StatusCode, http.StatusText(answer.StatusCode))
	lines := append([]byte(start), fields(answer.Header)...)
	if answer.ContentLength >= 0 && answer.Header.Get("Content-Length") == "" && answer.ProtoMajor == 1 {
		lines = fmt.Appendf(lines, "Content-Length: %d\r\n", answer.ContentLength)
	}
	return lines
}

func fields(h http.Header) []byte {
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	sort.Strings(names)
	var out []byte
	for _, name := range names {
		for _, value := range h[name] {
			out = fmt.Appendf(out, "%s: %s\r\n", name, value)
		}
	}
	return out
}

// newID is an id for a request, and for a trace.
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
