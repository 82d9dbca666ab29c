// Package compare finds what differs between two answers to the same request:
// two outcomes in, typed differences out. It is pure: it knows neither clocks nor
// statistics, and what was found in a pair says nothing about the next.
package compare

// Class says what a pair of answers amounts to. The strings are part of the
// contract.
type Class string

// The classes of pairs.
const (
	Match       Class = "match"
	NoiseOnly   Class = "noise_only"   // they differ where they may
	OrderOnly   Class = "order_only"   // the same elements in another order
	StateDrift  Class = "state_drift"  // asked once more, the shadow gave the primary's answer
	Diff        Class = "diff"         // of headers, body or trailers
	StatusDiff  Class = "status_diff"  // the HTTP status, or that of gRPC
	ShadowError Class = "shadow_error" // 5xx or no answer in time, where the primary did well
	Infra       Class = "infra"        // there is no pair: refused, cut off by us, not captured. Counts for nobody
)

// Classes lists the closed set in display order. It must not be changed.
var Classes = []Class{Match, NoiseOnly, OrderOnly, StateDrift, Diff, StatusDiff, ShadowError, Infra}

// Kind says how two values differ. The strings are part of the contract.
type Kind string

// The kinds of differences.
const (
	Missing Kind = "missing" // at the shadow
	Extra   Kind = "extra"   // at the shadow
	Type    Kind = "type"    // a string where there was a number
	Null    Kind = "null"    // null where there was a value, or the reverse
	Changed Kind = "value"   // of the same type
	Length  Kind = "length"  // elements of an array could not be aligned, or opaque bytes
	Order   Kind = "order"   // the same elements in another order
)

// Difference is one place where two answers differ.
type Difference struct {
	Path    string  `json:"path"`              // generalised: body.items[*].price, header.etag, status, trailer.grpc-status
	Where   string  `json:"where"`             // the exact place: body.items[3].price
	Kind    Kind    `json:"kind"`              //
	Primary Value   `json:"primary"`           // zero if Extra
	Shadow  Value   `json:"shadow"`            // zero if Missing
	Delta   float64 `json:"delta,omitempty"`   // of numbers: shadow - primary; of times: in seconds
	Similar bool    `json:"similar,omitempty"` // a Changed value of the same shape: see Shape
	Rule    string  `json:"rule,omitempty"`    // of what Result.Noise holds: the path of the rule that allows it; empty if the place is demoted
}

// Value is one side of a difference, for people and for what is learned of it.
type Value struct {
	Type  string     `json:"type"`            // null, bool, number, string, array, object, bytes, absent
	Text  string     `json:"text,omitempty"`  // at most 256 bytes, cut at a rune, with … if cut
	Class ValueClass `json:"class,omitempty"` // of the whole text
	Hash  uint64     `json:"-"`               // of the whole value, the same in every process
	Size  int        `json:"size,omitempty"`  // bytes, elements or members
}

// Result is what comparing a pair gave.
type Result struct {
	Class       Class
	Differences []Difference // at most 64, and 8 of one path and kind; most structural first
	More        int          // differences beyond these limits
	Noise       []Difference // what differs where it may: likewise limited, and not counted beyond
	Cut         bool         // one of the bodies was not kept whole: what lies beyond was compared by length and hash
}
