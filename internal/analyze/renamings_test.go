package analyze

import "testing"

func TestRenamings(t *testing.T) {
	t.Parallel()
	machine, sequence := family{1, true}, family{2, false}
	var r renamings
	for i, c := range []struct {
		family          family
		primary, shadow uint64
		want            word
	}{
		{machine, 10, 20, unheard},
		{machine, 10, 20, confirmed},
		{machine, 11, 21, unheard},
		{machine, 10, 21, contradicted}, // one id of the primary for two of the shadow
		{machine, 12, 20, contradicted}, // and the reverse
		{machine, 10, 20, confirmed},    // what was known stays known
		{machine, 13, 11, contradicted}, // the shadow names another of the primary's
		{sequence, 10, 30, unheard},     // of another family
		{sequence, 11, 10, unheard},     // numbers may meet by chance
		{sequence, 11, 10, confirmed},
	} {
		if got := r.check(c.family, c.primary, c.shadow); got != c.want {
			t.Errorf("%d: %d and %d: got %d, want %d", i, c.primary, c.shadow, got, c.want)
		}
	}
}

func TestRenamingsAreForgottenWhenTheyAreNotUsed(t *testing.T) {
	t.Parallel()
	var r renamings
	f := family{1, true}
	r.check(f, 1, 2)
	r.check(f, 3, 4)
	for i := range uint64(100_000) {
		r.check(f, 1000+2*i, 1001+2*i)
		if i%1000 == 0 && r.check(f, 1, 2) != confirmed {
			t.Fatalf("what is used was forgotten after %d", i)
		}
	}
	if got := r.check(f, 3, 4); got != unheard {
		t.Errorf("what was not used: %d", got)
	}
	if n := len(r.young) + len(r.old); n > 2*generation+4 {
		t.Errorf("%d entries", n)
	}
}
