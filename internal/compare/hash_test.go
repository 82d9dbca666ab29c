package compare

import (
	"fmt"
	"strings"
	"testing"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// Texts of which one begins with what the other goes on with were the same where
// the length was added to the first word.
func TestValuesOfOtherLengthsDiffer(t *testing.T) {
	t.Parallel()
	for _, test := range [][2]string{
		{"200000000", "1000000000"}, {"22222222", "122222222"}, {"300000000", "10000000000"}, {`"aaaaaaaa"`, "\"`aaaaaaaa\""},
		{`"b000000000"`, `"a0000000000"`}, {`{"22222222":1}`, `{"122222222":1}`}, {"[3,200000000]", "[3,1000000000]"},
	} {
		got := compared(New(nil), `{"a":`+test[0]+`}`, `{"a":`+test[1]+`}`)
		if got.Class != Diff {
			t.Errorf("%s and %s: %s", test[0], test[1], got.Class)
		}
	}
}

// All pairs of texts made of few letters have hashes of their own. By chance two
// of these 2^12 would have one with a probability of 2^-41.
func TestHashesOfShortTexts(t *testing.T) {
	t.Parallel()
	seen := map[uint64]string{}
	for n := range 20 {
		for first := byte('0'); first <= '9'; first++ {
			for second := byte('0'); second <= '9'; second++ {
				text := string([]byte{first, second})[:min(n, 2)] + strings.Repeat("0", max(n-2, 0))
				h := sum64([]byte(text))
				if other, found := seen[h]; found && other != text {
					t.Errorf("%q and %q", text, other)
				}
				seen[h] = text
			}
		}
	}
}

func TestZeroIsZero(t *testing.T) {
	t.Parallel()
	for _, zero := range []string{"-0", "0.0", "-0.0", "0e5", "-0e0", "-0.0E-7"} {
		if got := compared(New(nil), `{"a":0}`, `{"a":`+zero+`}`); got.Class != Match {
			t.Errorf("%s: %s", zero, written(got))
		}
	}
}

// An element with many members none of which can identify it is looked at once:
// this test would not end if each was looked for among all.
func TestManyMembersThatIdentifyNothing(t *testing.T) {
	t.Parallel()
	var members strings.Builder
	for i := range 400_000 {
		fmt.Fprintf(&members, `"%d":[],`, i)
	}
	list := func(last string) string { return `[{` + members.String() + `"z":` + last + `},{"y":{}},{"x":[]},1]` }
	head := "HTTP/1.1 200 OK\nContent-Type: application/json"
	x, y := list("[1]"), strings.Replace(list("[2]"), ",1]", ",2]", 1)
	got := New(nil).Compare(&traffic.Exchange{}, cutAt(len(x), head, x), cutAt(len(y), head, y), Options{})
	if got.Class != Diff {
		t.Errorf("%s", got.Class)
	}
}
