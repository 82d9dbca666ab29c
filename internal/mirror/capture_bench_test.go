package mirror

import (
	"testing"
	"time"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/spool"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// giver is a sink that gives back, behind so many others.
type giver struct {
	behind []*traffic.Exchange
	next   int
}

// Offer implements traffic.Sink.
func (g *giver) Offer(x *traffic.Exchange) bool {
	if old := g.behind[g.next]; old != nil {
		old.Release()
	}
	g.behind[g.next] = x
	g.next = (g.next + 1) % len(g.behind)
	return true
}

// One request of a GET and two answers of 1 KB, as a loop has it captured; with
// others in between, as from as many clients. What it allocates is the list of tasks
// of a loop that never runs.
func BenchmarkCapture(b *testing.B) {
	request, answer, body := make([]byte, 300), make([]byte, 120), make([]byte, 1<<10)
	for name, n := range map[string]int{"alone": 1, "among 64": 64, "among 1000": 1000} {
		b.Run(name, func(b *testing.B) {
			memory := &spool.Budget{}
			memory.SetLimit(1 << 30)
			l, err := loop.New(loop.DefaultDriver())
			if err != nil {
				b.Fatal(err)
			}
			l.Stop()
			defer l.Run()
			t := &Tap{Loop: l, Sink: &giver{behind: make([]*traffic.Exchange, n)}, Memory: memory, Body: 1 << 20}
			p := &Policy{Def: &config.Mirror{}, compared: 1<<64 - 1}
			for b.Loop() {
				j := t.Join(time.Second, Want{}, 1)
				asked, told := j.Capture(), j.Capture()
				asked.Head(request, -1)
				asked.End(nil)
				j.X.Copies = append(j.X.Copies, traffic.Outcome{})
				reply, _ := j.captureOf(p)
				for _, c := range []*Capture{told, reply} {
					c.Head(answer, 1<<10)
					c.Body(body)
					c.End(nil)
				}
				j.X.Request, j.X.Primary.Answer, j.X.Copies[0].Answer = asked.Message(), told.Message(), reply.Message()
				j.Release()
				t.last = true
				t.Run()
			}
		})
	}
}
