package mirror

import (
	"time"

	"github.com/understudy-proxy/understudy/internal/loop"
)

// pace bounds how fast one loop reads the long answers of all shadows
// together, so that a shadow that answers without end cannot take the machine
// from live requests. The first freeAnswer bytes of each answer are not
// counted.
type pace struct {
	loop    *loop.Loop
	timer   loop.Timer
	tokens  int64 // bytes that may be read now
	filled  time.Duration
	waiting []*Copy
}

const (
	freeAnswer  = 64 << 10  // bytes of an answer that are read as they come
	maxAnswer   = 8 << 20   // bytes of an answer that are read at all
	paceBytes   = 64 << 20  // bytes per second and loop beyond freeAnswer
	paceBurst   = 512 << 10 // bytes at once
	paceQuantum = 10 * time.Millisecond
)

func (p *pace) init(l *loop.Loop) {
	p.loop = l
	p.timer.Task = p
}

// take counts n bytes and says whether reading may go on. If not, c is resumed
// later.
func (p *pace) take(c *Copy, n int) bool {
	p.fill()
	p.tokens -= int64(n)
	if p.tokens > 0 {
		return true
	}
	p.waiting = append(p.waiting, c)
	if !p.timer.Armed() {
		p.loop.Arm(&p.timer, paceQuantum)
	}
	return false
}

func (p *pace) fill() {
	now := p.loop.Now()
	elapsed := min(now-p.filled, time.Second)
	p.tokens = min(p.tokens+int64(elapsed)*paceBytes/int64(time.Second), paceBurst)
	p.filled = now
}

// forget removes a copy that has ended.
func (p *pace) forget(c *Copy) {
	for i := range p.waiting {
		if p.waiting[i] == c {
			p.waiting[i] = nil
		}
	}
}

// Run resumes copies while there are bytes left. Each may read one block, so
// that many take turns.
func (p *pace) Run() {
	p.fill()
	budget := p.tokens
	n := 0
	for ; n < len(p.waiting) && budget > 0; n++ {
		if c := p.waiting[n]; c != nil {
			c.paced = false
			c.call.Resume()
			budget -= freeAnswer
		}
	}
	rest := copy(p.waiting, p.waiting[n:])
	clear(p.waiting[rest:])
	p.waiting = p.waiting[:rest]
	if rest > 0 {
		p.loop.Arm(&p.timer, paceQuantum)
	}
}
