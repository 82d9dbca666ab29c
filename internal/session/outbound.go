package session

import (
	"bytes"
	"errors"
	"strconv"

	"github.com/understudy-proxy/understudy/internal/http1"
	"github.com/understudy-proxy/understudy/internal/http2"
)

// take uses bytes of a message at the front of p and returns how many; none
// when the lane is full.
func (l *lane) take(p []byte) (int, error) {
	switch {
	case l.Err() != nil:
		return 0, l.Err()
	case l.broken || l.session.over:
		return 0, errOver
	case l.session.server && (l.stream == nil || l.whole):
		return len(p), nil // nobody waits for it
	case l.whole:
		return 0, nil // the next request waits for the end of this exchange
	case !l.inBody:
		return l.takeHead(p)
	case l.pending.Len() >= l.session.high:
		return 0, nil
	}
	data, n, err := l.body.Decode(p[:min(len(p), l.session.high-l.pending.Len())])
	if err != nil {
		return n, err
	}
	l.pending.Copy(data)
	if l.body.Done() {
		l.trailer = append(l.trailer[:0], l.body.Trailer()...)
		l.whole = true
	}
	return n, nil
}

// takeHead looks for a whole head at the front of p, behind what came before.
func (l *lane) takeHead(p []byte) (int, error) {
	before := len(l.text)
	text := p
	if before > 0 {
		l.text = append(l.text, p...)
		text = l.text
	}
	var n int
	var err *http1.Error
	if l.session.server {
		n, err = l.response.Parse(text, &l.session.options.Limits)
	} else {
		n, err = l.request.Parse(text, &l.session.options.Limits)
	}
	switch {
	case err != nil:
		return 0, err
	case n == 0 && before == 0:
		l.text = append(l.text, p...)
		return len(p), nil
	case n == 0:
		return len(p), nil
	}
	refused := l.sendHead()
	if refused == errFull {
		l.text = l.text[:before] // the same bytes come again
		return 0, nil
	}
	if l.text = l.text[:0]; cap(l.text) > 4<<10 {
		l.text = nil // it was unusual
	}
	if refused != nil { // the text may be sent elsewhere
		l.request.Reset()
		return 0, refused
	}
	return n - before, nil
}

// sendHead sends the head that was parsed.
func (l *lane) sendHead() error {
	if l.session.server {
		l.sendAnswer()
		return nil
	}
	m, r := l.session.machine, &l.request
	head := string(r.Method()) == "HEAD"
	s := m.Open(l, head)
	switch {
	case s == nil && m.Exhausted():
		return ErrRefused
	case s == nil:
		l.wait()
		return errFull
	}
	l.stream, l.headOnly = s, head
	l.body = r.Body()
	l.inBody = true
	f := m.BeginHead()
	f.Add(":method", r.Method())
	if !r.Connect() {
		f.Add(":scheme", l.session.scheme)
		f.Add(":path", r.Target())
	}
	if host := r.Host(); len(host) > 0 {
		f.Add(":authority", host)
	}
	for i := range r.NumFields() {
		switch name, value, id := r.Field(i); {
		case id == http1.TE:
			f.Add("te", trailers) // nothing else is sent to a backend
		case id != http1.Host && !r.Dropped(i):
			f.AddFolded(name, value)
		}
	}
	l.endHead(&f)
	return nil
}

var trailers = []byte("trailers")

// sendAnswer sends the head of an answer.
func (l *lane) sendAnswer() {
	m, r := l.session.machine, &l.response
	f := m.BeginHead()
	status, dug := r.Status(), l.opening && r.Status() == 101
	if dug {
		status = 200
	}
	var digits [3]byte
	f.Add(":status", strconv.AppendInt(digits[:0], int64(status), 10))
	for i := range r.NumFields() {
		if name, value, _ := r.Field(i); !r.Dropped(i) && !(dug && ofHandshake(name)) {
			f.AddFolded(name, value)
		}
	}
	switch {
	case dug:
		m.SendHead(l.stream, &f, false)
		l.dig()
		l.session.flushSoon()
		return
	case r.Interim():
		m.SendHead(l.stream, &f, false)
		r.Reset()
		l.session.flushSoon()
		return
	case l.opening:
		l.decline()
	}
	l.body = r.Body(l.headOnly)
	l.inBody = true
	l.endHead(&f)
}

// endHead sends a head, which may be the whole message.
func (l *lane) endHead(f *http2.Fields) {
	l.whole = l.body.Done()
	l.moved = l.session.options.Loop.Now()
	l.session.machine.SendHead(l.stream, f, l.whole)
	if l.whole {
		l.finished()
	}
	l.session.flushSoon()
}

// addLines adds "Name: value\r\n" lines.
func addLines(f *http2.Fields, lines []byte) {
	for len(lines) > 0 {
		var line []byte
		line, lines, _ = bytes.Cut(lines, crlf)
		name, value, _ := bytes.Cut(line, colon)
		f.AddFolded(name, value)
	}
}

var colon = []byte(": ")

// Refused says whether err means that the peer has not looked at the request.
func Refused(err error) bool { return errors.Is(err, ErrRefused) }
