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
	"net/url"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// sender puts questions by HTTP. It is safe for many goroutines.
type sender struct {
	mu         sync.Mutex
	cfg        *config.Config
	transports map[string]*transport // by backend
}

// transport is how one backend is reached.
type transport struct {
	def  *config.Backend
	http *http.Transport
	next int // endpoint
}

func newSender() *sender { return &sender{transports: make(map[string]*transport)} }

// apply puts another configuration in force. Connections of backends that are
// others now, or gone, are closed when they are idle.
func (s *sender) apply(cfg *config.Config) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cfg = cfg
	for name, t := range s.transports {
		if def := backendOf(cfg, name); def == nil || !sameWay(def, t.def) {
			t.http.CloseIdleConnections()
			delete(s.transports, name)
		}
	}
}

func sameWay(a, b *config.Backend) bool {
	return a.Protocol == b.Protocol && a.TLS.Same(b.TLS) && strings.Join(a.Endpoints, " ") == strings.Join(b.Endpoints, " ")
}

// close ends what is open.
func (s *sender) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.transports {
		t.http.CloseIdleConnections()
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
	t := s.transports[q.Backend]
	if t == nil {
		t = &transport{def: w.backend, http: newTransport(w.backend)}
		s.transports[q.Backend] = t
	}
	t.next++
	return w, t.http, w.backend.Endpoints[t.next%len(w.backend.Endpoints)], true
}

func newTransport(def *config.Backend) *http.Transport {
	t := &http.Transport{
		DisableCompression: true, MaxIdleConnsPerHost: mostAsking, IdleConnTimeout: time.Duration(max(def.IdleTimeout, 0)),
		Protocols: new(http.Protocols), DialContext: (&net.Dialer{Timeout: time.Duration(max(def.ConnectTimeout, 0))}).DialContext,
	}
	t.Protocols.SetHTTP1(def.Protocol != config.ProtocolHTTP2)
	switch {
	case def.TLS == nil:
		t.Protocols.SetUnencryptedHTTP2(def.Protocol == config.ProtocolHTTP2)
	default:
		t.Protocols.SetHTTP2(def.Protocol != config.ProtocolHTTP1)
		t.TLSClientConfig = &tls.Config{
			RootCAs: def.TLS.Roots, ServerName: def.TLS.ServerName, InsecureSkipVerify: def.TLS.InsecureSkipVerify, MinVersion: tls.VersionTLS12,
		}
		if def.TLS.Pair != nil {
			t.TLSClientConfig.Certificates = []tls.Certificate{*def.TLS.Pair}
		}
	}
	return t
}

// Ask implements Asker.
func (s *sender) Ask(ctx context.Context, q *Question) *traffic.Outcome {
	out := &traffic.Outcome{Backend: q.Backend, Mirror: q.Mirror, Fate: traffic.Failed, Source: traffic.Shadow}
	w, t, endpoint, ok := s.choose(q)
	if !ok || w.backend.ProxyProtocol != "" {
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
	request, err := r.request(ctx, w.backend.TLS != nil, endpoint)
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

// request is r for net/http, sent to the endpoint whatever its host says.
func (r *resend) request(ctx context.Context, secure bool, endpoint string) (*http.Request, error) {
	scheme := "http"
	if secure {
		scheme = "https"
	}
	path, query, _ := strings.Cut(r.target, "?")
	// As it was written, not as url would write it; unless it begins with what it
	// would take for a host.
	u := &url.URL{Scheme: scheme, Host: endpoint, Opaque: path, RawQuery: query}
	if strings.HasPrefix(path, "//") {
		plain, err := url.PathUnescape(path)
		if err != nil {
			return nil, fmt.Errorf("ask again: %w", err)
		}
		u.Opaque, u.Path, u.RawPath = "", plain, path
	}
	request, err := http.NewRequestWithContext(ctx, r.method, scheme+"://"+endpoint+"/", bytes.NewReader(r.body))
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
