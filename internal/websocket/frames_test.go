package websocket

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// read feeds p to f in pieces of at most size bytes and returns what it found:
// each frame as "opcode payload-of-control", then where the reading stands.
func read(f *Frames, p []byte, size int) (found []string) {
	for len(p) > 0 {
		piece := p[:min(size, len(p))]
		n, done, err := f.Next(piece)
		if done {
			text := fmt.Sprint(f.Opcode())
			if !f.Data() {
				text += " " + string(f.Payload())
			}
			found = append(found, text)
		}
		if err != nil {
			return append(found, err.Error())
		}
		if !done && n != len(piece) {
			return append(found, fmt.Sprintf("used %d of %d bytes without a frame", n, len(piece)))
		}
		p = p[n:]
	}
	state := map[bool]string{true: "between", false: "inside"}[f.Between()]
	if f.Whole() {
		state = "whole"
	}
	return append(found, state)
}

// The examples of RFC 6455 §5.7, and what surrounds them.
func TestFramesEndWhereTheyEnd(t *testing.T) {
	t.Parallel()
	const hello = "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"
	long := "\x82\x7e\x01\x00" + strings.Repeat("x", 256)
	longest := "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00" + strings.Repeat("x", 65536)
	for _, test := range []struct {
		name   string
		masked bool
		bytes  string
		want   []string
	}{
		{"nothing", false, "", []string{"whole"}},
		{"text", false, "\x81\x05Hello", []string{"1", "whole"}},
		{"masked text", true, hello, []string{"1", "whole"}},
		{"two fragments", false, "\x01\x03Hel\x80\x02lo", []string{"1", "0", "whole"}},
		{"a fragment", false, "\x01\x03Hel", []string{"1", "between"}},
		{"a ping among fragments", false, "\x01\x03Hel\x89\x01!\x80\x02lo", []string{"1", "9 !", "0", "whole"}},
		{"a ping after a fragment", false, "\x01\x03Hel\x89\x01!", []string{"1", "9 !", "between"}},
		{"ping and masked pong", false, "\x89\x05Hello", []string{"9 Hello", "whole"}},
		{"masked pong", true, "\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", []string{"10 Hello", "whole"}},
		{"256 bytes", false, long, []string{"2", "whole"}},
		{"64 KiB", false, longest, []string{"2", "whole"}},
		{"empty frames", false, "\x81\x00\x82\x00\x89\x00\x88\x00", []string{"1", "2", "9 ", "8 ", "whole"}},
		{"empty masked frame", true, "\x81\x80abcd" + hello, []string{"1", "1", "whole"}},
		{"a close with a code", false, "\x88\x05\x03\xe8bye", []string{"8 \x03\xe8bye", "whole"}},
		{"longest control frame", false, "\x89\x7d" + strings.Repeat("p", 125), []string{"9 " + strings.Repeat("p", 125), "whole"}},
		{"half a head", false, "\x81", []string{"inside"}},
		{"half a length", false, "\x82\x7e\x01", []string{"inside"}},
		{"half a key", true, "\x81\x85\x37\xfa", []string{"inside"}},
		{"half a payload", false, "\x81\x05Hel", []string{"inside"}},
	} {
		for size := 1; size < 9; size++ {
			if diff := cmp.Diff(test.want, read(&Frames{Masked: test.masked}, []byte(test.bytes), size)); diff != "" {
				t.Errorf("%s, in pieces of %d (- want, + got)\n%s", test.name, size, diff)
			}
		}
		if diff := cmp.Diff(test.want, read(&Frames{Masked: test.masked}, []byte(test.bytes), 1<<20)); diff != "" {
			t.Errorf("%s (- want, + got)\n%s", test.name, diff)
		}
	}
}

func TestFramesThatAreNoneAreRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, bytes string
		masked      bool
		want        error
	}{
		{"reserved bit", "\xc1\x00", false, errReserved},
		{"reserved opcode", "\x83\x00", false, errReserved},
		{"reserved control opcode", "\x8b\x00", false, errReserved},
		{"highest opcode", "\x8f\x00", false, errReserved},
		{"masked by a server", "\x81\x80", false, errMask},
		{"not masked by a client", "\x81\x00", true, errMask},
		{"long control frame", "\x89\x7e\x00\x7e", false, errControl},
		{"very long control frame", "\x88\x7f", false, errControl},
		{"fragmented control frame", "\x09\x00", false, errControl},
		{"continues nothing", "\x80\x00", false, errContinuation},
		{"continues nothing after a whole message", "\x81\x00\x80\x00", false, errContinuation},
		{"interrupts a message", "\x01\x00\x81\x00", false, errContinuation},
		{"125 in two bytes", "\x82\x7e\x00\x7d", false, errLength},
		{"65535 in eight bytes", "\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff", false, errLength},
		{"highest bit of a length", "\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00", false, errLength},
		{"an answer instead of frames", "HTTP/1.1 200 OK\r\n", false, errReserved},
	} {
		f := Frames{Masked: test.masked}
		got := read(&f, []byte(test.bytes), 1)
		if got[len(got)-1] != test.want.Error() {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
		if _, done, err := f.Next([]byte("\x81\x00")); err != test.want || done || f.Between() || f.Whole() {
			t.Errorf("%s: after the error, got %v and %v, want %v again", test.name, done, err, test.want)
		}
	}
}

func TestAnExtensionMayUseReservedBits(t *testing.T) {
	t.Parallel()
	f := Frames{Extended: true}
	got := read(&f, []byte("\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00"), 3)
	if diff := cmp.Diff([]string{"1", "whole"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestOurFramesAreMaskedAndShort(t *testing.T) {
	t.Parallel()
	key := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	for _, test := range []struct {
		name string
		got  []byte
		want string
	}{
		{"pong", AppendControl([]byte("before"), Pong, []byte("Hello"), key), "before\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"},
		{"empty pong", AppendControl(nil, Pong, nil, key), "\x8a\x80\x37\xfa\x21\x3d"},
		{"close", AppendClose(nil, GoingAway, key), "\x88\x82\x37\xfa\x21\x3d\x34\x13"},
		{"close for a reason", AppendClose(nil, PolicyViolation, key), "\x88\x82\x37\xfa\x21\x3d\x34\x0a"},
	} {
		if string(test.got) != test.want {
			t.Errorf("%s: got %q, want %q", test.name, test.got, test.want)
		}
	}
}

func TestCodeOfAClose(t *testing.T) {
	t.Parallel()
	for payload, want := range map[string]int{"": NoStatus, "\x03": NoStatus, "\x03\xe8": CloseNormal, "\x03\xf0no": PolicyViolation} {
		if got := CloseCode([]byte(payload)); got != want {
			t.Errorf("%q: got %d, want %d", payload, got, want)
		}
	}
}

func TestReadingFramesAllocatesNothing(t *testing.T) {
	f := Frames{Masked: true}
	out := make([]byte, 0, 64)
	p := []byte("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\x89\x80abcd")
	if n := testing.AllocsPerRun(1000, func() {
		for rest := p; len(rest) > 0; {
			n, _, _ := f.Next(rest)
			rest = rest[n:]
		}
		out = AppendClose(out[:0], GoingAway, [4]byte{1, 2, 3, 4})
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

// Whatever comes, in whatever pieces, the frames found are the same, and a
// frame that is put in where Between says so is found there.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("\x81\x05Hello\x01\x03Hel\x89\x01!\x80\x02lo\x88\x02\x03\xe8"), false, false, byte(3))
	f.Add([]byte("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\x8a\x80abcd"), true, false, byte(5))
	f.Add([]byte("\xc1\x7e\x01\x00\x00"), false, true, byte(1))
	f.Add([]byte("\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00abcd"), true, true, byte(2))
	f.Fuzz(func(t *testing.T, p []byte, masked, extended bool, size byte) {
		zero := Frames{Masked: masked, Extended: extended}
		whole, pieces, mixed := zero, zero, zero
		want := read(&whole, p, len(p)+1)
		if got := read(&pieces, p, int(size)+1); !cmp.Equal(want, got) {
			t.Errorf("in pieces of %d: %q, want %q", int(size)+1, got, want)
		}
		ping := []byte("\x89\x00")
		if masked {
			ping = AppendControl(nil, Ping, nil, [4]byte{1, 2, 3, 4})
		}
		var stream []byte
		var added int
		for i := range p {
			if mixed.Between() && i%int(size%7+1) == 0 {
				stream = append(stream, ping...)
				added++
			}
			stream = append(stream, p[i])
			if _, _, err := mixed.Next(p[i : i+1]); err != nil {
				return
			}
		}
		again := zero
		got := read(&again, stream, len(stream)+1)
		if len(got) != len(want)+added || bytes.Count([]byte(strings.Join(got, "|")), []byte("9 ")) < added {
			t.Errorf("with %d pings put in: %q, want those of %q as well", added, got, want)
		}
	})
}
