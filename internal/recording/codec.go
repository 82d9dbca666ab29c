package recording

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// The numbers of the fields are those of docs/formats/recording.proto. They are
// written down once for writing and once for reading, and a test reads with the
// description in that file what is written here.

// maxCopies bounds what a short record can make of itself: an empty outcome is
// two bytes on the disk and some hundred in memory.
const maxCopies = 1024

// appendExchange appends x as a record. Its size is at most sizeLimit(x).
func appendExchange(b []byte, x *traffic.Exchange) []byte {
	b = appendText(b, 1, x.ID)
	if !x.Start.IsZero() {
		b = appendInt(b, 2, x.Start.UnixNano())
	}
	b = appendInt(b, 3, int64(x.Duration))
	b = appendName(b, 4, x.Listener)
	b = appendName(b, 5, x.Route)
	b = appendInt(b, 6, int64(x.Rule))
	if x.Client.IsValid() {
		b = appendBytes(b, 7, x.Client.AsSlice())
	}
	b = appendText(b, 8, x.Method)
	b = appendText(b, 9, x.Host)
	b = appendText(b, 10, x.Path)
	b = appendText(b, 11, x.Query)
	b = appendName(b, 12, x.Protocol)
	b = appendInt(b, 13, int64(x.Status))
	b = appendName(b, 14, string(x.GRPC.Status))
	b = appendText(b, 15, x.GRPC.Message)
	b = appendInt(b, 16, x.BytesIn)
	b = appendInt(b, 17, x.BytesOut)
	b = appendInt(b, 18, int64(x.Source))
	b = appendText(b, 19, x.Error)
	b = appendText(b, 20, x.UserAgent)
	b = appendOutcome(b, 21, &x.Primary)
	for i := range x.Copies {
		b = appendOutcome(b, 22, &x.Copies[i])
	}
	return appendMessage(b, 23, x.Request)
}

func appendOutcome(b []byte, number protowire.Number, o *traffic.Outcome) []byte {
	b = protowire.AppendTag(b, number, protowire.BytesType)
	at := len(b)
	b = appendName(b, 1, o.Backend)
	b = appendName(b, 2, o.Endpoint)
	b = appendName(b, 3, o.Mirror)
	b = appendName(b, 4, string(o.Fate))
	b = appendName(b, 5, string(o.Reason))
	b = appendInt(b, 6, int64(o.Status))
	b = appendName(b, 7, string(o.GRPC.Status))
	b = appendText(b, 8, o.GRPC.Message)
	b = appendInt(b, 9, o.Bytes)
	b = appendInt(b, 10, int64(o.Queued))
	b = appendInt(b, 11, int64(o.Connect))
	b = appendInt(b, 12, int64(o.Start))
	b = appendInt(b, 13, int64(o.First))
	b = appendInt(b, 14, int64(o.End))
	b = appendInt(b, 15, int64(o.Source))
	b = appendText(b, 16, o.Error)
	b = appendMessage(b, 17, o.Answer)
	return prefixLength(b, at)
}

func appendMessage(b []byte, number protowire.Number, m *traffic.Message) []byte {
	if m == nil {
		return b
	}
	b = protowire.AppendTag(b, number, protowire.BytesType)
	at := len(b)
	b = appendBytes(b, 1, m.Head)
	b = appendBytes(b, 2, m.Body)
	b = appendBytes(b, 3, m.Trailer)
	b = appendInt(b, 4, m.Length)
	if m.Hash != 0 {
		b = protowire.AppendTag(b, 5, protowire.Fixed64Type)
		b = protowire.AppendFixed64(b, m.Hash)
	}
	b = appendInt(b, 6, int64(protowire.EncodeBool(m.Whole)))
	return prefixLength(b, at)
}

// prefixLength puts the length of b[at:] in front of it. To move it once is
// cheaper than to count it before.
func prefixLength(b []byte, at int) []byte {
	n := len(b) - at
	width := protowire.SizeVarint(uint64(n))
	b = append(b, "0123456789"[:width]...)
	copy(b[at+width:], b[at:at+n])
	protowire.AppendVarint(b[:at], uint64(n))
	return b
}

func appendInt(b []byte, number protowire.Number, v int64) []byte {
	if v == 0 {
		return b
	}
	b = protowire.AppendTag(b, number, protowire.VarintType)
	return protowire.AppendVarint(b, uint64(v))
}

func appendBytes(b []byte, number protowire.Number, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	b = protowire.AppendTag(b, number, protowire.BytesType)
	return protowire.AppendBytes(b, v)
}

// appendText appends what others have said, which may be any bytes.
func appendText(b []byte, number protowire.Number, v string) []byte {
	if v == "" {
		return b
	}
	b = protowire.AppendTag(b, number, protowire.BytesType)
	return protowire.AppendString(b, v)
}

// appendName appends a text of our own. Decoders of protobuf insist on UTF-8.
func appendName(b []byte, number protowire.Number, v string) []byte {
	if !utf8.ValidString(v) {
		v = strings.ToValidUTF8(v, "\ufffd")
	}
	return appendText(b, number, v)
}

// sizeLimit is no less than the size of x as a record.
func sizeLimit(x *traffic.Exchange) int64 {
	const numbers = 256 // of the fields that are no texts, with all tags and lengths
	// A name that is not UTF-8 grows threefold.
	n := numbers + len(x.ID) + 3*(len(x.Listener)+len(x.Route)+len(x.Protocol)+len(x.GRPC.Status)) + len(x.Method) + len(x.Host) +
		len(x.Path) + len(x.Query) + len(x.GRPC.Message) + len(x.Error) + len(x.UserAgent) + messageLimit(x.Request) + outcomeLimit(&x.Primary)
	for i := range x.Copies {
		n += outcomeLimit(&x.Copies[i])
	}
	return int64(n)
}

func outcomeLimit(o *traffic.Outcome) int {
	const numbers = 192
	return numbers + 3*(len(o.Backend)+len(o.Endpoint)+len(o.Mirror)+len(o.Fate)+len(o.Reason)+len(o.GRPC.Status)) +
		len(o.GRPC.Message) + len(o.Error) + messageLimit(o.Answer)
}

func messageLimit(m *traffic.Message) int {
	if m == nil {
		return 0
	}
	return 64 + len(m.Head) + len(m.Body) + len(m.Trailer)
}

// errRecord is what every error of a record that makes no sense wraps.
var errRecord = errors.New("not a record")

// value is what a field holds: a number, or bytes that alias the record.
type value struct {
	number uint64
	bytes  []byte
}

func (v value) int() int64              { return int64(v.number) }
func (v value) text() string            { return string(v.bytes) }
func (v value) duration() time.Duration { return time.Duration(v.number) }

// source is who is to blame. What this version does not know is nobody's fault.
func (v value) source() traffic.Source {
	if v.number > uint64(traffic.Internal) {
		return traffic.None
	}
	return traffic.Source(v.number)
}

// eachField calls f with every field of a message. Fields that this version does
// not know reach f too, which leaves them alone.
func eachField(b []byte, f func(protowire.Number, value) error) error {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("%w: %w", errRecord, protowire.ParseError(n))
		}
		b = b[n:]
		var v value
		switch kind {
		case protowire.VarintType:
			v.number, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			v.number, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			v.bytes, n = protowire.ConsumeBytes(b)
			v.bytes = v.bytes[:len(v.bytes):len(v.bytes)] // whoever appends to it must not write into its neighbour
		default:
			n = protowire.ConsumeFieldValue(number, kind, b)
		}
		if n < 0 {
			return fmt.Errorf("%w: field %d: %w", errRecord, number, protowire.ParseError(n))
		}
		b = b[n:]
		if err := f(number, v); err != nil {
			return err
		}
	}
	return nil
}

// decodeExchange reads a record. What it returns aliases it.
func decodeExchange(b []byte) (*traffic.Exchange, error) {
	x := &traffic.Exchange{}
	return x, eachField(b, func(number protowire.Number, v value) (err error) {
		switch number {
		case 1:
			x.ID = v.text()
		case 2:
			x.Start = time.Unix(0, v.int()).UTC()
		case 3:
			x.Duration = v.duration()
		case 4:
			x.Listener = v.text()
		case 5:
			x.Route = v.text()
		case 6:
			x.Rule = int(v.int())
		case 7:
			x.Client, _ = netip.AddrFromSlice(v.bytes)
		case 8:
			x.Method = v.text()
		case 9:
			x.Host = v.text()
		case 10:
			x.Path = v.text()
		case 11:
			x.Query = v.text()
		case 12:
			x.Protocol = v.text()
		case 13:
			x.Status = int(v.int())
		case 14:
			x.GRPC.Status = traffic.GRPCStatus(v.bytes)
		case 15:
			x.GRPC.Message = v.text()
		case 16:
			x.BytesIn = v.int()
		case 17:
			x.BytesOut = v.int()
		case 18:
			x.Source = v.source()
		case 19:
			x.Error = v.text()
		case 20:
			x.UserAgent = v.text()
		case 21:
			err = decodeOutcome(v.bytes, &x.Primary)
		case 22:
			if len(x.Copies) == maxCopies {
				return fmt.Errorf("%w: more than %d copies", errRecord, maxCopies)
			}
			x.Copies = append(x.Copies, traffic.Outcome{})
			err = decodeOutcome(v.bytes, &x.Copies[len(x.Copies)-1])
		case 23:
			x.Request, err = decodeMessage(v.bytes)
		}
		return err
	})
}

func decodeOutcome(b []byte, o *traffic.Outcome) error {
	return eachField(b, func(number protowire.Number, v value) (err error) {
		switch number {
		case 1:
			o.Backend = v.text()
		case 2:
			o.Endpoint = v.text()
		case 3:
			o.Mirror = v.text()
		case 4:
			o.Fate = traffic.Fate(v.bytes)
		case 5:
			o.Reason = traffic.Reason(v.bytes)
		case 6:
			o.Status = int(v.int())
		case 7:
			o.GRPC.Status = traffic.GRPCStatus(v.bytes)
		case 8:
			o.GRPC.Message = v.text()
		case 9:
			o.Bytes = v.int()
		case 10:
			o.Queued = v.duration()
		case 11:
			o.Connect = v.duration()
		case 12:
			o.Start = v.duration()
		case 13:
			o.First = v.duration()
		case 14:
			o.End = v.duration()
		case 15:
			o.Source = v.source()
		case 16:
			o.Error = v.text()
		case 17:
			o.Answer, err = decodeMessage(v.bytes)
		}
		return err
	})
}

func decodeMessage(b []byte) (*traffic.Message, error) {
	m := &traffic.Message{}
	return m, eachField(b, func(number protowire.Number, v value) error {
		switch number {
		case 1:
			m.Head = v.bytes
		case 2:
			m.Body = v.bytes
		case 3:
			m.Trailer = v.bytes
		case 4:
			m.Length = v.int()
		case 5:
			m.Hash = v.number
		case 6:
			m.Whole = v.number != 0
		}
		return nil
	})
}
