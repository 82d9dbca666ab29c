package replay

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// Ask sends a recorded request and says what came of it. All times of the outcome
// are since now.
func (t *Target) Ask(ctx context.Context, m *traffic.Message) *traffic.Outcome {
	o := t.send(ctx, m, time.Now())
	return &o
}

// send sends a recorded request, waits for the answer and says what came of it.
// All times of the outcome are since due, when the request should have been
// sent: what it waited for before is Queued and Start.
func (t *Target) send(ctx context.Context, m *traffic.Message, due time.Time) traffic.Outcome {
	o := traffic.Outcome{Endpoint: t.host}
	ctx, cancel := context.WithTimeout(ctx, t.options.Timeout)
	defer cancel()
	begun := time.Now()
	o.Start = begun.Sub(due)
	// Called before the request is written, by this goroutine; nothing else of a
	// trace is.
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		now := time.Now()
		if !info.Reused {
			o.Connect = now.Sub(begun)
		}
		o.Start = now.Sub(due)
		o.Endpoint = info.Conn.RemoteAddr().String()
	}})
	r, err := t.request(ctx, m)
	if err != nil {
		return t.broken(o, due, err)
	}
	answer, err := t.transport.RoundTrip(r)
	if err != nil {
		return t.broken(o, due, err)
	}
	defer answer.Body.Close()
	o.First = time.Since(due)
	o.Status = answer.StatusCode
	o.Answer = &traffic.Message{Head: headOf(answer)}
	err = t.keep(o.Answer, answer)
	o.Bytes = o.Answer.Length
	o.Answer.Trailer = appendFields(nil, answer.Trailer)
	o.GRPC = callEnd(answer)
	if err != nil {
		return t.broken(o, due, err)
	}
	o.Answer.Whole = true
	o.End = time.Since(due)
	o.Fate = traffic.Completed
	return o
}

// keep reads the body of an answer and keeps its beginning.
func (t *Target) keep(m *traffic.Message, answer *http.Response) error {
	limit := t.options.Body
	var kept bytes.Buffer
	if n := answer.ContentLength; n > 0 && answer.Body != http.NoBody {
		kept.Grow(int(min(n, limit)) + bytes.MinRead)
	}
	n, err := io.Copy(&kept, io.LimitReader(answer.Body, limit))
	m.Body, m.Length = kept.Bytes(), n
	if err != nil || n < limit {
		return err
	}
	hash := xxhash.New()
	_, _ = hash.Write(m.Body) // never fails
	rest, err := io.Copy(hash, answer.Body)
	if rest > 0 {
		m.Length += rest
		m.Hash = hash.Sum64()
	}
	return err
}

// broken ends an outcome with what went wrong, and whose fault it was.
func (t *Target) broken(o traffic.Outcome, due time.Time, err error) traffic.Outcome {
	o.End = time.Since(due)
	o.Fate, o.Source, o.Reason = traffic.Failed, traffic.Shadow, reasonOf(err)
	switch {
	case errors.Is(err, errRequest), errors.Is(err, errNotAllowed):
		o.Fate, o.Source, o.Reason = traffic.Dropped, traffic.Internal, ""
	case errors.Is(err, context.Canceled):
		o.Fate, o.Source, o.Reason = traffic.Dropped, traffic.Internal, traffic.DropShutdown
	}
	o.Error = err.Error()
	return o
}

func reasonOf(err error) traffic.Reason {
	var operation *net.OpError
	var alert tls.AlertError
	var record tls.RecordHeaderError
	var certificate *tls.CertificateVerificationError
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout():
		return traffic.FailTimeout
	case errors.As(err, &alert), errors.As(err, &record), errors.As(err, &certificate):
		return traffic.FailTLS
	case errors.As(err, &operation) && operation.Op == "dial":
		return traffic.FailConnect
	case errors.As(err, &operation), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return traffic.FailReset
	}
	return traffic.FailProtocol
}

// headOf writes the head of an answer as HTTP/1.1 does, however it travelled.
// Fields are in the order of their names: that of the wire is not known any more.
func headOf(answer *http.Response) []byte {
	head := make([]byte, 0, 512)
	status := answer.Status
	if answer.ProtoMajor == 2 {
		status = fmt.Sprintf("%d %s", answer.StatusCode, http.StatusText(answer.StatusCode))
	}
	head = append(append(append(head, "HTTP/1.1 "...), status...), "\r\n"...)
	return appendFields(head, answer.Header)
}

func appendFields(lines []byte, h http.Header) []byte {
	names := make([]string, 0, 16)
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range h[name] {
			lines = append(append(append(append(lines, name...), ": "...), value...), "\r\n"...)
		}
	}
	return lines
}

// callEnd is how a gRPC call ended, in its trailers or, without a body, its head.
func callEnd(answer *http.Response) traffic.GRPCCall {
	if !strings.HasPrefix(answer.Header.Get("Content-Type"), "application/grpc") {
		return traffic.GRPCCall{}
	}
	said := answer.Trailer
	if said.Get("Grpc-Status") == "" {
		said = answer.Header
	}
	message, err := url.PathUnescape(said.Get("Grpc-Message"))
	if err != nil {
		message = said.Get("Grpc-Message")
	}
	number, err := strconv.Atoi(said.Get("Grpc-Status"))
	if err != nil || number < 0 || number >= len(traffic.GRPCStatuses) {
		return traffic.GRPCCall{Status: traffic.GRPCUnknown, Message: message}
	}
	return traffic.GRPCCall{Status: traffic.GRPCStatuses[number], Message: message}
}
