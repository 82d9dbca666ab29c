//go:build linux

package load

import "sync/atomic"

// IDSet is a multiset of request ids reduced to a count and a sum of hashes
// that does not depend on their order. Two sets of different ids are equal with
// a chance of about 2^-64; compare with ==. The zero value is the empty set.
type IDSet struct {
	Count uint64 `json:"count"`
	Sum   uint64 `json:"sum"`
}

// Add puts one id into the set.
func (s *IDSet) Add(id uint64) {
	s.Count++
	s.Sum += mix(id)
}

// Merge adds all ids of o.
func (s *IDSet) Merge(o IDSet) {
	s.Count += o.Count
	s.Sum += o.Sum
}

// mix spreads an id over 64 bits (the finalizer of SplitMix64), so that sums
// over neighbouring ids do not collide.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// sharedIDs is an IDSet that one goroutine fills while others look.
type sharedIDs struct{ count, sum atomic.Uint64 }

func (s *sharedIDs) add(id uint64) {
	s.sum.Add(mix(id))
	s.count.Add(1)
}

func (s *sharedIDs) set() IDSet { return IDSet{Count: s.count.Load(), Sum: s.sum.Load()} }

const hexDigits = "0123456789abcdef"

// putID writes id as sixteen hex digits to the start of dst.
func putID(dst []byte, id uint64) {
	for i := 15; i >= 0; i-- {
		dst[i] = hexDigits[id&15]
		id >>= 4
	}
}

// getID reads sixteen lower-case hex digits from the start of b.
func getID(b []byte) (id uint64, ok bool) {
	if len(b) < 16 {
		return 0, false
	}
	for _, c := range b[:16] {
		switch {
		case '0' <= c && c <= '9':
			id = id<<4 | uint64(c-'0')
		case 'a' <= c && c <= 'f':
			id = id<<4 | uint64(c-'a'+10)
		default:
			return 0, false
		}
	}
	return id, true
}
