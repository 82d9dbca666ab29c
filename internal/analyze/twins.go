package analyze

import (
	"bytes"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/understudy-proxy/understudy/internal/compare"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// twins remembers answers to requests that come again and again: two answers of
// the primary to the same question show what differs there by itself.
type twins struct {
	asked map[uint64]time.Time // requests seen once, their answers were not kept
	kept  map[uint64]*twin
	bytes int64
}

// twin is a request's last answers.
type twin struct {
	at      time.Time
	primary traffic.Outcome
	shadow  traffic.Outcome
}

// Bounds of twins. What is answered within a second may be equal because a clock
// has not moved on; what is older than half a minute differs because the world has.
const (
	twinsApart  = time.Second
	twinsLong   = 30 * time.Second
	twinsAsked  = 4096
	twinsKept   = 512
	twinsBytes  = 8 << 20
	twinLargest = 64 << 10
	twinsEager  = 64 // pairs of an endpoint, until only one in eight is compared
)

// meet returns the earlier answers to the request of x that can be compared with
// those of today, nil if there are none, and keeps what can be of use later.
func (t *twins) meet(x *traffic.Exchange, shadow *traffic.Outcome) *twin {
	if x.Request == nil || x.Request.Cut() || !whole(&x.Primary) || !whole(shadow) {
		return nil
	}
	key := identity(x)
	before := t.kept[key]
	if before != nil {
		age := x.Start.Sub(before.at)
		switch {
		case age >= 0 && age < twinsApart:
			return nil
		case age > twinsLong || age < 0:
			t.renew(before, x, shadow)
			return nil
		}
		again := *before
		t.renew(before, x, shadow)
		return &again
	}
	if last, ok := t.asked[key]; !ok || x.Start.Sub(last).Abs() > twinsLong {
		if t.asked == nil || len(t.asked) >= twinsAsked {
			t.asked = make(map[uint64]time.Time)
		}
		t.asked[key] = x.Start
		return nil
	}
	if t.kept == nil || len(t.kept) >= twinsKept || t.bytes >= twinsBytes {
		t.kept, t.bytes = make(map[uint64]*twin), 0
	}
	w := &twin{}
	t.renew(w, x, shadow)
	t.kept[key] = w
	return nil
}

func (t *twins) renew(w *twin, x *traffic.Exchange, shadow *traffic.Outcome) {
	t.bytes -= size(w.primary.Answer) + size(w.shadow.Answer)
	w.at, w.primary, w.shadow = x.Start, keep(&x.Primary), keep(shadow)
	t.bytes += size(w.primary.Answer) + size(w.shadow.Answer)
}

func whole(o *traffic.Outcome) bool {
	return o.Answer != nil && o.Answer.Whole && !failed(o) && len(o.Answer.Body) <= twinLargest
}

// keep copies an outcome with its answer.
func keep(o *traffic.Outcome) traffic.Outcome {
	kept := *o
	kept.Answer = keepMessage(o.Answer)
	return kept
}

func keepMessage(m *traffic.Message) *traffic.Message {
	if m == nil {
		return nil
	}
	kept := *m
	all := make([]byte, 0, len(m.Head)+len(m.Body)+len(m.Trailer))
	all = append(append(append(all, m.Head...), m.Body...), m.Trailer...)
	h, b := len(m.Head), len(m.Head)+len(m.Body)
	kept.Head, kept.Body, kept.Trailer = all[:h:h], all[h:b:b], all[b:]
	return &kept
}

func size(m *traffic.Message) int64 {
	if m == nil {
		return 0
	}
	return int64(len(m.Head) + len(m.Body) + len(m.Trailer))
}

// identity is a hash of what makes a request this request: all but what is given
// to each anew. Whose it is counts, by the token that redaction has made of it.
func identity(x *traffic.Exchange) uint64 {
	d := xxhash.New()
	head := x.Request.Head
	for len(head) > 0 {
		line := head
		if i := bytes.IndexByte(head, '\n'); i >= 0 {
			line, head = head[:i], head[i+1:]
		} else {
			head = nil
		}
		name, _, _ := bytes.Cut(line, []byte(":"))
		if !perRequest(name) {
			_, _ = d.Write(line) // it never fails
			_, _ = d.Write([]byte{'\n'})
		}
	}
	_, _ = d.Write(x.Request.Body)
	return d.Sum64()
}

// perRequest says that a header is different in every request, and says nothing.
func perRequest(name []byte) bool {
	if len(name) < 2 || len(name) > 24 {
		return false
	}
	switch name[0] | 0x20 {
	case 'x', 't', 'b', 'd':
	default:
		return false
	}
	var lower [24]byte
	for i, c := range name {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		lower[i] = c
	}
	switch string(lower[:len(name)]) {
	case "x-request-id", "x-correlation-id", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-amzn-trace-id",
		"x-cloud-trace-context", "x-forwarded-for", "x-forwarded-port", "traceparent", "tracestate", "b3", "date":
		return true
	}
	return false
}

// meetTwin learns from the answers to an identical request.
func (m *mirror) meetTwin(e *endpoint, x *traffic.Exchange, shadow *traffic.Outcome, findings []finding) {
	before := m.twins.meet(x, shadow)
	if before == nil || e.Live >= twinsEager && m.random.IntN(8) != 0 {
		return
	}
	r := m.comparer.Compare(x, &before.primary, &x.Primary, compare.Options{Endpoint: e.Name})
	if r.Class == compare.Infra || r.Class == compare.ShadowError {
		return
	}
	e.Live++
	seen := make(map[spot]bool)
	for i := range r.Differences {
		m.liveDiffers(e, &r.Differences[i], seen)
	}
	if !m.asks(e) {
		r := m.comparer.Compare(x, &before.shadow, shadow, compare.Options{Endpoint: e.Name})
		if r.Class != compare.Infra && r.Class != compare.ShadowError {
			e.repeated(r.Differences)
			e.answered(findings, r.Differences)
		}
	}
	for _, p := range e.Places {
		if p.Standing == noise && m.conclude(e, p, false) {
			m.release(e)
		}
	}
}

// liveDiffers counts that two answers of the primary differ somewhere.
func (m *mirror) liveDiffers(e *endpoint, d *compare.Difference, seen map[spot]bool) {
	s := spotOf(d)
	if seen[s] {
		return
	}
	seen[s] = true
	if p := e.place(s); p != nil {
		p.Live++
	}
	if d.Kind == compare.Changed && !d.Similar {
		m.liveDiffers(e, &compare.Difference{Path: d.Path, Kind: shape}, seen)
	}
}
