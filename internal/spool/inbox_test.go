package spool

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestInboxHoldsWhatCouldNotBeUsed(t *testing.T) {
	t.Parallel()
	var p Pool
	var in Inbox
	if in.Len() != 0 || in.Bytes() != nil {
		t.Errorf("an inbox starts with %d bytes", in.Len())
	}
	in.Keep(&p, []byte("GET / HT"))
	in.Keep(&p, nil)
	room := in.Room(&p, 4)
	in.Grow(copy(room, "TP/1.1"))
	if diff := cmp.Diff("GET / HTTP/1.1", string(in.Bytes())); diff != "" {
		t.Error(diff)
	}
	in.Discard(4)
	if diff := cmp.Diff("/ HTTP/1.1", string(in.Bytes())); diff != "" || in.Len() != 10 {
		t.Error(in.Len(), diff)
	}
}

// What waits moves into a larger block as often as it has to, and is then found
// at the front of it.
func TestInboxGrowsPastItsBlock(t *testing.T) {
	t.Parallel()
	var p Pool
	var in Inbox
	in.Keep(&p, []byte("used and gone;"))
	in.Discard(len("used and gone;") - 1)
	want := ";"
	for _, size := range []int{1000, 1024, 5000, 70000, 1} {
		more := strings.Repeat("x", size-1) + "|"
		in.Keep(&p, []byte(more))
		want += more
		if string(in.Bytes()) != want {
			t.Fatalf("after %d bytes more: the inbox has %d bytes that are not the %d kept", size, in.Len(), len(want))
		}
	}
}

func TestEmptyInboxHoldsNoBlock(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		empty func(*Inbox)
	}{
		{"discarded at once", func(in *Inbox) { in.Discard(3) }},
		{"discarded in steps", func(in *Inbox) { in.Discard(1); in.Discard(2) }},
		{"reset", func(in *Inbox) { in.Reset() }},
		{"reset twice", func(in *Inbox) { in.Reset(); in.Reset() }},
		// A reader that closes its connection resets the inbox whose bytes it
		// was given, and only then says how many it has used.
		{"reset while its bytes were used", func(in *Inbox) { in.Bytes(); in.Reset(); in.Discard(3) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var p Pool
			var in Inbox
			in.Keep(&p, []byte("abc"))
			c.empty(&in)
			if in.Len() != 0 || in.Bytes() != nil {
				t.Errorf("%d bytes are left", in.Len())
			}
			if n := len(p.free[0]); n != 1 {
				t.Errorf("the pool has %d free blocks, want the inbox's one", n)
			}
			in.Keep(&p, []byte("again"))
			if string(in.Bytes()) != "again" {
				t.Errorf("used again, it holds %q", in.Bytes())
			}
		})
	}
}
