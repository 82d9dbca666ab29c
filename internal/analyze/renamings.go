package analyze

// renamings knows which id of the shadow stands for which id of the primary. Ids
// are known by hashes. It forgets those not seen for long: of two generations the
// older goes when the younger is full.
type renamings struct {
	young, old map[uint64]uint64 // primary to shadow, and shadow to primary under another hash
}

// generation is how many ids one generation holds; an entry takes some 40 bytes.
const generation = 16 << 10

// word is what renamings say about a pair of ids.
type word int

// What renamings say.
const (
	unheard      word = iota // neither has been seen
	confirmed                // they stand for each other
	contradicted             // one of them stands for another
)

// check looks a pair of ids up, and takes it in if neither was known. Ids of
// another family may be equal by chance.
func (r *renamings) check(f family, primary, shadow uint64) word {
	forth, back := mix(f.hash, primary), mix(^f.hash, shadow)
	if f.unique {
		if _, swapped := r.look(mix(f.hash, shadow)); swapped {
			return contradicted // the shadow names what is another thing at the primary
		}
	}
	s, knownForth := r.look(forth)
	p, knownBack := r.look(back)
	switch {
	case !knownForth && !knownBack:
		r.put(forth, shadow)
		r.put(back, primary)
		return unheard
	case knownForth && s == shadow && knownBack && p == primary:
		return confirmed
	}
	return contradicted
}

func (r *renamings) look(key uint64) (uint64, bool) {
	if v, ok := r.young[key]; ok {
		return v, true
	}
	v, ok := r.old[key]
	if ok {
		r.put(key, v)
	}
	return v, ok
}

func (r *renamings) put(key, value uint64) {
	if r.young == nil || len(r.young) >= generation {
		r.old, r.young = r.young, make(map[uint64]uint64)
	}
	r.young[key] = value
}

// mix joins two hashes into one.
func mix(a, b uint64) uint64 {
	const odd = 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio
	x := a*odd ^ b
	x ^= x >> 29
	x *= odd
	return x ^ x>>32
}
