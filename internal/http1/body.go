package http1

// Body finds the end of a message's body and takes chunked framing off. It is
// a value; the zero value is a message without a body, Done from the start.
// It never holds more than the trailer section.
type Body struct {
	left     int64 // bytes left of the body or of the chunk; -1 until close
	size     int64 // of the chunk whose line is being read
	state    state
	digits   uint8
	response bool
	discard  bool    // Connection named fields, and one of them could be a trailer
	extLine  uint16  // bytes of extensions in this line
	credit   int32   // bytes of extensions still allowed, less a fixed start
	kept     int     // bytes of *trailer that are whole, normalised lines
	raw      int     // bytes of the trailer section so far
	trailer  *[]byte // kept lines, then the line being read
	err      *Error
}

type state uint8

const (
	done state = iota
	inLength
	untilClose
	chunkSize      // at or in the size
	chunkExt       // in extensions
	chunkLF        // CR of the size line seen
	inChunk        // in data
	chunkEndCR     // after data
	chunkEndLF     // CR after data seen
	trailerLine    // in a line of the trailer section
	trailerLineEnd // CR in a line of the trailer section seen
)

const (
	maxDigits = 16 // of a chunk size
	// maxExtension bounds the extensions of one chunk. Nobody uses them; they
	// are only a way to make a reader work for nothing.
	maxExtension = 256
	// extCredit bounds the extensions of a whole body: this much, and one
	// byte more for each byte of data.
	extCredit = 4096
	// maxTrailer bounds the trailer section.
	maxTrailer = 8 << 10
)

// Decode reads p, the bytes that follow what was decoded before. It consumes
// n of them, more than none if p is not empty and the body not done, and
// returns those that are body data, as a part of p, maybe none. Call it until
// n == len(p) or Done. An error is final.
func (b *Body) Decode(p []byte) (data []byte, n int, err *Error) {
	switch {
	case b.err != nil:
		return nil, 0, b.err
	case b.state == done || len(p) == 0:
		return nil, 0, nil
	case b.state == untilClose:
		return p, len(p), nil
	case b.state == inLength:
		n = int(min(b.left, int64(len(p))))
		if b.left -= int64(n); b.left == 0 {
			b.state = done
		}
		return p[:n:n], n, nil
	}
	return b.chunked(p)
}

func (b *Body) chunked(p []byte) ([]byte, int, *Error) {
	for i := 0; i < len(p); {
		if b.state == inChunk {
			n := int(min(b.left, int64(len(p)-i)))
			if b.left -= int64(n); b.left == 0 {
				b.state = chunkEndCR
			}
			return p[i : i+n : i+n], i + n, nil
		}
		if err := b.step(p[i]); err != nil {
			if b.response {
				err = err.inResponse()
			}
			b.err = err
			return nil, 0, err
		}
		i++
		if b.state == done {
			return nil, i, nil
		}
	}
	return nil, len(p), nil
}

// step reads one byte of framing.
func (b *Body) step(c byte) *Error {
	switch b.state {
	case chunkSize:
		return b.stepSize(c)
	case chunkExt:
		switch {
		case c == '\r':
			b.state = chunkLF
		case c < 0x20 && c != '\t' || c > 0x7e:
			return errChunkExtension
		default:
			b.credit--
			if b.extLine++; b.extLine > maxExtension || b.credit < -extCredit {
				return errChunkExtLong
			}
		}
	case chunkLF:
		if c != '\n' {
			return errChunkLine
		}
		b.left, b.size, b.digits, b.extLine = b.size, 0, 0, 0
		b.credit = int32(min(int64(b.credit)+b.left, 1<<20))
		b.state = inChunk
		if b.left == 0 {
			b.state = trailerLine
		}
	case chunkEndCR:
		if c != '\r' {
			return errChunkEnd
		}
		b.state = chunkEndLF
	case chunkEndLF:
		if c != '\n' {
			return errChunkEnd
		}
		b.state = chunkSize
	default:
		return b.stepTrailer(c)
	}
	return nil
}

// stepSize reads chunk-size: 1*HEXDIG, nothing around it.
func (b *Body) stepSize(c byte) *Error {
	switch {
	case class[c]&isHex != 0:
		if b.digits++; b.digits > maxDigits || b.size>>59 != 0 {
			return errChunkSizeLong
		}
		d := c - '0'
		if c > '9' {
			d = c | 0x20 - 'a' + 10
		}
		b.size = b.size<<4 | int64(d)
	case b.digits == 0:
		return errChunkSize
	case c == '\r':
		b.state = chunkLF
	case c == ';':
		b.state = chunkExt
	case c == '\n':
		return errChunkLine
	default:
		return errChunkSize
	}
	return nil
}

// stepTrailer reads the trailer section, line by line, into *b.trailer.
func (b *Body) stepTrailer(c byte) *Error {
	if b.raw++; b.raw > maxTrailer {
		return errTrailerLong
	}
	if b.state == trailerLine {
		switch c {
		case '\r':
			b.state = trailerLineEnd
		case '\n':
			return errBareLF
		default:
			*b.trailer = append(*b.trailer, c)
		}
		return nil
	}
	if c != '\n' {
		return errBareCR
	}
	t := *b.trailer
	if len(t) == b.kept {
		b.state = done
		return nil
	}
	b.state = trailerLine
	return b.keepTrailer(t[b.kept:])
}

// keepTrailer checks a line and keeps it, normalised, unless its name is known:
// a field that means something to framing, routing, credentials or caches may
// not come after the body (RFC 9110 §6.5.1).
func (b *Body) keepTrailer(line []byte) *Error {
	n, err := nameEnd(line)
	if err != nil {
		return err
	}
	value := trim(line[n+1:])
	if err := checkValue(value); err != nil {
		return err
	}
	if b.discard || identify(line[:n]) != Other {
		*b.trailer = (*b.trailer)[:b.kept]
		return nil
	}
	end := b.kept + len(line)
	t := append(*b.trailer, line[:n]...)
	t = append(t, ": "...)
	t = append(t, value...)
	t = append(t, "\r\n"...)
	t = append(t[:b.kept], t[end:]...)
	*b.trailer, b.kept = t, len(t)
	return nil
}

// Done reports whether the body has ended. A body until close never does by itself.
func (b *Body) Done() bool { return b.state == done }

// Endless returns the decoder of what follows a 101: all of it, until the
// connection is closed.
func Endless() Body { return Body{state: untilClose, left: -1} }

// UntilClose reports whether the body ends when the connection closes.
func (b *Body) UntilClose() bool { return b.state == untilClose }

// Chunked reports whether chunked framing is being read, false once Done.
func (b *Body) Chunked() bool { return b.state >= chunkSize }

// Remaining returns how many bytes of the body are still to come, -1 when that
// cannot be known: chunked or until close.
func (b *Body) Remaining() int64 {
	switch {
	case b.state == done:
		return 0
	case b.state == inLength:
		return b.left
	}
	return -1
}

// Trailer returns the trailer section of a chunked body that is Done, as
// "Name: value\r\n" lines without the empty line, nil when there is none.
// Forbidden fields are left out. Valid until the head it came from is Reset.
func (b *Body) Trailer() []byte {
	if b.kept == 0 || b.state != done {
		return nil
	}
	return (*b.trailer)[:b.kept]
}
