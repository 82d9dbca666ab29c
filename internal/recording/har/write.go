package har

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/understudy-proxy/understudy/internal/recording/raw"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// Options of a [Writer].
type Options struct {
	Version string // of this program, for the archive's creator

	// Decode undoes the content codings of a message's body, or says that it
	// cannot. Bodies that are not decoded are written as they are, and marked; nil
	// decodes none.
	Decode func(*traffic.Message) ([]byte, bool)
}

// Writer writes an archive. One goroutine uses it.
type Writer struct {
	out     io.Writer
	options Options
	entries int
	line    bytes.Buffer
	json    *json.Encoder
}

// NewWriter begins an archive.
func NewWriter(out io.Writer, o Options) *Writer {
	w := &Writer{out: out, options: o}
	w.json = json.NewEncoder(&w.line)
	w.json.SetEscapeHTML(false)
	return w
}

// Write appends the entries of x, which must have been captured.
func (w *Writer) Write(x *traffic.Exchange) error {
	if x.Request == nil {
		return fmt.Errorf("exchange %s has no request", x.ID)
	}
	if err := w.entry(w.newEntry(x, &x.Primary)); err != nil {
		return err
	}
	for i := range x.Copies {
		if o := &x.Copies[i]; o.Fate == traffic.Completed || o.Fate == traffic.Failed || o.Answer != nil {
			if err := w.entry(w.newEntry(x, o)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Close ends the archive, which without it is none. It does not close the output.
func (w *Writer) Close() error {
	if w.entries == 0 {
		if err := w.begin(); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w.out, "\n]}}\n")
	return err
}

func (w *Writer) begin() error {
	creator, err := json.Marshal(map[string]string{"name": "understudy", "version": w.options.Version})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w.out, `{"log":{"version":"1.2","creator":%s,"entries":[`, creator)
	return err
}

func (w *Writer) entry(e *entry) error {
	if w.entries == 0 {
		if err := w.begin(); err != nil {
			return err
		}
	}
	w.line.Reset()
	if w.entries > 0 {
		w.line.WriteByte(',')
	}
	w.line.WriteByte('\n')
	if err := w.json.Encode(e); err != nil {
		return err
	}
	w.entries++
	_, err := w.out.Write(bytes.TrimSuffix(w.line.Bytes(), []byte("\n")))
	return err
}

func (w *Writer) newEntry(x *traffic.Exchange, o *traffic.Outcome) *entry {
	e := &entry{
		Started: x.Start.UTC().Format("2006-01-02T15:04:05.000000000Z"),
		Request: w.request(x), Response: w.response(o), Timings: newTimings(o), Understudy: newExtra(x, o),
	}
	for _, phase := range []float64{e.Timings.Blocked, e.Timings.Connect, e.Timings.Send, e.Timings.Wait, e.Timings.Receive} {
		e.Time += max(phase, 0)
	}
	e.Time = math.Round(e.Time*1000) / 1000
	if host, _, err := net.SplitHostPort(o.Endpoint); err == nil && net.ParseIP(host) != nil {
		e.ServerIP = host
	}
	var comments []string
	if o.Mirror != "" {
		comments = append(comments, "a copy by the mirror "+o.Mirror+" to the shadow "+o.Backend)
	}
	if x.Request.Cut() {
		comments = append(comments, fmt.Sprintf("of the request's body the first %d of %d bytes", len(x.Request.Body), x.Request.Length))
	}
	if o.Answer != nil && o.Answer.Cut() {
		comments = append(comments, fmt.Sprintf("of the answer's body the first %d of %d bytes", len(o.Answer.Body), o.Answer.Length))
	}
	e.Comment = strings.Join(comments, "; ")
	return e
}

func (w *Writer) request(x *traffic.Exchange) request {
	m := x.Request
	r := request{
		Method: x.Method, URL: target(x), HTTPVersion: x.Protocol, Cookies: []cookie{}, Headers: pairs(m.Head), QueryString: queryPairs(x.Query),
		HeadersSize: len(m.Head) + len("\r\n"), BodySize: int64(len(m.Body)), Trailers: trailers(m),
	}
	for _, h := range r.Headers {
		if strings.EqualFold(h.Name, "cookie") {
			r.Cookies = append(r.Cookies, requestCookies(h.Value)...)
		}
	}
	if len(m.Body) > 0 {
		mime, _ := raw.Lookup(m.Head, "content-type")
		b := w.body(m)
		r.PostData = &requestBody{MimeType: mime, Text: b.text, Encoding: b.encoding, Encoded: b.encoded}
	}
	return r
}

// noHost stands where a client named none, or none that an URL can have.
const noHost = "unknown.invalid"

// target is the absolute URL of x. Which of http and https a client used is not
// known.
func target(x *traffic.Exchange) string {
	host := x.Host
	if u, err := url.Parse("http://" + host + "/"); err != nil || host == "" || u.Host != host {
		host = noHost
	}
	path := x.Path
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // OPTIONS *, CONNECT
	}
	if x.Query != "" {
		path += "?" + x.Query
	}
	var b strings.Builder
	for i := range len(path) {
		if c := path[i]; c <= ' ' || c >= 0x7f {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return "http://" + host + b.String()
}

func (w *Writer) response(o *traffic.Outcome) response {
	r := response{
		Status: o.Status, Cookies: []cookie{}, Headers: []pair{}, Content: content{MimeType: "x-unknown"}, HeadersSize: -1, BodySize: -1, Error: o.Error,
	}
	m := o.Answer
	if m == nil {
		return r
	}
	r.HTTPVersion, _, r.StatusText = raw.StartLine(m.Head)
	r.Headers, r.Trailers = pairs(m.Head), trailers(m)
	r.HeadersSize, r.BodySize = len(m.Head)+len("\r\n"), int64(len(m.Body))
	for _, h := range r.Headers {
		switch strings.ToLower(h.Name) {
		case "set-cookie":
			if c, err := http.ParseSetCookie(h.Value); err == nil {
				r.Cookies = append(r.Cookies, answerCookie(c))
			}
		case "content-type":
			r.Content.MimeType = h.Value
		case "location":
			r.RedirectURL = h.Value
		}
	}
	b := w.body(m)
	r.Content.Text, r.Content.Encoding, r.Content.Encoded, r.Content.Size = b.text, b.encoding, b.encoded, b.size
	if !b.encoded {
		r.Content.Compression = b.size - int64(len(m.Body))
	}
	return r
}

// body is a body as it is written.
type body struct {
	text     string
	encoding string // base64, if it is no text
	encoded  bool   // its content codings are not undone
	size     int64
}

func (w *Writer) body(m *traffic.Message) body {
	var b body
	data := m.Body
	if coding, found := raw.Lookup(m.Head, "content-encoding"); found && !strings.EqualFold(coding, "identity") {
		b.encoded = true
		if w.options.Decode != nil && !m.Cut() && m.Whole {
			if decoded, ok := w.options.Decode(m); ok {
				data, b.encoded = decoded, false
			}
		}
	}
	b.size = int64(len(data))
	if utf8.Valid(data) {
		b.text = string(data)
	} else {
		b.text, b.encoding = base64.StdEncoding.EncodeToString(data), "base64"
	}
	return b
}

func pairs(head []byte) []pair {
	all := []pair{}
	for name, value := range raw.Fields(head) {
		all = append(all, pair{name, value})
	}
	return all
}

func trailers(m *traffic.Message) []pair {
	if len(m.Trailer) == 0 {
		return nil
	}
	return pairs(m.Trailer)
}

// queryPairs are decoded, as browsers do it; what cannot be is left as it is.
func queryPairs(query string) []pair {
	all := []pair{}
	decode := func(s string) string {
		if decoded, err := url.QueryUnescape(s); err == nil {
			return decoded
		}
		return s
	}
	for part := range strings.SplitSeq(query, "&") {
		if part != "" {
			name, value, _ := strings.Cut(part, "=")
			all = append(all, pair{decode(name), decode(value)})
		}
	}
	return all
}

func requestCookies(line string) []cookie {
	var all []cookie
	for part := range strings.SplitSeq(line, ";") {
		if name, value, found := strings.Cut(strings.TrimSpace(part), "="); found {
			all = append(all, cookie{Name: name, Value: value})
		}
	}
	return all
}

func answerCookie(c *http.Cookie) cookie {
	out := cookie{Name: c.Name, Value: c.Value, Path: c.Path, Domain: c.Domain, HTTPOnly: c.HttpOnly, Secure: c.Secure}
	if !c.Expires.IsZero() {
		out.Expires = c.Expires.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	return out
}

// newTimings are phases that follow each other and end when the outcome did.
func newTimings(o *traffic.Outcome) timings {
	t := timings{DNS: -1, SSL: -1, Connect: -1, Blocked: ms(o.Start - o.Connect)}
	if o.Connect > 0 {
		t.Connect = ms(o.Connect)
	}
	if o.First == 0 {
		t.Wait = ms(o.End - o.Start)
	} else {
		t.Wait, t.Receive = ms(o.First-o.Start), ms(o.End-o.First)
	}
	return t
}

// ms is no less than 0: some phases must be there.
func ms(d time.Duration) float64 { return float64(max(d, 0).Microseconds()) / 1000 }

func newExtra(x *traffic.Exchange, o *traffic.Outcome) *extra {
	e := &extra{ID: x.ID, Mirror: o.Mirror, Outcome: newOutcome(o)}
	if o.Answer != nil {
		e.AnswerKept = newKept(o.Answer)
	}
	if o.Mirror != "" {
		return e
	}
	e.Listener, e.Route, e.Rule, e.Status, e.Duration, e.BytesOut = x.Listener, x.Route, x.Rule, x.Status, x.Duration, x.BytesOut
	e.GRPC, e.Source, e.Error, e.RequestKept = newGRPC(x.GRPC), x.Source, x.Error, newKept(x.Request)
	if x.Client.IsValid() {
		e.Client = x.Client.String()
	}
	return e
}

func newOutcome(o *traffic.Outcome) outcome {
	return outcome{
		Backend: o.Backend, Endpoint: o.Endpoint, Fate: o.Fate, Reason: o.Reason, GRPC: newGRPC(o.GRPC), Bytes: o.Bytes, Queued: o.Queued,
		Connect: o.Connect, Start: o.Start, First: o.First, End: o.End, Source: o.Source, Error: o.Error,
	}
}

// newKept returns nil of a message of which everything was kept.
func newKept(m *traffic.Message) *kept {
	if m.Whole && !m.Cut() {
		return nil
	}
	return &kept{m.Length, m.Hash, m.Whole}
}

// statusLine is the first line of an answer that had none.
func statusLine(version string, status int, text string) string {
	return strings.TrimRight(version+" "+strconv.Itoa(status)+" "+text, " ") + "\r\n"
}
