package cli

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPrintable(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                  "",
		"für 日本 ×":          "für 日本 ×",
		"a\nb\r\tc":         `a\nb\r\tc`,
		"\x1b[31m":          `\x1b[31m`,
		"\x00\x7f":          `\x00\x7f`,
		"a\u202eb":          `a\u202eb`,
		"\u009b2J":          `\u009b2J`,
		"\u00a0":            `\u00a0`,
		"\u200b\ufeff":      `\u200b\ufeff`,
		"\xff\xc3":          `\xff\xc3`,
		"\U000e0001":        `\U000e0001`,
		"\ufffd":            `\ufffd`,
		`a\nb "c"`:          `a\nb "c"`,
		"e\u0301 combining": "e\u0301 combining",
	} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) = %q, want %q", in, got, want)
		}
	}
}

// withinWord finds underscores, and what is around them.
var withinWord = regexp.MustCompile(`[0-9A-Za-z](_[0-9A-Za-z])+`)

func FuzzPrintable(f *testing.F) {
	for _, seed := range []string{"a", hostile, "\xff\u202e", "日本"} {
		f.Add(seed, 3)
	}
	f.Fuzz(func(t *testing.T, text string, most int) {
		got := printable(text)
		if strings.ContainsFunc(got, hidden) {
			t.Errorf("%q hides something", got)
		}
		if printable(got) != got {
			t.Errorf("%q is not fit for a terminal", got)
		}
		most = 1 + int(uint(most)%200)
		if n := textWidth(cut(got, most)); n > most {
			t.Errorf("cut to %d columns it has %d", most, n)
		}
		escaped := markdown(text)
		// An underscore within a word is none.
		if strings.ContainsAny(withinWord.ReplaceAllString(escaped, ""), "<>`*_[]|\\@~!$\n") {
			t.Errorf("%q may be markup", escaped)
		}
	})
}

func TestTextWidth(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"": 0, "abc": 3, "für": 3, "日本": 4, "e\u0301": 1, "한": 2, "😀": 2, "ｗ": 2, "×…": 2} {
		if got := textWidth(text); got != want {
			t.Errorf("%q has %d columns, want %d", text, got, want)
		}
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text string
		most int
		want string
	}{
		{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"日本語", 6, "日本語"}, {"日本語", 5, "日本…"}, {"日本語", 4, "日…"}, {"ab", 1, "…"},
	} {
		if got := cut(c.text, c.most); got != c.want {
			t.Errorf("cut(%q, %d) = %q, want %q", c.text, c.most, got, c.want)
		}
	}
}

func TestWrap(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"":                        {""},
		"one two three":           {"one two", "three"},
		"one  two\nthree":         {"one two", "three"},
		"incomprehensibility one": {"incomprehensibility", "one"},
		"日本 日本 x":                 {"日本", "日本 x"},
		"of 0.1 %. % x":           {"of", "0.1 %. %", "x"},
		"%":                       {"%"},
	} {
		if diff := cmp.Diff(want, wrap(text, 8)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}

func TestMarkdownIsNoMarkup(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"GET /api/{id}, 0.1 % (a to b); x=1": "GET /api/{id}, 0.1 % (a to b); x=1",
		"it ends. Next.":                     "it ends. Next.",
		"www.example.com":                    "www&#46;example&#46;com",
		"1. one":                             "1&#46; one",
		"- a":                                "&#45; a",
		"a-b":                                "a-b",
		"@all #1":                            "&#64;&#8203;all &#35;&#8203;1",
		"<b> & `c` *d* _e_ [f](g) ~h~ |i|":   "&#60;b&#62; &#38; &#96;c&#96; &#42;d&#42; &#95;e&#95; &#91;f&#93;(g) &#126;h&#126; &#124;i&#124;",
		"http://x $y$ :z:":                   "http&#58;//x &#36;y&#36; &#58;z:",
		"all: 12 of 194.":                    "all: 12 of 194.",
		"194. all":                           "194&#46; all",
		"state_drift _a b_ :":                "state_drift &#95;a b&#95; :",
		"a\nb":                               "a&#92;nb",
	} {
		if got := markdown(in); got != want {
			t.Errorf("markdown(%q) = %q, want %q", in, got, want)
		}
	}
	if got, want := code("@a|"), "<code>&#64;a&#124;</code>"; got != want {
		t.Errorf("code: %s, want %s", got, want)
	}
}

func TestFencesAreLongerThanAnyWithin(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	fence(&b, "sh", "echo '````'\n\x1b\n")
	if got, want := b.String(), "`````sh\necho '````'\n\\x1b\n`````\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
