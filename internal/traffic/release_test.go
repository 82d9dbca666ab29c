package traffic

import "testing"

// counted is memory that counts how often it was given back.
type counted struct{ times int }

// Release implements Memory.
func (c *counted) Release() { c.times++ }

func TestReleaseGivesBackOnceAndTakesTheMessagesAway(t *testing.T) {
	t.Parallel()
	memory := &counted{}
	x := &Exchange{
		Path: "/a", Memory: memory, Request: &Message{Head: []byte("GET /a HTTP/1.1\r\n")},
		Primary: Outcome{Status: 200, Answer: &Message{}},
		Copies:  []Outcome{{Mirror: "m", Answer: &Message{}}, {Mirror: "n"}},
	}
	for range 2 {
		x.Release()
		if memory.times != 1 {
			t.Errorf("given back %d times, want once", memory.times)
		}
		if x.Request != nil || x.Primary.Answer != nil || x.Copies[0].Answer != nil || x.Copies[1].Answer != nil {
			t.Errorf("a message is left: %+v", x)
		}
		if x.Path != "/a" || x.Primary.Status != 200 || x.Copies[0].Mirror != "m" {
			t.Errorf("more than the messages is gone: %+v", x)
		}
	}
}

func TestReleaseOfWhatWasNotCapturedDoesNothing(t *testing.T) {
	t.Parallel()
	x := &Exchange{Copies: []Outcome{{Mirror: "m"}}}
	x.Release()
	if x.Copies[0].Mirror != "m" {
		t.Errorf("got %+v", x)
	}
}
