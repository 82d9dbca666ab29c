package upstream

import (
	"net"
	"testing"
	"time"

	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// When the first byte left is told to whoever asks for it, and lies between the
// moment of sending and the answer; how long connecting took is told always.
func TestCallsAreStampedAtTheSocket(t *testing.T) {
	drivers(t, func(r *rig) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			r.Fatal(err)
		}
		defer ln.Close()
		e := r.endpoint(ln.Addr().String())
		first, second, silent := r.get("first"), r.get("second"), r.get("silent")
		first.Timed, second.Timed = true, true
		var c net.Conn
		for i, x := range []*exchange{first, second, silent} {
			before := loop.Now()
			var answered time.Duration
			x.onAnswer = func() { answered = r.loop.Now() }
			r.send(e, x)
			if i == 0 {
				if c, err = ln.Accept(); err != nil {
					r.Fatal(err)
				}
				defer c.Close()
			}
			got := make([]byte, 200)
			if _, err := c.Read(got); err != nil {
				r.Fatal(err)
			}
			if _, err := c.Write([]byte("HTTP/1.1 204 No Content\r\n\r\n")); err != nil {
				r.Fatal(err)
			}
			x.succeeds(204, "")
			r.on(func() {
				if x.Timed && (x.SentAt <= before || x.SentAt >= answered) || !x.Timed && x.SentAt != 0 {
					r.Errorf("%s: sent at %s, between %s and %s", x.name, x.SentAt, before, answered)
				}
				if i == 0 && (x.Connect <= 0 || before+x.Connect > x.SentAt) || i > 0 && x.Connect != 0 {
					r.Errorf("%s: connected in %s, and sent at %s", x.name, x.Connect, x.SentAt-before)
				}
			})
		}
	})
}

func TestACallThatNobodyTakesIsNotStampedAsSent(t *testing.T) {
	drivers(t, func(r *rig) {
		_, address := bound(r)
		x := r.get("refused")
		x.Timed = true
		r.send(r.endpoint(address), x)
		x.fails(Failure{Reason: traffic.FailConnect, Unsent: true})
		r.on(func() {
			if x.SentAt != 0 || x.Connect <= 0 {
				r.Errorf("sent at %s, connected in %s, want never, and the time until it was refused", x.SentAt, x.Connect)
			}
		})
	})
}
