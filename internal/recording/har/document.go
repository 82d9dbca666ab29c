// Package har reads and writes exchanges as HTTP Archives, version 1.2: the JSON
// that browsers and many tools understand. Both ways stream, so that neither is
// bounded by the size of a recording.
//
// An archive has one answer per entry, and an exchange has one of every backend:
// it becomes an entry for the primary, and directly behind it one for each copy
// that was sent. What an archive has no words for is in a field _understudy of each
// entry, and read back from there. docs/guides/recording.md lists what is lost.
package har

import (
	"time"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// entry is one request and one answer. Fields without a value are written where
// the specification asks for them.
type entry struct {
	Started    string   `json:"startedDateTime"`
	Time       float64  `json:"time"` // milliseconds: the sum of the timings
	Request    request  `json:"request"`
	Response   response `json:"response"`
	Cache      struct{} `json:"cache"`
	Timings    timings  `json:"timings"`
	ServerIP   string   `json:"serverIPAddress,omitempty"`
	Comment    string   `json:"comment,omitempty"`
	Understudy *extra   `json:"_understudy,omitempty"` // nil in archives of others
}

type request struct {
	Method      string       `json:"method"`
	URL         string       `json:"url"`
	HTTPVersion string       `json:"httpVersion"`
	Cookies     []cookie     `json:"cookies"`
	Headers     []pair       `json:"headers"`
	QueryString []pair       `json:"queryString"`
	PostData    *requestBody `json:"postData,omitempty"`
	HeadersSize int          `json:"headersSize"` // -1 = not known
	BodySize    int64        `json:"bodySize"`
	Trailers    []pair       `json:"_trailers,omitempty"`
}

type response struct {
	Status      int      `json:"status"`
	StatusText  string   `json:"statusText"`
	HTTPVersion string   `json:"httpVersion"`
	Cookies     []cookie `json:"cookies"`
	Headers     []pair   `json:"headers"`
	Content     content  `json:"content"`
	RedirectURL string   `json:"redirectURL"`
	HeadersSize int      `json:"headersSize"`
	BodySize    int64    `json:"bodySize"`
	Trailers    []pair   `json:"_trailers,omitempty"`
	Error       string   `json:"_error,omitempty"` // why there is no answer, as Chrome calls it
}

type pair struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type cookie struct {
	Name     string `json:"name"`
	Value    string `json:"value"`
	Path     string `json:"path,omitempty"`
	Domain   string `json:"domain,omitempty"`
	Expires  string `json:"expires,omitempty"`
	HTTPOnly bool   `json:"httpOnly,omitempty"`
	Secure   bool   `json:"secure,omitempty"`
}

// requestBody is the body of a request. The specification knows no encoding of it.
type requestBody struct {
	MimeType string `json:"mimeType"`
	Text     string `json:"text"`
	Params   []pair `json:"params,omitempty"` // of a form, by others
	Encoding string `json:"_encoding,omitempty"`
	Encoded  bool   `json:"_encoded,omitempty"` // the content coding that the head speaks of is not undone
}

// content is the body of an answer, without content codings unless Encoded.
type content struct {
	Size        int64  `json:"size"`
	Compression int64  `json:"compression,omitempty"` // bytes that the content coding saved
	MimeType    string `json:"mimeType"`
	Text        string `json:"text,omitempty"`
	Encoding    string `json:"encoding,omitempty"` // base64
	Encoded     bool   `json:"_encoded,omitempty"`
}

// timings are in milliseconds; -1 says that there was no such phase.
type timings struct {
	Blocked float64 `json:"blocked"`
	DNS     float64 `json:"dns"`
	Connect float64 `json:"connect"`
	Send    float64 `json:"send"`
	Wait    float64 `json:"wait"`
	Receive float64 `json:"receive"`
	SSL     float64 `json:"ssl"`
}

// extra is what an archive has no words for. Times are nanoseconds.
type extra struct {
	ID          string         `json:"id"`
	Mirror      string         `json:"mirror,omitempty"` // of a copy: the entry belongs to the one before that has none
	Listener    string         `json:"listener,omitempty"`
	Route       string         `json:"route,omitempty"`
	Rule        int            `json:"rule,omitempty"`
	Client      string         `json:"client,omitempty"`
	Status      int            `json:"status,omitempty"` // what the client got
	Duration    time.Duration  `json:"duration,omitempty"`
	BytesOut    int64          `json:"bytesOut,omitempty"`
	GRPC        *grpcCall      `json:"grpc,omitempty"`
	Source      traffic.Source `json:"source,omitempty"`
	Error       string         `json:"error,omitempty"`
	Outcome     outcome        `json:"outcome"`
	RequestKept *kept          `json:"request,omitempty"`
	AnswerKept  *kept          `json:"answer,omitempty"`
}

type grpcCall struct {
	Status  traffic.GRPCStatus `json:"status"`
	Message string             `json:"message,omitempty"`
}

type outcome struct {
	Backend  string         `json:"backend,omitempty"`
	Endpoint string         `json:"endpoint,omitempty"`
	Fate     traffic.Fate   `json:"fate,omitempty"`
	Reason   traffic.Reason `json:"reason,omitempty"`
	GRPC     *grpcCall      `json:"grpc,omitempty"`
	Bytes    int64          `json:"bytes,omitempty"`
	Queued   time.Duration  `json:"queued,omitempty"`
	Connect  time.Duration  `json:"connect,omitempty"`
	Start    time.Duration  `json:"start,omitempty"`
	First    time.Duration  `json:"first,omitempty"`
	End      time.Duration  `json:"end,omitempty"`
	Source   traffic.Source `json:"source,omitempty"`
	Error    string         `json:"error,omitempty"`
}

// kept says how much of a message was kept, where that is not all of it.
type kept struct {
	Length int64  `json:"length"`
	Hash   uint64 `json:"hash,omitempty,string"`
	Whole  bool   `json:"whole"`
}

func newGRPC(c traffic.GRPCCall) *grpcCall {
	if c == (traffic.GRPCCall{}) {
		return nil
	}
	return &grpcCall{c.Status, c.Message}
}

func (c *grpcCall) call() traffic.GRPCCall {
	if c == nil {
		return traffic.GRPCCall{}
	}
	return traffic.GRPCCall{Status: c.Status, Message: c.Message}
}
