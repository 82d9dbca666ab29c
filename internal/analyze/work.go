package analyze

import (
	"time"

	"github.com/understudy-proxy/understudy/internal/redact"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// Those who offer are event loops. To wake another thread costs them more than all
// else that comparing asks of them, so while there is traffic nobody is woken: the
// worker looks by itself, so often. After a second without work it waits to be woken.
const (
	napTime  = 2 * time.Millisecond
	mostNaps = int(time.Second / napTime)
)

// work is the pipeline's one goroutine: what it looks at it looks at in the order
// in which it was offered.
func (p *Pipeline) work() {
	defer close(p.stopped)
	giveWay()
	save := time.NewTicker(saveEvery)
	defer save.Stop()
	var replies chan reply
	if p.asker != nil {
		replies = p.asker.replies
	}
	nap := time.NewTimer(napTime)
	defer nap.Stop()
	pace, naps := pacer{}, 0
	for {
		queue := p.queue
		if len(queue) == 0 && naps < mostNaps {
			nap.Reset(napTime)
			queue = nil
		}
		select {
		case i := <-queue:
			naps = 0
			pace.begin()
			p.take(i)
		case <-nap.C:
			naps++
			continue
		case r := <-replies:
			pace.begin()
			p.hear(r)
		case <-save.C:
			p.save(false)
		case <-p.closing:
			p.finish()
			return
		}
		p.tell()
		p.rest(&pace)
	}
}

// take looks at an item of the queue.
func (p *Pipeline) take(i item) {
	if i.passed != nil {
		p.waiting = append(p.waiting, i.passed)
		return
	}
	p.look(i.exchange)
}

// tell tells those who wait that nothing is open any more.
func (p *Pipeline) tell() {
	if len(p.waiting) == 0 || !p.asker.idle() {
		return
	}
	if p.options.Offline {
		p.conclude()
	}
	for _, w := range p.waiting {
		close(w)
	}
	p.waiting = nil
}

// finish does what is left to do when no more is offered.
func (p *Pipeline) finish() {
	for p.ending.Err() == nil {
		select {
		case i := <-p.queue:
			p.take(i)
			continue
		default:
		}
		break
	}
	p.discard()
	if p.asker != nil {
		p.asker.close()
		for !p.asker.idle() {
			p.hear(<-p.asker.replies)
		}
	}
	if p.sender != nil {
		p.sender.close()
	}
	if p.options.Offline || p.options.Store == nil {
		p.conclude() // nothing comes that could tell more
	}
	p.save(true)
	p.tell()
	p.end()
	p.asking.Wait()
}

// discard counts what there is no time for.
func (p *Pipeline) discard() {
	for {
		select {
		case i := <-p.queue:
			if i.exchange != nil {
				i.exchange.Release()
				p.lostQueue.Add(1)
			} else {
				p.waiting = append(p.waiting, i.passed)
			}
		default:
			return
		}
	}
}

// look compares what an exchange's backends did, and gives back its memory.
func (p *Pipeline) look(x *traffic.Exchange) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer x.Release()
	raw := p.keepRaw(x)
	p.redact(x)
	for _, t := range p.options.Takers {
		t.Offer(x)
	}
	if x.Request == nil {
		return
	}
	for i := range x.Copies {
		c := &x.Copies[i]
		m := p.mirrors[label{x.Route, x.Rule, c.Mirror}]
		if m == nil || !c.Compare {
			continue
		}
		if p.asker != nil {
			p.asker.pair()
		}
		m.look(x, c, raw)
	}
}

// redact replaces what is secret, where that has not been done before.
func (p *Pipeline) redact(x *traffic.Exchange) {
	p.redactor.Exchange(x)
	if p.options.OtherKey {
		redact.Alike(x)
	}
}

// keepRaw copies the request before it is redacted, if it may be sent again. The
// copy is good until the next exchange.
func (p *Pipeline) keepRaw(x *traffic.Exchange) *traffic.Message {
	if p.asker == nil || x.Request == nil || !safe(x.Method) || !x.Request.Whole || x.Request.Cut() {
		return nil
	}
	head, body := p.raw.Head[:0], p.raw.Body[:0]
	p.raw = *x.Request
	p.raw.Head, p.raw.Body, p.raw.Trailer = append(head, x.Request.Head...), append(body, x.Request.Body...), nil
	return &p.raw
}

// hear takes in the reply to a question.
func (p *Pipeline) hear(r reply) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.asker.open.Add(-1)
	q := r.question
	m := p.mirrors[label{q.Route, q.Rule, q.Mirror}]
	if m == nil || m != q.mirror || m.endpoints[q.held.endpoint.Name] != q.held.endpoint {
		return // it was forgotten meanwhile
	}
	if r.outcome != nil {
		own := *q.Live
		own.Request, own.Copies = keepMessage(q.Request), []traffic.Outcome{*r.outcome}
		p.redact(&own)
		r.outcome = &own.Copies[0]
	}
	m.hear(q, r.outcome)
}

// conclude decides about all that is still open.
func (p *Pipeline) conclude() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.mirrors {
		m.conclusion()
	}
}

// pacer measures how long the worker has worked since it last paused.
type pacer struct{ began time.Time }

func (w *pacer) begin() {
	if w.began.IsZero() {
		w.began = time.Now()
	}
}

// rest pauses, if the worker may not use a whole core: as long in proportion as it
// has worked.
func (p *Pipeline) rest(w *pacer) {
	share := p.share()
	if share >= 1 || share <= 0 {
		w.began = time.Time{}
		return
	}
	worked := time.Since(w.began)
	if worked < restAfter && len(p.queue) > 0 {
		return
	}
	w.began = time.Time{}
	pause := time.NewTimer(time.Duration(float64(worked) * (1/share - 1)))
	defer pause.Stop()
	p.resting.Store(true)
	defer p.resting.Store(false)
	select {
	case <-pause.C:
	case <-p.closing:
	}
}

// share is how much of a core the worker may use.
func (p *Pipeline) share() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cfg.Capture.CPU
}
