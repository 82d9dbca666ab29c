package traffic

import "testing"

// counted is memory that counts how often it was given back.
type counted struct{ times int }

// Release implements Memory.
func (c *counted) Release() { c.times++ }

func TestReleaseGivesBackWhatWasCaptured(t *testing.T) {
	t.Parallel()
	memory := &counted{}
	x := &Exchange{Memory: memory, Request: &Message{}}
	x.Release()
	if memory.times != 1 {
		t.Errorf("given back %d times, want once", memory.times)
	}
}

func TestReleaseOfWhatWasNotCapturedDoesNothing(t *testing.T) {
	t.Parallel()
	x := &Exchange{Path: "/a", Copies: []Outcome{{Mirror: "m"}}}
	x.Release()
	if x.Path != "/a" || x.Copies[0].Mirror != "m" {
		t.Errorf("got %+v", x)
	}
}
