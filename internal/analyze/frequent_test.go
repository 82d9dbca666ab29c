package analyze

import (
	"encoding/json"
	"fmt"
	"testing"
)

func TestFrequentTextsAreFoundAmongManyRareOnes(t *testing.T) {
	t.Parallel()
	f := newFrequent()
	for i := range 100_000 {
		f.add(fmt.Sprintf("rare=%d", i))
		if i%10 == 0 {
			f.add("often=1")
		}
		if i%20 == 0 {
			f.add("less=1")
		}
	}
	if len(f.heap) != mostTraits || len(f.places) != mostTraits {
		t.Fatalf("%d texts in the heap, %d in the index, want that many", len(f.heap), len(f.places))
	}
	for text, n := range map[string]int64{"often=1": 10_000, "less=1": 5_000} {
		if sure, most := f.sure(text), f.atMost(text); sure > n || most < n || sure < n/2 {
			t.Errorf("%s: between %d and %d, was %d", text, sure, most, n)
		}
	}
	if n := f.sure("never"); n != 0 {
		t.Errorf("what was never seen: %d", n)
	}
	data, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	var again frequent
	if err := json.Unmarshal(data, &again); err != nil {
		t.Fatal(err)
	}
	if again.sure("often=1") != f.sure("often=1") || again.atMost("never") != f.atMost("never") {
		t.Errorf("read back: %d and %d, want %d and %d", again.sure("often=1"), again.atMost("never"), f.sure("often=1"), f.atMost("never"))
	}
}
