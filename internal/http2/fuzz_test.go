package http2

import (
	"strings"
	"testing"
)

// answering is a user that answers, cancels and goes on.
func answering(u *user, s *Stream, event string) {
	switch {
	case event != "head" || s.local || !u.m.server:
	case s.ID()%8 == 7:
		u.m.Cancel(s, InternalError)
	default:
		head := u.m.BeginHead()
		head.Add(":status", []byte("200"))
		u.m.SendHead(s, &head, false)
		u.m.SendData(s, 0, true)
	}
}

// Whatever comes, in whatever pieces: both are understood in the same way, what
// is sent is whole frames, and no more streams are open than allowed.
func fuzz(f *testing.F, server bool) {
	for _, c := range serverCases {
		f.Add(c.input, uint16(3))
	}
	for _, section := range malformed {
		f.Add(f2(section), uint16(9))
	}
	f.Fuzz(func(t *testing.T, input []byte, n uint16) {
		if server {
			input = join(opening(), input)
		}
		heard, sent, err := run(server, input, len(input)+1, answering)
		again, sentAgain, errAgain := run(server, input, int(n)%97+1, answering)
		equal(t, "heard in pieces", again, heard)
		equal(t, "sent in pieces", sentAgain, sent)
		if err != errAgain {
			t.Errorf("ended with %v, in pieces with %v", err, errAgain)
		}
		for _, line := range sent {
			if strings.HasPrefix(line, "and ") {
				t.Errorf("sent %v", sent)
			}
		}
	})
}

// f2 is a request by a field section.
func f2(section []byte) []byte { return f(frameHeaders, 5, 1, section...) }

func FuzzServer(f *testing.F) { fuzz(f, true) }

func FuzzClient(f *testing.F) { fuzz(f, false) }
