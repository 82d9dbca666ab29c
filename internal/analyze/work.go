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
	napTime  = 5 * time.Millisecond
	mostNaps = int(time.Second / napTime)
)

// work is the pipeline's one goroutine: what it looks at it looks at in the order
// in which it was offered.
func (p *Pipeline) work() {
	defer close(p.stopped)
	meter := openMeter()
	defer meter.close()
	save := time.NewTicker(saveEvery)
	defer save.Stop()
	var replies chan reply
	if p.asker != nil {
		replies = p.asker.replies
	}
	nap := time.NewTimer(napTime)
	defer nap.Stop()
	worked, naps := time.Duration(0), 0 // since it last paused
	for {
		queue := p.queue
		if len(queue) == 0 && naps < mostNaps {
			nap.Reset(napTime)
			queue = nil
		}
		select {
		case i := <-queue:
			naps = 0
			began := time.Now()
			p.take(i)
			worked += time.Since(began)
		case <-nap.C:
			naps++
			p.measure(meter)
			continue
		case r := <-replies:
			began := time.Now()
			p.hear(r)
			worked += time.Since(began)
		case <-save.C:
			p.save(false)
		case <-p.closing:
			p.finish()
			return
		}
		p.tell()
		if worked >= restAfter {
			p.rest(worked)
			worked = 0
		}
		p.measure(meter)
	}
}

// measure looks now and then whether others need the processors.
func (p *Pipeline) measure(m *meter) {
	now := time.Now()
	if !p.strain.due(now) {
		return
	}
	p.strain.look(now, m.read(), len(p.queue) > cap(p.queue)/2)
	if !p.yields() {
		p.strain.want(1)
	}
}

// yields says whether comparing gives way to others.
func (p *Pipeline) yields() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	yield := p.cfg.Capture.Yield
	return yield == nil || *yield
}

// take looks at an item of the queue.
func (p *Pipeline) take(i item) {
	if i.passed != nil {
		p.waiting = append(p.waiting, i.passed)
		return
	}
	p.strain.pairs++
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
	if p.options.Offline || !p.keeps() {
		p.conclude() // nothing comes that could tell more
	}
	p.save(true)
	p.tell()
	p.end()
	p.asking.Wait()
}

// keeps says whether what is learned is kept: by a store that was there, or came later.
func (p *Pipeline) keeps() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.store != nil
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

// rest pauses after so much work, if the worker may not use a whole core: as long in
// proportion. What it waits for, such as the disk, is not work.
func (p *Pipeline) rest(worked time.Duration) {
	share := p.share()
	if share >= 1 || share <= 0 {
		return
	}
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
