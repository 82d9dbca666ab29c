// Package gor reads and writes exchanges as files of GoReplay, which hold messages
// of HTTP/1.1 as text with a line in front of each: its type, an id that request
// and answers share, a time and a latency in nanoseconds.
//
// Type 1 is a request, 2 the answer of the primary, 3 that of a replay: here, of a
// shadow. Both ways stream.
package gor

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/understudy-proxy/understudy/internal/recording/raw"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// separator is the line behind every message.
const separator = "\n🐵🙈🙉\n"

const (
	typeRequest = "1"
	typePrimary = "2"
	typeShadow  = "3"
)

// maxMessage is how long a message may be for a reader.
const maxMessage = 64 << 20

// LeftOut are messages that a file cannot hold.
type LeftOut struct {
	Requests int // with their answers: not captured whole, or with a line that is the separator
	Answers  int // likewise
	Failures int // copies and requests without an answer
}

// Writer writes a file. One goroutine uses it.
type Writer struct {
	out     io.Writer
	leftOut LeftOut
	number  uint64
	buf     []byte
}

// NewWriter begins a file.
func NewWriter(out io.Writer) *Writer { return &Writer{out: out} }

// LeftOut says what was not written so far.
func (w *Writer) LeftOut() LeftOut { return w.leftOut }

// Write appends the request of x and its answers. A part of a body would be replayed
// as if it were all, so messages that are not whole are left out, and counted.
func (w *Writer) Write(x *traffic.Exchange) error {
	w.number++
	if x.Request == nil || !whole(x.Request) {
		w.leftOut.Requests++
		return nil
	}
	id := w.id(x)
	w.buf = fmt.Appendf(w.buf[:0], "%s %s %d 0\n", typeRequest, id, x.Start.UnixNano())
	w.buf = append(raw.Append(w.buf, x.Request, false), separator...)
	if !endsAtFirst(w.buf) {
		w.leftOut.Requests++
		return nil
	}
	w.answer(typePrimary, id, x, &x.Primary)
	for i := range x.Copies {
		w.answer(typeShadow, id, x, &x.Copies[i])
	}
	_, err := w.out.Write(w.buf)
	return err
}

func whole(m *traffic.Message) bool { return m.Whole && !m.Cut() }

// id is 24 hexadecimal digits, as GoReplay's are: they must not have spaces, and
// be the same for a request and its answers only.
func (w *Writer) id(x *traffic.Exchange) string {
	h := fnv.New64a()
	_, _ = io.WriteString(h, x.ID) // it never fails
	b := h.Sum(nil)
	return hex.EncodeToString(append(b, byte(w.number>>24), byte(w.number>>16), byte(w.number>>8), byte(w.number)))
}

func (w *Writer) answer(kind, id string, x *traffic.Exchange, o *traffic.Outcome) {
	switch {
	case o.Answer == nil && o.Fate == traffic.Skipped:
		return // there was no copy
	case o.Answer == nil:
		w.leftOut.Failures++
		return
	case !whole(o.Answer):
		w.leftOut.Answers++
		return
	}
	before := len(w.buf)
	w.buf = fmt.Appendf(w.buf, "%s %s %d %d\n", kind, id, x.Start.Add(o.Start).UnixNano(), max(o.End-o.Start, 0))
	w.buf = append(raw.Append(w.buf, o.Answer, raw.Bodiless(x.Method, o.Status)), separator...)
	if !endsAtFirst(w.buf[before:]) {
		w.buf = w.buf[:before]
		w.leftOut.Answers++
	}
}

// endsAtFirst says whether a message has its separator at its end only.
func endsAtFirst(message []byte) bool {
	return bytes.Index(message, []byte(separator)) == len(message)-len(separator)
}

// Reader reads a file. One goroutine uses it.
//
// Answers may be far behind their request, with others between. The reader holds so
// many requests, the oldest of which it hands over when there are more, and then
// no longer waits for its answers; it holds no more than [Reader.Memory] bytes.
type Reader struct {
	Waiting int   // requests that may wait for their answers; default 1000
	Memory  int64 // bytes of them; default 64 MiB

	in      *bufio.Scanner
	number  int                 // of the message
	waiting []*pending          // in order
	byID    map[string]*pending // those that wait
	held    int64
	orphans int
	ended   bool
}

type pending struct {
	id   string
	x    *traffic.Exchange
	size int64
}

// NewReader reads a file of this or another program.
func NewReader(in io.Reader) *Reader {
	r := &Reader{Waiting: 1000, Memory: 64 << 20, in: bufio.NewScanner(in), byID: map[string]*pending{}}
	r.in.Buffer(make([]byte, 0, 64<<10), maxMessage)
	r.in.Split(split)
	return r
}

// split has a scanner find messages.
func split(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.Index(data, []byte(separator)); i >= 0 {
		return i + len(separator), data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), bytes.TrimSuffix(data, []byte(separator[:len(separator)-1])), nil
	}
	return 0, nil, nil
}

// Orphans is how many answers had no request so far: it was not in the file, or too
// far in front.
func (r *Reader) Orphans() int { return r.orphans }

// Next returns the next exchange, in the order of requests, or io.EOF. It belongs
// to the caller.
func (r *Reader) Next() (*traffic.Exchange, error) {
	for !r.ended && len(r.waiting) <= r.Waiting && r.held <= r.Memory {
		if !r.in.Scan() {
			r.ended = true
			if err := r.in.Err(); errors.Is(err, bufio.ErrTooLong) {
				return nil, fmt.Errorf("message %d: more than %d MiB without a separator; is it a file of GoReplay?", r.number+1, maxMessage>>20)
			} else if err != nil {
				return nil, err
			}
			break
		}
		r.number++
		if err := r.message(bytes.Clone(r.in.Bytes())); err != nil {
			return nil, fmt.Errorf("message %d: %w", r.number, err)
		}
	}
	if len(r.waiting) == 0 {
		return nil, io.EOF
	}
	p := r.waiting[0]
	r.waiting[0] = nil
	r.waiting = r.waiting[1:]
	r.held -= p.size
	if r.byID[p.id] == p {
		delete(r.byID, p.id)
	}
	return p.x, nil
}

// header is the line in front of a message.
type header struct {
	kind    string
	id      string
	time    time.Time
	latency time.Duration
}

func parseHeader(line string) (header, error) {
	parts := strings.Fields(line)
	if len(parts) < 3 || len(parts[0]) != 1 || !strings.Contains(typeRequest+typePrimary+typeShadow, parts[0]) {
		return header{}, fmt.Errorf("it begins with %.60q, and not with a type (1, 2 or 3), an id and a time", line)
	}
	nanos, err := strconv.ParseInt(parts[2], 10, 64)
	if err != nil {
		return header{}, fmt.Errorf("its time is %.40q", parts[2])
	}
	h := header{kind: parts[0], id: parts[1], time: time.Unix(0, nanos).UTC()}
	if len(parts) > 3 {
		latency, _ := strconv.ParseInt(parts[3], 10, 64) // -1 or nothing, where it is not known
		h.latency = time.Duration(max(latency, 0))
	}
	return h, nil
}

func (r *Reader) message(b []byte) error {
	b = bytes.TrimLeft(b, "\r\n")
	if len(b) == 0 {
		return nil // behind the last separator
	}
	line, rest, _ := bytes.Cut(b, []byte("\n"))
	h, err := parseHeader(string(line))
	if err != nil {
		return err
	}
	if h.kind == typeRequest {
		return r.request(h, rest)
	}
	p := r.byID[h.id]
	if p == nil {
		r.orphans++
		return nil
	}
	p.size += int64(len(b))
	r.held += int64(len(b))
	return p.answer(h, rest)
}

func (r *Reader) request(h header, b []byte) error {
	m, err := raw.Parse(b, false)
	if err != nil {
		return err
	}
	x := &traffic.Exchange{Start: h.time, Request: m}
	raw.Describe(x)
	if x.ID == "" {
		x.ID = h.id
	}
	p := &pending{id: h.id, x: x, size: int64(len(b))}
	r.waiting = append(r.waiting, p)
	r.byID[h.id] = p
	r.held += p.size
	return nil
}

// answer adds an answer to its request. The first of type 2 is the primary's.
func (p *pending) answer(h header, b []byte) error {
	_, code, _ := raw.StartLine(b)
	status, _ := strconv.Atoi(code) // Parse says what is wrong with it
	m, err := raw.Parse(b, raw.Bodiless(p.x.Method, status))
	if err != nil {
		return err
	}
	start := max(h.time.Sub(p.x.Start), 0)
	o := traffic.Outcome{Status: status, Bytes: m.Length, Start: start, First: start + h.latency, End: start + h.latency, Answer: m}
	x := p.x
	if h.kind == typePrimary && x.Primary.Answer == nil {
		o.Backend = "primary"
		x.Primary, x.Status, x.BytesOut, x.Duration = o, status, m.Length, o.End
		return nil
	}
	o.Backend, o.Mirror, o.Fate = "replayed", "replayed", traffic.Completed
	x.Copies = append(x.Copies, o)
	return nil
}
