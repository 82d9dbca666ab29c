//go:build linux

package load

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// Plan says what to send, how fast and for how long. Only Target and one of
// Duration and Requests must be set.
type Plan struct {
	Target string `json:"target"` // host:port that is dialled; an IP address, or localhost
	Conns  int    `json:"conns"`  // connections, opened before the clock starts; default 1
	Loops  int    `json:"loops"`  // threads that share the connections; default 1

	Duration time.Duration `json:"duration"` // no request starts later; 0 = until Requests are sent
	Requests int           `json:"requests"` // requests to start; 0 = until Duration is over

	// Rate is requests per second in open loop: a request falls due every
	// 1/Rate seconds whatever became of the ones before, waits for a free
	// connection, and its latency counts from when it fell due. 0 is closed
	// loop: every connection sends its next request when it has its answer.
	Rate float64 `json:"rate"`

	Method  string   `json:"method"` // default GET, or POST with a body
	Path    string   `json:"path"`   // with its query, without the id; default /
	Host    string   `json:"host"`   // default Target
	Headers []Header `json:"headers"`

	BodyBytes int64 `json:"body_bytes"` // 0 = no body
	Chunked   bool  `json:"chunked"`    // Transfer-Encoding: chunked instead of Content-Length
	// ChunkBytes is the size of a chunk, and of what is written between two
	// Paces; default 16 KiB.
	ChunkBytes int           `json:"chunk_bytes"`
	Pace       time.Duration `json:"pace"` // pause after every ChunkBytes of the body; 0 = none

	UniqueIDs bool `json:"unique_ids"` // every request carries an id of its own in its query

	// RequestTimeout bounds one request, from its first byte to the end of its
	// answer; in open loop also its wait for a connection. Default 30s.
	RequestTimeout time.Duration `json:"request_timeout"`
	Close          bool          `json:"close"` // one connection per request; default is keep-alive

	// AnswerFill, if not 0, is the byte that every byte of a 2xx answer's body
	// must equal (see UpstreamOptions.Fill), and AnswerBytes, if not 0, that
	// body's length. An answer that echoes another id than its request's
	// (UpstreamOptions.EchoID) is wrong in any case. Wrong answers count as
	// the error bad_answer.
	AnswerFill  byte  `json:"answer_fill"`
	AnswerBytes int64 `json:"answer_bytes"`
}

// Header is a field of a request.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// The keys of Result.Errors. A whole answer that is not 2xx counts as its class.
const (
	ErrConnect    = "connect"    // no connection
	ErrReset      = "reset"      // reset, or broken pipe, before the answer's end
	ErrEOF        = "eof"        // closed before the answer's end
	ErrTimeout    = "timeout"    // no whole answer within RequestTimeout
	ErrUnsent     = "unsent"     // open loop: no free connection within RequestTimeout
	ErrBadAnswer  = "bad_answer" // not HTTP, or not the answer to this request
	ErrStatus3xx  = "status_3xx"
	ErrStatus4xx  = "status_4xx"
	ErrStatus5xx  = "status_5xx"
	ErrStatusRest = "status_other"
)

// Result is what became of a Plan. Requests = OK + the sum of Errors, unless
// the run was cancelled.
type Result struct {
	Requests uint64            `json:"requests"` // that were started, or fell due and could not be
	OK       uint64            `json:"ok"`       // that got a whole, right 2xx answer
	Errors   map[string]uint64 `json:"errors"`   // never nil

	// Stray is how often something arrived on a connection without a request:
	// an answer too many, or bytes after one.
	Stray uint64 `json:"stray"`

	Elapsed time.Duration `json:"elapsed"` // first request to last answer
	// Throughput is OK answers per second over the plan's Duration (answers
	// that came later do not count), or over Elapsed if that was shorter.
	Throughput float64 `json:"throughput"`
	// Latency of all whole answers, of timeouts and of requests that could not
	// be sent: leaving those out would flatter whoever loses requests.
	Latency *Histogram `json:"latency"`

	Sent     IDSet `json:"sent"`     // ids of the requests whose first byte was written
	Answered IDSet `json:"answered"` // ids of the requests counted in OK

	BytesSent     uint64 `json:"bytes_sent"`
	BytesReceived uint64 `json:"bytes_received"`

	// CPU the generator itself used; set by RunProcess only.
	CPU time.Duration `json:"cpu"`
}

// Failed is the sum of Errors.
func (r *Result) Failed() uint64 {
	var n uint64
	for _, v := range r.Errors {
		n += v
	}
	return n
}

func newResult() *Result {
	return &Result{Errors: map[string]uint64{}, Latency: &Histogram{}}
}

// add folds another loop's result into r.
func (r *Result) add(o *Result) {
	r.Requests += o.Requests
	r.OK += o.OK
	for k, v := range o.Errors {
		r.Errors[k] += v
	}
	r.Stray += o.Stray
	r.Elapsed = max(r.Elapsed, o.Elapsed)
	r.Latency.Merge(o.Latency)
	r.Sent.Merge(o.Sent)
	r.Answered.Merge(o.Answered)
	r.BytesSent += o.BytesSent
	r.BytesReceived += o.BytesReceived
}

// withDefaults checks a plan and fills in what it leaves open.
func (p Plan) withDefaults() (Plan, error) {
	if p.Target == "" {
		return p, errors.New("load: plan without a target")
	}
	if p.Duration <= 0 && p.Requests <= 0 {
		return p, errors.New("load: plan without an end: set Duration or Requests")
	}
	if p.Rate < 0 || p.BodyBytes < 0 || p.ChunkBytes < 0 || p.Pace < 0 {
		return p, fmt.Errorf("load: negative rate, body, chunk or pace in %+v", p)
	}
	p.Conns = max(p.Conns, 1)
	p.Loops = min(max(p.Loops, 1), p.Conns)
	orDefault(&p.Method, "GET")
	if p.BodyBytes > 0 && p.Method == "GET" {
		p.Method = "POST"
	}
	orDefault(&p.Path, "/")
	orDefault(&p.Host, p.Target)
	orDefault(&p.ChunkBytes, 16<<10)
	orDefault(&p.RequestTimeout, 30*time.Second)
	return p, nil
}

func orDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// due is when request number i of an open loop falls due, counted from the
// start. It is computed from i and not from the last due time, so that rounding
// never adds up.
func due(i uint64, rate float64) time.Duration {
	return time.Duration(float64(i) / rate * float64(time.Second))
}

// requestHead renders the head of every request of p and says where the id's
// sixteen digits go; -1 without ids.
func (p *Plan) requestHead() (head []byte, idAt int) {
	head = append(head, p.Method+" "+p.Path...)
	idAt = -1
	if p.UniqueIDs {
		sep := byte('?')
		for i := range p.Path {
			if p.Path[i] == '?' {
				sep = '&'
			}
		}
		head = append(head, sep)
		head = append(head, "id="...)
		idAt = len(head)
		head = append(head, "0000000000000000"...)
	}
	head = append(head, " HTTP/1.1\r\nHost: "+p.Host+"\r\n"...)
	for _, h := range p.Headers {
		head = append(head, h.Name+": "+h.Value+"\r\n"...)
	}
	switch {
	case p.Chunked:
		head = append(head, "Transfer-Encoding: chunked\r\n"...)
	case p.BodyBytes > 0 || p.Method == "POST" || p.Method == "PUT":
		head = append(head, "Content-Length: "+strconv.FormatInt(p.BodyBytes, 10)+"\r\n"...)
	}
	if p.Close {
		head = append(head, "Connection: close\r\n"...)
	}
	return append(head, "\r\n"...), idAt
}

// firstID is where a run starts counting: random in its upper half, so that two
// runs against one upstream do not share ids.
func firstID() uint64 { return uint64(rand.Uint32()) << 32 }

// patternLen is a prime, so that a body whose pieces were swapped, lost or
// doubled at any power of two differs from the pattern.
const patternLen = 65521

// pattern holds the bytes of every request body: byte n of a body is
// pattern[n%patternLen]. It is several periods long, so that pieceBytes and more patternLen
// bytes from any place are contiguous.
var pattern = makePattern()

func makePattern() []byte {
	p := make([]byte, 6*patternLen)
	for i := range p {
		p[i] = 'a' + byte(mix(uint64(i%patternLen))%26)
	}
	return p
}

// Body is a request body of n bytes as Run sends it, for other generators; see
// UpstreamOptions.CheckBody. It holds up to 64 KiB less 15 bytes.
func Body(n int) []byte { return patternAt(0, min(n, patternLen)) }

// patternAt gives up to five periods of a body from offset off on.
func patternAt(off int64, n int) []byte {
	at := int(off % patternLen)
	return pattern[at : at+min(n, 5*patternLen)]
}
