package http1

import (
	"bytes"
	"testing"
)

// Values are checked eight bytes at a time: every byte must be judged the same
// wherever it stands, and beside whatever else.
func TestJudgesEveryByteOfAValueWhereverItStands(t *testing.T) {
	t.Parallel()
	const controlsButTab = "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x0a\x0b\x0c\x0d\x0e\x0f" +
		"\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x7f"
	for _, fill := range []byte{' ', 'a', '\t', '~', 0x80, 0xff} {
		for size := 1; size <= 20; size++ {
			for at := range size {
				for c := range 256 {
					v := bytes.Repeat([]byte{fill}, size)
					v[at] = byte(c)
					refused := checkValue(v) != nil
					if want := bytes.IndexByte([]byte(controlsButTab), byte(c)) >= 0; refused != want {
						t.Fatalf("%#x at %d of %d bytes of %#x: refused %v, want %v", c, at, size, fill, refused, want)
					}
				}
			}
		}
	}
}

func TestJudgesEveryByteOfAName(t *testing.T) {
	t.Parallel()
	const token = "!#$%&'*+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ^_`abcdefghijklmnopqrstuvwxyz|~"
	for c := range 256 {
		b := byte(c)
		_, err := nameEnd([]byte{'a', b, 'a', ':'})
		want := bytes.IndexByte([]byte(token), b) >= 0 || b == ':' // a colon ends the name
		if (err == nil) != want {
			t.Errorf("%#x: error %v, want it accepted: %v", c, err, want)
		}
	}
}

func TestJudgesEveryByteOfATarget(t *testing.T) {
	t.Parallel()
	const target = "!\"$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"
	for c := range 256 {
		m := requests("GET /" + string([]byte{byte(c)}) + " HTTP/1.1\r\nHost: a\r\n\r\n")
		if want := bytes.IndexByte([]byte(target), byte(c)) >= 0; m.Done != want {
			t.Errorf("%#x: accepted %v, want %v (%s)", c, m.Done, want, m.Reason)
		}
	}
}
