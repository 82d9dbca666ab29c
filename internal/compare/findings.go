package compare

import (
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// How many differences are kept of a pair, and of one path and kind, so that a
// long array does not hide what else differs.
const (
	maxFound = 64
	maxAlike = 8
)

// findings collects differences.
type findings struct {
	differs    list
	noise      list
	structural int  // differences of structure, noise or not
	other      bool // something differs, and it is not an order
	status     bool // the status differs
}

// list keeps the most structural differences.
type list struct {
	kept []Difference
	more int
}

// alike says that enough differences of a path and kind are kept.
func (l *list) alike(path string, k Kind) bool {
	n := 0
	for i := range l.kept {
		if l.kept[i].Kind == k && l.kept[i].Path == path {
			n++
		}
	}
	return n >= maxAlike
}

// room says whether a difference is to be kept, and makes room for it.
func (l *list) room(d *Difference) bool {
	if l.alike(d.Path, d.Kind) {
		l.more++
		return false
	}
	if len(l.kept) < maxFound {
		return true
	}
	l.more++
	worst := 0
	for i := range l.kept {
		if l.kept[i].gravity() > l.kept[worst].gravity() {
			worst = i
		}
	}
	if d.gravity() >= l.kept[worst].gravity() {
		return false
	}
	l.kept = slices.Delete(l.kept, worst, worst+1)
	return true
}

// gravity orders differences: the smaller one is the more structural.
func (d *Difference) gravity() int {
	switch {
	case d.Path == "status" || d.Path == "trailer.grpc-status":
		return 0
	case d.Kind == Type || d.Kind == Missing || d.Kind == Extra:
		return 1
	case d.Kind == Null:
		return 2
	case d.Kind == Length:
		return 3
	case d.Kind == Order:
		return 6
	case d.Similar:
		return 5
	}
	return 4
}

// result is what was found, sorted.
func (f *findings) result() Result {
	byGravity := func(a, b Difference) int { return a.gravity() - b.gravity() }
	slices.SortStableFunc(f.differs.kept, byGravity)
	slices.SortStableFunc(f.noise.kept, byGravity)
	return Result{Differences: f.differs.kept, More: f.differs.more, Noise: f.noise.kept}
}

// class says what the findings amount to.
func (f *findings) class(primary, shadow *traffic.Outcome) Class {
	switch {
	case f.status && serverError(shadow) && !serverError(primary):
		return ShadowError
	case f.status:
		return StatusDiff
	case f.other:
		return Diff
	case len(f.differs.kept) > 0:
		return OrderOnly
	case len(f.noise.kept) > 0:
		return NoiseOnly
	}
	return Match
}

// report notes that two nodes differ where the walk is. One of them may be nil.
func (c *Comparer) report(k Kind, a, b *node) {
	d := Difference{Path: c.intern(), Kind: k}
	if k == Changed && !c.judged() && c.found.differs.alike(d.Path, k) {
		c.found.other = true
		c.found.differs.more++
		return
	}
	if k == Changed {
		c.measure(&d, a, b)
	}
	if k != Changed && k != Order {
		c.found.structural++
	}
	rule, allowed := c.allows(&d, a, b)
	if k == Length && a != nil && b != nil {
		d.Delta = float64(c.b.size(b)) - float64(c.a.size(a))
	}
	to := &c.found.differs
	if allowed {
		to = &c.found.noise
		if rule != nil {
			d.Rule = rule.said
		}
	} else {
		c.found.other = c.found.other || k != Order
		c.found.status = c.found.status || d.Path == "status" || d.Path == "trailer.grpc-status"
	}
	if !to.room(&d) {
		return
	}
	d.Where = string(c.at.where)
	d.Primary, d.Shadow = c.a.value(a), c.b.value(b)
	to.kept = append(to.kept, d)
}

// judged says that a rule, or what was learned, has a say in differences here.
func (c *Comparer) judged() bool {
	rule, _ := c.at.rule()
	return rule != nil || c.demoted != nil
}

// measure says how far two values of one type are apart.
func (c *Comparer) measure(d *Difference, a, b *node) {
	x, y := c.a.in(a.text), c.b.in(b.text)
	if a.form != b.form {
		return
	}
	switch a.form {
	case number:
		if first, second, ok := floats(x, y); ok {
			d.Delta = second - first
			if unit := epochUnit(x); unit != 0 && unit == epochUnit(y) {
				d.Delta /= unit
			}
		}
		d.Similar = ClassOf(x) == ClassOf(y) || digits(x) == digits(y) // or ids that happen to look like times
	case text:
		if first, ok := moment(x); ok {
			if second, ok := moment(y); ok {
				d.Delta = second.Sub(first).Seconds()
			}
		} else if ClassOf(x) == Number && ClassOf(y) == Number {
			if first, second, ok := floats(x, y); ok {
				d.Delta = second - first
			}
		}
		d.Similar = similar(x, y)
	case opaque, boolean:
		d.Similar = true
	}
}

// allows says that a difference counts for nothing, and by which rule; nil if the
// place is demoted.
func (c *Comparer) allows(d *Difference, a, b *node) (*rule, bool) {
	if rule, above := c.at.rule(); rule != nil {
		switch rule.verb {
		case ignore:
			return rule, true
		case shape:
			if above || d.Kind == Changed || d.Kind == Order || d.Kind == Length {
				return rule, true
			}
			return nil, false
		case set:
			if d.Kind == Order {
				return rule, true
			}
		case within, during, pattern:
			// The rule says all of such a value: what was learned does not count.
			if d.Kind == Changed {
				return rule, rule.holds(c.a.in(a.text), c.b.in(b.text))
			}
			return nil, false
		}
	}
	if c.demoted == nil || !(d.Kind == Order || d.Kind == Changed && d.Similar) {
		return nil, false
	}
	return nil, c.demoted(d.Path)
}

// holds says that two values differ no more than a rule allows.
func (r *rule) holds(a, b []byte) bool {
	switch r.verb {
	case within:
		x, y, ok := floats(a, b)
		most := r.most
		if r.relative {
			most *= math.Abs(x)
		}
		return ok && math.Abs(x-y) <= most*(1+epsilon)
	case during:
		x, first := anyMoment(a)
		y, second := anyMoment(b)
		return first && second && y.Sub(x).Abs() <= r.time
	}
	return r.pattern.Match(a) && r.pattern.Match(b)
}

// anyMoment reads a time as text or as a number.
func anyMoment(b []byte) (time.Time, bool) {
	if unit := epochUnit(b); unit != 0 {
		f, err := strconv.ParseFloat(string(b), 64)
		return time.Unix(0, int64(f/unit*1e9)), err == nil
	}
	return moment(b)
}

// size is how many bytes, elements or members a value has.
func (t *tree) size(n *node) int {
	switch n.form {
	case array, object:
		return int(n.count)
	case text, opaque:
		return int(n.text.size)
	}
	return 0
}

// maxText bounds what is shown of a value.
const maxText = 256

// value makes the side of a difference that a node is; nil is of nothing.
func (t *tree) value(n *node) Value {
	if n == nil {
		return Value{Type: names[absent]}
	}
	v := Value{Type: names[n.form], Hash: n.hash, Size: t.size(n)}
	if n.form == text || n.form == number {
		v.Class = ClassOf(t.in(n.text))
	}
	shown := t.show(nil, n, false)
	if len(shown) > maxText {
		end := maxText - len("…")
		for end > 0 && !utf8.RuneStart(shown[end]) {
			end--
		}
		shown = append(shown[:end:end], "…"...)
	}
	v.Text = string(shown)
	return v
}

// show appends a value as people read it, until it is too long.
func (t *tree) show(dst []byte, n *node, inside bool) []byte {
	if len(dst) > maxText {
		return dst
	}
	if n.is&grouped != 0 && n.count == 1 {
		return t.show(dst, &t.nodes[n.first], inside)
	}
	switch n.form {
	case object, array:
		brackets := "{}"
		if n.form == array {
			brackets = "[]"
		}
		dst = append(dst, brackets[0])
		for i := range t.children(n) {
			if len(dst) > maxText {
				break
			}
			if i > 0 {
				dst = append(dst, ',')
			}
			child := &t.nodes[int(n.first)+i]
			if n.form == object {
				dst = append(strconv.AppendQuote(dst, string(t.some(child.name))), ':')
			}
			dst = t.show(dst, child, true)
		}
		return append(dst, brackets[1])
	case opaque:
		const digits = "0123456789abcdef"
		for _, b := range t.some(n.text) {
			dst = append(dst, digits[b>>4], digits[b&15])
		}
		return dst
	case text:
		if inside {
			return strconv.AppendQuote(dst, string(t.some(n.text)))
		}
	}
	return append(dst, t.some(n.text)...)
}

// some returns as many bytes of a span as may be shown, and a few more.
func (t *tree) some(s span) []byte {
	s.size = min(s.size, maxText+utf8.UTFMax)
	return t.in(s)
}
