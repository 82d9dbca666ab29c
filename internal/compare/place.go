package compare

import "strconv"

// place is where in the answers a walk is, with the rules that match there.
type place struct {
	rules  []*rule
	path   []byte // generalised
	where  []byte // exact
	states []state
	levels []level
}

// state is a rule of which the first steps match.
type state struct{ rule, steps uint16 }

// level is one step of a walk: how long everything was before it, and what holds.
type level struct {
	path, where, states int
	rule                *rule // the most specific one, here or above; nil = none
	above               bool  // it matches a place above this one
}

// start goes to the root.
func (p *place) start(rules []*rule) {
	p.rules = rules
	p.path, p.where, p.states, p.levels = p.path[:0], p.where[:0], p.states[:0], p.levels[:0]
	p.levels = append(p.levels, level{})
	for i := range rules {
		p.states = append(p.states, state{rule: uint16(i)})
	}
}

// rule is the one that holds here, nil if none, and whether it does because it
// holds above.
func (p *place) rule() (r *rule, above bool) {
	l := &p.levels[len(p.levels)-1]
	return l.rule, l.above
}

// ruledBelow says that a rule may match below.
func (p *place) ruledBelow() bool {
	for _, s := range p.states[p.levels[len(p.levels)-1].states:] {
		if int(s.steps) < len(p.rules[s.rule].path) {
			return true
		}
	}
	return false
}

// member enters a member of an object. Data says that its name is one of many,
// and no part of the generalised path.
func (p *place) member(name []byte, data bool) {
	at := p.push()
	if data {
		p.path = append(p.path, "{*}"...)
	} else {
		p.path = appendName(p.path, name)
	}
	p.where = appendName(p.where, name)
	if len(p.states) > at {
		p.advance(at, step{sort: member, name: string(name)}, false)
	}
}

// indexed says how the indices of an array are a part of paths.
type indexed uint8

const (
	always  indexed = iota // of the exact and of the generalised path
	several                // of a group: of the exact path
	never                  // of a group of one: of neither
)

// element enters an element of an array.
func (p *place) element(i int, how indexed) {
	at := p.push()
	if how == always {
		p.path = append(p.path, "[*]"...)
	}
	if how != never {
		p.where = append(strconv.AppendInt(append(p.where, '['), int64(i), 10), ']')
	}
	if len(p.states) > at {
		p.advance(at, step{sort: index, index: i}, how != always)
	}
}

// push begins a step and returns where the states of the place above begin.
func (p *place) push() int {
	above := &p.levels[len(p.levels)-1]
	below := level{path: len(p.path), where: len(p.where), states: len(p.states)}
	if above.rule != nil && (above.above || above.rule.verb == ignore || above.rule.verb == shape) {
		below.rule, below.above = above.rule, true
	}
	p.levels = append(p.levels, below)
	return above.states
}

// leave goes back by one step.
func (p *place) leave() {
	last := len(p.levels) - 1
	l := p.levels[last]
	p.path, p.where, p.states, p.levels = p.path[:l.path], p.where[:l.where], p.states[:l.states], p.levels[:last]
}

// advance moves the states from at on by a step. One that is optional may also
// be left out.
func (p *place) advance(at int, by step, optional bool) {
	end := len(p.states)
	for i := at; i < end; i++ {
		s := p.states[i]
		if optional {
			p.reach(s)
		}
		p.move(s, by)
	}
}

// move adds what a state becomes by a step.
func (p *place) move(s state, by step) {
	steps := p.rules[s.rule].path
	if int(s.steps) == len(steps) {
		return
	}
	next := steps[s.steps]
	if next.sort == deep {
		p.reach(s)
		p.move(state{s.rule, s.steps + 1}, by)
		return
	}
	if next.covers(by) {
		p.reach(state{s.rule, s.steps + 1})
	}
}

// reach adds a state unless it is there, and notes the rule if all of it matches.
func (p *place) reach(s state) {
	l := &p.levels[len(p.levels)-1]
	for _, known := range p.states[l.states:] {
		if known == s {
			return
		}
	}
	p.states = append(p.states, s)
	r := p.rules[s.rule]
	left := r.path[s.steps:]
	if len(left) == 0 || len(left) == 1 && left[0].sort == deep {
		if l.rule == nil || r.exactness() > l.rule.exactness() || l.above && r.exactness() == l.rule.exactness() {
			l.rule, l.above = r, false
		}
	}
}
