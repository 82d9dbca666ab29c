package session

import (
	"strconv"

	"github.com/understudy-proxy/understudy/internal/http1"
	"github.com/understudy-proxy/understudy/internal/http2"
	"github.com/understudy-proxy/understudy/internal/spool"
	"github.com/understudy-proxy/understudy/internal/websocket"
)

// begin puts the head of a client's request into the lane.
func (l *lane) begin(h *http2.Head, end bool) {
	l.headOnly = h.Method == "HEAD"
	l.opening = opens(h)
	l.ended = end
	l.chunked = !end && h.Length < 0 && !l.opening
	l.skip = end
	p := appendRequest(l.in.Room(1<<10), h, l.chunked)
	if h.Cut {
		p = overflow(p, &l.session.options.Limits)
	}
	l.in.Commit(p)
	l.moved = l.session.options.Loop.Now()
	l.signal()
}

// overflow makes an unfinished head longer than allowed, so that it is refused
// like one that came as text.
func overflow(p []byte, lim *http1.Limits) []byte {
	limit := lim.Head
	if limit == 0 {
		limit = http1.DefaultHead
	}
	p = append(p[:len(p)-len("\r\n")], "x: "...)
	for len(p) <= limit {
		p = append(p, "................................................................"...)
	}
	return p
}

// appendRequest appends a request as HTTP/1.1. The parser of such heads has the
// last word about it.
func appendRequest(dst []byte, h *http2.Head, chunked bool) []byte {
	method, target, opening := h.Method, h.Path, opens(h)
	switch {
	case opening:
		method = "GET"
	case method == "CONNECT":
		target = h.Authority
		if _, port := http1.SplitPort([]byte(target)); h.Protocol != "" && len(port) == 0 {
			target += ":443" // which this form must have
		}
	}
	dst = append(append(dst, method...), ' ')
	dst = append(dst, target...)
	dst = append(dst, " HTTP/1.1\r\n"...)
	hasHost := h.Authority != ""
	if hasHost {
		dst = appendField(dst, "host", h.Authority)
	}
	cookies := 0
	for i := range h.Fields {
		switch f := &h.Fields[i]; f.Name {
		case "host":
			if !hasHost {
				dst = appendField(dst, f.Name, f.Value)
			}
		case "content-length":
		case "cookie":
			cookies++
		case websocket.KeyField:
			if !opening {
				dst = appendField(dst, f.Name, f.Value)
			}
		default:
			dst = appendField(dst, f.Name, f.Value)
		}
	}
	if opening {
		dst = appendHandshake(dst, h)
	}
	if cookies > 0 {
		dst = appendCookies(dst, h)
	}
	if h.Length >= 0 {
		dst = append(dst, "content-length: "...)
		dst = strconv.AppendInt(dst, h.Length, 10)
		dst = append(dst, "\r\n"...)
	}
	if chunked {
		dst = append(dst, "transfer-encoding: chunked\r\n"...)
	}
	return append(dst, "\r\n"...)
}

// appendCookies joins the parts that a client may split cookies into (RFC 9113
// §8.2.3).
func appendCookies(dst []byte, h *http2.Head) []byte {
	sep := "cookie: "
	for i := range h.Fields {
		if f := &h.Fields[i]; f.Name == "cookie" {
			dst = append(dst, sep...)
			dst = append(dst, f.Value...)
			sep = "; "
		}
	}
	return append(dst, "\r\n"...)
}

func appendField(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, "\r\n"...)
}

// head puts the head of a server's answer into the lane, or trailers.
func (l *lane) head(h *http2.Head, end bool) {
	if h.Trailer {
		l.endBody(h)
		return
	}
	final := h.Status >= 200
	bodiless := l.headOnly || !final || h.Status == 204 || h.Status == 304
	p := append(l.in.Room(1<<10), "HTTP/1.1 "...)
	p = strconv.AppendInt(p, int64(h.Status), 10)
	p = append(p, ' ')
	p = append(p, http1.StatusText(h.Status)...)
	p = append(p, "\r\n"...)
	announced := false
	for i := range h.Fields {
		f := &h.Fields[i]
		if f.Name == "trailer" {
			announced = true
		}
		if f.Name != "content-length" {
			p = appendField(p, f.Name, f.Value)
		}
	}
	length := h.Length
	if announced && !end && !bodiless {
		length = -1 // only chunks have trailers behind them
	}
	switch {
	case length >= 0:
		p = append(p, "content-length: "...)
		p = strconv.AppendInt(p, length, 10)
		p = append(p, "\r\n"...)
	case bodiless:
	case end:
		p = append(p, "content-length: 0\r\n"...)
	default:
		p = append(p, "transfer-encoding: chunked\r\n"...)
	}
	l.in.Commit(append(p, "\r\n"...))
	if final {
		l.chunked = !end && !bodiless && length < 0
		l.skip = end || bodiless
		if end {
			l.answered()
		}
	}
	l.signal()
}

// data puts a part of a body into the lane.
func (l *lane) data(p []byte, end bool) {
	if l.opening {
		l.hold(p, end)
		return
	}
	if len(p) > 0 && !l.skip && !l.Closed() && !l.eof {
		if l.chunked {
			l.in.Commit(http1.AppendChunkHeader(l.in.Room(16), len(p)))
		}
		// A reader that keeps up takes it from the block that was read into; one
		// that does not must not keep a whole block for each frame.
		if l.in.Len() < keepsUp {
			l.in.Add(p, l.session.block)
		} else {
			l.in.Copy(p)
		}
		if l.chunked {
			l.in.Copy(crlf)
		}
		l.owed += len(p)
	} else {
		l.session.machine.Consumed(l.stream, len(p))
	}
	if end {
		l.endBody(nil)
		return
	}
	l.signal()
}

// keepsUp is what a reader that keeps up may have left.
const keepsUp = spool.Block

var crlf = []byte("\r\n")

// endBody ends a body, with trailers if there are any. There is no place for
// those behind a body of announced length.
func (l *lane) endBody(h *http2.Head) {
	if l.chunked && !l.Closed() && !l.eof {
		p := append(l.in.Room(64), "0\r\n"...)
		if h != nil {
			for i := range h.Fields {
				p = appendField(p, h.Fields[i].Name, h.Fields[i].Value)
			}
		}
		l.in.Commit(append(p, "\r\n"...))
	}
	l.skip, l.ended = true, true
	l.eof = l.eof || l.tunnel
	l.answered()
	l.signal()
}

// answered goes on when the peer's message is whole.
func (l *lane) answered() {
	if l.sent {
		l.next()
	}
}
