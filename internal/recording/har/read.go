package har

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-proxy/understudy/internal/recording/raw"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// maxEntry is how many bytes of an archive one entry may have: they are held in
// memory.
const maxEntry = 256 << 20

// Reader reads an archive. One goroutine uses it; it holds two entries in memory.
type Reader struct {
	in      *bounded
	limit   int64 // bytes of an entry
	json    *json.Decoder
	began   bool
	entries int // read so far
	others  map[string]int
	ahead   *entry
	ended   bool
	failed  error // to be told by the next call
}

// NewReader reads an archive of this or another program.
func NewReader(in io.Reader) *Reader {
	b := &bounded{in: in}
	b.begin(maxEntry)
	return &Reader{in: b, limit: maxEntry, json: json.NewDecoder(b)}
}

// bounded refuses to be read further than a value may be long.
type bounded struct {
	in          io.Reader
	limit, left int64
}

// begin begins a value.
func (b *bounded) begin(limit int64) { b.limit, b.left = limit, limit }

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("a value of more than %d MiB", b.limit>>20)
	}
	n, err := b.in.Read(p)
	b.left -= int64(n)
	return n, err
}

// Next returns the next exchange, which belongs to the caller, or io.EOF.
func (r *Reader) Next() (*traffic.Exchange, error) {
	if !r.began {
		if err := r.begin(); err != nil {
			return nil, fmt.Errorf("not an HTTP Archive: %w", err)
		}
		r.began = true
	}
	if r.failed != nil {
		return nil, r.failed
	}
	first, err := r.entry()
	if err != nil {
		return nil, err
	}
	x, err := first.exchange(r.entries)
	if err != nil {
		return nil, fmt.Errorf("entry %d: %w", r.entries, err)
	}
	for {
		next, err := r.entry()
		if errors.Is(err, io.EOF) {
			return x, nil
		}
		if err != nil {
			r.failed = err
			return x, nil
		}
		if !first.precedes(next) {
			r.ahead = next
			r.entries--
			return x, nil
		}
		o, err := next.outcome()
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", r.entries, err)
		}
		x.Copies = append(x.Copies, o)
	}
}

// precedes says whether next is of a copy of the same exchange.
func (e *entry) precedes(next *entry) bool {
	a, b := e.Understudy, next.Understudy
	return a != nil && b != nil && b.Mirror != "" && a.ID == b.ID && e.Started == next.Started
}

// entry reads one entry, and counts it.
func (r *Reader) entry() (*entry, error) {
	if e := r.ahead; e != nil {
		r.ahead = nil
		r.entries++
		return e, nil
	}
	if r.ended {
		return nil, io.EOF
	}
	for {
		r.in.begin(r.limit)
		if !r.json.More() {
			if _, err := r.json.Token(); err != nil { // the end of the entries
				return nil, fmt.Errorf("after entry %d: %w", r.entries, unexpected(err))
			}
			r.ended = true
			return nil, io.EOF
		}
		e := &entry{}
		r.entries++
		if err := r.json.Decode(e); err != nil {
			return nil, fmt.Errorf("entry %d: %w", r.entries, unexpected(err))
		}
		scheme := schemeOf(e.Request.URL)
		if scheme == "" || scheme == "http" || scheme == "https" {
			return e, nil
		}
		if r.others == nil {
			r.others = make(map[string]int)
		}
		r.others[scheme]++
	}
}

// LeftOut counts the entries that were not of HTTP, by the schemes of their URLs:
// browsers tell of data:, blob: and wss:, too.
func (r *Reader) LeftOut() map[string]int { return r.others }

// schemeOf is the scheme of a URL (RFC 3986, section 3.1) in lower case, empty if it
// has none.
func schemeOf(text string) string {
	scheme, _, found := strings.Cut(text, ":")
	if !found || scheme == "" || scheme[0]|0x20 < 'a' || scheme[0]|0x20 > 'z' {
		return ""
	}
	scheme = strings.ToLower(scheme)
	if strings.Trim(scheme, "abcdefghijklmnopqrstuvwxyz0123456789+-.") != "" {
		return ""
	}
	return scheme
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// begin goes to the first entry.
func (r *Reader) begin() error {
	if err := r.enter("log"); err != nil {
		return err
	}
	if err := r.enter("entries"); err != nil {
		return err
	}
	return r.expect('[')
}

// enter goes to the value of a name in the object that comes.
func (r *Reader) enter(name string) error {
	if err := r.expect('{'); err != nil {
		return err
	}
	for r.json.More() {
		token, err := r.json.Token()
		if err != nil {
			return unexpected(err)
		}
		if token == name {
			return nil
		}
		if err := r.skip(); err != nil {
			return err
		}
	}
	return fmt.Errorf("there is no %q", name)
}

func (r *Reader) expect(want json.Delim) error {
	token, err := r.json.Token()
	if err != nil {
		return unexpected(err)
	}
	if token != want {
		return fmt.Errorf("%q is missing", want.String())
	}
	return nil
}

// skip passes over a value, however large it is.
func (r *Reader) skip() error {
	for depth := 0; ; {
		r.in.begin(r.limit)
		token, err := r.json.Token()
		if err != nil {
			return unexpected(err)
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}

// exchange makes an exchange of an entry, the number-th.
func (e *entry) exchange(number int) (*traffic.Exchange, error) {
	start, err := parseTime(e.Started)
	if err != nil {
		return nil, fmt.Errorf("startedDateTime: %q is not a time", e.Started)
	}
	x := &traffic.Exchange{Start: start}
	if x.Request, err = e.requestMessage(); err != nil {
		return nil, fmt.Errorf("request.%w", err)
	}
	raw.Describe(x)
	x.Protocol = protocol(e.Request.HTTPVersion)
	if x.Primary, err = e.outcome(); err != nil {
		return nil, err
	}
	if u := e.Understudy; u != nil {
		x.ID, x.Listener, x.Route, x.Rule, x.Status, x.Duration, x.BytesOut = u.ID, u.Listener, u.Route, u.Rule, u.Status, u.Duration, u.BytesOut
		x.GRPC, x.Source, x.Error = u.GRPC.call(), checkSource(u.Source), u.Error
		x.Client, _ = netip.ParseAddr(u.Client) // empty if it was not known
		return x, nil
	}
	if x.ID == "" {
		x.ID = fmt.Sprintf("har-%06d", number)
	}
	x.Status, x.BytesOut, x.Duration = x.Primary.Status, x.Primary.Bytes, x.Primary.End
	return x, nil
}

func checkSource(s traffic.Source) traffic.Source {
	if s > traffic.Internal {
		return traffic.None
	}
	return s
}

// parseTime reads ISO 8601 as programs write it: some leave the colon of the zone out.
func parseTime(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t, err = time.Parse("2006-01-02T15:04:05.999999999Z0700", text)
	}
	if t = t.UTC(); err == nil && (t.Year() < 1700 || t.Year() > 2200) {
		return t, errors.New("too far away to be counted in nanoseconds")
	}
	return t, err
}

// protocol is the name of a version in an exchange: browsers say h2.
func protocol(version string) string {
	switch v := strings.ToUpper(version); v {
	case "H2", "HTTP/2", "HTTP/2.0":
		return "HTTP/2.0"
	case "H3", "HTTP/3", "HTTP/3.0":
		return "HTTP/3.0"
	case "HTTP/1.0":
		return v
	}
	return "HTTP/1.1"
}

func (e *entry) requestMessage() (*traffic.Message, error) {
	r := &e.Request
	u, err := url.Parse(r.URL)
	switch {
	case err != nil || u.Host == "":
		return nil, fmt.Errorf("url: %q is not an absolute URL", r.URL)
	case r.Method == "" || strings.ContainsAny(r.Method, " \r\n"):
		return nil, fmt.Errorf("method: %q is none", r.Method)
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	if r.Method == "OPTIONS" && path == "/*" {
		path = "*"
	}
	if u.RawQuery != "" {
		path += "?" + u.RawQuery
	}
	version := "HTTP/1.1"
	if protocol(r.HTTPVersion) == "HTTP/1.0" {
		version = "HTTP/1.0"
	}
	m := &traffic.Message{Whole: true}
	var encoded bool
	if p := r.PostData; p != nil {
		if m.Body, err = p.body(); err != nil {
			return nil, err
		}
		encoded = p.Encoded
	}
	f := frame{start: r.Method + " " + path + " " + version + "\r\n", fields: r.Headers, asIs: e.Understudy != nil, encoded: encoded, plain: e.undone()}
	if _, found := lookup(r.Headers, "host"); !found && u.Host != noHost {
		f.start += "Host: " + u.Host + "\r\n"
	}
	f.fill(m, r.Trailers)
	if e.Understudy != nil {
		e.Understudy.RequestKept.restore(m)
	}
	return m, nil
}

// undone says whether the answer had a content coding that the archive has not. Such
// an exchange is read as one in which nobody asked for a coding: sent again with
// accept-encoding, it would get an answer that differs by its content-encoding.
func (e *entry) undone() bool {
	c := &e.Response.Content
	f := frame{fields: e.Response.Headers, encoded: c.Encoded}
	return c.Text != "" && f.decoded()
}

// body undoes what an archive does to a body.
func (p *requestBody) body() ([]byte, error) {
	if p.Text == "" && len(p.Params) > 0 {
		var parts []string
		for _, q := range p.Params {
			parts = append(parts, url.QueryEscape(q.Name)+"="+url.QueryEscape(q.Value))
		}
		return []byte(strings.Join(parts, "&")), nil
	}
	return decodeText("postData.text", p.Text, p.Encoding)
}

func decodeText(field, text, encoding string) ([]byte, error) {
	switch {
	case text == "":
		return nil, nil
	case encoding == "":
		return []byte(text), nil
	case encoding != "base64":
		return nil, fmt.Errorf("%s: the encoding %q is not known", field, encoding)
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("%s: not base64: %w", field, err)
	}
	return b, nil
}

func (e *entry) outcome() (traffic.Outcome, error) {
	var o traffic.Outcome
	if u := e.Understudy; u != nil {
		k := &u.Outcome
		o = traffic.Outcome{
			Backend: k.Backend, Endpoint: k.Endpoint, Mirror: u.Mirror, Fate: k.Fate, Reason: k.Reason, GRPC: k.GRPC.call(), Bytes: k.Bytes, Queued: k.Queued,
			Connect: k.Connect, Start: k.Start, First: k.First, End: k.End, Source: checkSource(k.Source), Error: k.Error,
		}
	} else {
		o = e.foreignOutcome()
	}
	o.Status = e.Response.Status
	if len(e.Response.Headers) == 0 && e.Response.Status == 0 {
		return o, nil // there was no answer
	}
	r := &e.Response
	m := &traffic.Message{Whole: true}
	var err error
	if m.Body, err = decodeText("response.content.text", r.Content.Text, r.Content.Encoding); err != nil {
		return o, err
	}
	version := r.HTTPVersion
	if e.Understudy == nil || version == "" {
		version = "HTTP/1.1"
	}
	f := frame{start: statusLine(version, r.Status, strings.Map(noLineEnd, r.StatusText)), fields: r.Headers, asIs: e.Understudy != nil, encoded: r.Content.Encoded, answer: true}
	if raw.Bodiless(e.Request.Method, r.Status) {
		f.bodiless = true
	}
	f.fill(m, r.Trailers)
	if e.Understudy != nil {
		e.Understudy.AnswerKept.restore(m)
	} else {
		o.Bytes = m.Length
	}
	o.Answer = m
	return o, nil
}

// foreignOutcome is what the timings of another program's archive say.
func (e *entry) foreignOutcome() traffic.Outcome {
	t := &e.Timings
	phase := func(ms float64) time.Duration {
		return time.Duration(min(max(ms, 0), 1e9) * float64(time.Millisecond))
	}
	o := traffic.Outcome{Backend: "primary", Endpoint: e.ServerIP, Connect: phase(t.Connect), Error: e.Response.Error}
	o.Start = phase(t.Blocked) + phase(t.DNS) + phase(t.Connect) // with TLS
	o.First = o.Start + phase(t.Send) + phase(t.Wait)
	o.End = o.First + phase(t.Receive)
	if e.Response.Status == 0 {
		o.First = 0
	}
	return o
}

// restore undoes what [newKept] did.
func (k *kept) restore(m *traffic.Message) {
	if k != nil {
		m.Length, m.Hash, m.Whole = k.Length, k.Hash, k.Whole
	}
}

// frame makes the head of a message whose body is there.
type frame struct {
	start    string // lines that come first
	fields   []pair
	asIs     bool // it is ours: fields are as they were received
	encoded  bool // the content coding that fields speak of is not undone
	plain    bool // no coding is asked for
	answer   bool
	bodiless bool // whatever fields say
}

// fill sets the head, trailer and length of m. In archives of others bodies are
// decoded and no longer chunked, and fields speak of how they were.
func (f *frame) fill(m *traffic.Message, trailers []pair) {
	var b strings.Builder
	b.WriteString(f.start)
	said := false
	for _, h := range f.fields {
		name := strings.ToLower(h.Name)
		switch {
		case strings.HasPrefix(name, ":"), name == "" || strings.ContainsAny(name, " \t\r\n:"):
			continue // of HTTP/2, or none
		case name == "accept-encoding" && f.plain:
			continue
		case name == "content-encoding" && !f.encoded && len(m.Body) > 0:
			said = true
			continue
		case name == "content-length" && !f.bodiless && (!f.asIs || f.decoded()):
			said = true
			continue
		case name == "transfer-encoding" && !f.asIs:
			said = true
			continue
		}
		b.WriteString(h.Name + ": " + strings.Map(noLineEnd, h.Value) + "\r\n")
	}
	if said && !f.bodiless || !f.asIs && len(m.Body) > 0 {
		b.WriteString("Content-Length: " + strconv.Itoa(len(m.Body)) + "\r\n")
	}
	m.Head = []byte(b.String())
	m.Length = int64(len(m.Body))
	var t strings.Builder
	for _, h := range trailers {
		t.WriteString(h.Name + ": " + strings.Map(noLineEnd, h.Value) + "\r\n")
	}
	m.Trailer = []byte(t.String())
}

// decoded says whether a content coding that fields speak of was undone.
func (f *frame) decoded() bool {
	coding, found := lookup(f.fields, "content-encoding")
	return found && !f.encoded && !strings.EqualFold(coding, "identity")
}

func lookup(fields []pair, name string) (string, bool) {
	for _, h := range fields {
		if strings.EqualFold(h.Name, name) {
			return h.Value, true
		}
	}
	return "", false
}

// noLineEnd has no value of an archive become a line of a head.
func noLineEnd(r rune) rune {
	if r == '\r' || r == '\n' {
		return ' '
	}
	return r
}
