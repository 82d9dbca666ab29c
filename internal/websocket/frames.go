package websocket

import (
	"encoding/binary"
	"errors"
	"math"
)

// Opcode is what a frame is (RFC 6455 §5.2).
type Opcode byte

// The opcodes. The others are reserved.
const (
	Continuation Opcode = 0
	Text         Opcode = 1
	Binary       Opcode = 2
	Close        Opcode = 8
	Ping         Opcode = 9
	Pong         Opcode = 10
)

// control says whether o is of a control frame, which may stand between the
// frames of a message.
func (o Opcode) control() bool { return o >= Close }

// MaxControl is the longest payload of a control frame, in bytes.
const MaxControl = 125

// What is wrong with a frame.
var (
	errReserved     = errors.New("a WebSocket frame has reserved bits or a reserved opcode")
	errMask         = errors.New("a WebSocket frame is masked and should not be, or the other way round")
	errLength       = errors.New("a WebSocket frame has a malformed length")
	errControl      = errors.New("a WebSocket control frame is fragmented or too long")
	errContinuation = errors.New("a WebSocket frame continues no message, or interrupts one")
)

// Frames finds the frames in one direction of a WebSocket. It is a value; the
// zero value reads what a server sends when no extension was negotiated.
type Frames struct {
	// Masked says that the frames come from a client, which masks all of them.
	Masked bool
	// Extended says that an extension was negotiated, which may use the three
	// reserved bits.
	Extended bool

	head    [14]byte
	have    uint8 // bytes of head; 0 between frames
	inside  bool  // in a payload
	message bool  // a message has begun, and its last frame has not ended
	final   bool
	opcode  Opcode
	key     [4]byte
	left    uint64 // of the payload
	control [MaxControl]byte
	kept    uint8 // bytes of control
	err     error
}

// Next reads p, the bytes that follow what was read before, up to the end of a
// frame at most. It uses n of them, all of them unless done, which says that a
// frame has ended; see Opcode and Payload. An error is final, and nothing
// behind it can be trusted.
func (f *Frames) Next(p []byte) (n int, done bool, err error) {
	for n < len(p) && !f.inside {
		if f.err != nil {
			return n, false, f.err
		}
		f.head[f.have] = p[n]
		f.have++
		n++
		if f.err = f.readHead(); f.inside && f.left == 0 {
			return n, f.end(), nil
		}
	}
	if f.err != nil {
		return n, false, f.err
	}
	step := int(min(uint64(len(p)-n), f.left))
	if f.opcode.control() {
		f.keep(p[n : n+step])
	}
	n += step
	f.left -= uint64(step)
	if !f.inside || f.left > 0 {
		return n, false, nil
	}
	return n, f.end(), nil
}

// end notes that a frame has ended.
func (f *Frames) end() bool {
	f.have, f.inside = 0, false
	if !f.opcode.control() {
		f.message = !f.final
	}
	return true
}

// keep keeps the payload of a control frame, unmasked.
func (f *Frames) keep(p []byte) {
	for _, c := range p {
		f.control[f.kept] = c ^ f.key[f.kept%4]
		f.kept++
	}
}

// readHead looks at what there is of a frame's head, and begins its payload
// when it is whole.
func (f *Frames) readHead() error {
	switch f.have {
	case 1:
		return f.readFirst()
	case 2:
		if masked := f.head[1]&0x80 != 0; masked != f.Masked {
			return errMask
		}
		if f.opcode.control() && f.head[1]&0x7f > MaxControl {
			return errControl
		}
	}
	more := 0 // bytes of the extended length
	switch f.head[1] & 0x7f {
	case 126:
		more = 2
	case 127:
		more = 8
	}
	size := 2 + more
	if f.Masked {
		size += 4
	}
	if int(f.have) < size {
		return nil
	}
	f.left = uint64(f.head[1] & 0x7f)
	switch more {
	case 2:
		f.left = uint64(binary.BigEndian.Uint16(f.head[2:]))
	case 8:
		f.left = binary.BigEndian.Uint64(f.head[2:])
	}
	// A length is written in the fewest bytes, and its highest bit is 0.
	if more == 2 && f.left <= MaxControl || more == 8 && f.left <= math.MaxUint16 || f.left > math.MaxInt64 {
		return errLength
	}
	if f.Masked {
		copy(f.key[:], f.head[2+more:])
	}
	f.inside, f.kept = true, 0
	return nil
}

// readFirst reads the first byte of a frame.
func (f *Frames) readFirst() error {
	b := f.head[0]
	f.opcode, f.final = Opcode(b&0x0f), b&0x80 != 0
	switch {
	case b&0x70 != 0 && !f.Extended, f.opcode > Binary && f.opcode < Close, f.opcode > Pong:
		return errReserved
	case f.opcode.control():
		if !f.final {
			return errControl
		}
	case (f.opcode == Continuation) != f.message:
		return errContinuation
	default:
		f.message = true
	}
	return nil
}

// Opcode returns what the frame is that has ended, or is being read.
func (f *Frames) Opcode() Opcode { return f.opcode }

// Payload returns the payload of the control frame that has ended, unmasked;
// valid until the next call of Next.
func (f *Frames) Payload() []byte { return f.control[:f.kept] }

// Data says whether the frame that has ended, or is being read, belongs to a
// message.
func (f *Frames) Data() bool { return !f.opcode.control() }

// Between says that the last frame has ended and no other has begun: a frame of
// somebody else's may be put in here.
func (f *Frames) Between() bool { return f.have == 0 && f.err == nil }

// Whole says that the last message has ended and no other has begun.
func (f *Frames) Whole() bool { return f.Between() && !f.message }
