package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/analyze"
)

func TestAlign(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		primary, shadow string // a line for each letter or word
		want            string // marks
	}{
		"equal":              {"a b c", "a b c", "   "},
		"nothing":            {"", "", " "},
		"one changed":        {"a x c", "a y c", " | "},
		"one more":           {"a c", "a b c", " > "},
		"one less":           {"a b c", "a c", " < "},
		"same name":          {"{ k: 1, l: 2 }", "{ l: 3 m: 4 }", " <|> "},
		"moved":              {"k: 1, l: 2, m: 3", "l: 2, m: 3 k: 1", "<  >"},
		"nothing at primary": {"", "a", "|"},
	}
	words := func(s string) []string {
		return strings.Split(strings.ReplaceAll(s, ": ", ":"), " ")
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lines := func(s string) []string {
				list := words(s)
				for i := range list {
					list[i] = strings.Replace(list[i], ":", ": ", 1)
				}
				return list
			}
			got := ""
			for _, a := range align(lines(tt.primary), lines(tt.shadow)) {
				got += string(a.mark)
			}
			if got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// What only one side has is shown from its beginning to its end, where that can be
// chosen.
func TestAlignedMembersAreWhole(t *testing.T) {
	t.Parallel()
	item := func(id string) string { return "  {\n    id: " + id + "\n    n: x\n  },\n" }
	for name, tt := range map[string]struct{ primary, shadow, want string }{
		"one less":         {"[\n" + item("1") + item("2") + item("3") + "]", "[\n" + item("1") + item("3") + "]", "     <<<<     "},
		"one more, first":  {"[\n" + item("2") + "]", "[\n" + item("1") + item("2") + "]", " >>>>     "},
		"one more, last":   {"[\n" + item("1") + "]", "[\n" + item("1") + item("2") + "]", "     >>>> "},
		"the same, twice":  {"[\n" + item("1") + item("1") + item("1") + "]", "[\n" + item("1") + "]", "     <<<<<<<< "},
		"a line, repeated": {"a\nb\nb\nc", "a\nb\nc", "  < "},
	} {
		got := ""
		for _, a := range align(strings.Split(tt.primary, "\n"), strings.Split(tt.shadow, "\n")) {
			got += string(a.mark)
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// Every line of both sides is there once, in its order, whatever the lines are.
func FuzzAlign(f *testing.F) {
	f.Add("a\nb\nc", "a\nx: 1\nc")
	f.Add("", "\n\n")
	f.Fuzz(func(t *testing.T, primary, shadow string) {
		a, b := strings.Split(primary, "\n"), strings.Split(shadow, "\n")
		var left, right []string
		for _, row := range align(a, b) {
			if row.mark != '>' {
				left = append(left, row.primary)
			}
			if row.mark != '<' {
				right = append(right, row.shadow)
			}
			if (row.mark == ' ') != (row.primary == row.shadow) && row.mark != '<' && row.mark != '>' {
				t.Errorf("%+v", row)
			}
		}
		if diff := cmp.Diff(a, left); diff != "" {
			t.Errorf("primary (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(b, right); diff != "" {
			t.Errorf("shadow (-want +got):\n%s", diff)
		}
	})
}

func TestAnswersThatAreTooLongAreAlignedByNumber(t *testing.T) {
	t.Parallel()
	long := make([]string, 3000)
	for i := range long {
		long[i] = "a" + strings.Repeat("b", i%7)
	}
	list := alignMiddle(long, append([]string{"x"}, long...))
	if len(list) != 3001 || list[3000].mark != '>' || list[0].mark != '|' {
		t.Errorf("%d rows, %c, %c", len(list), list[0].mark, list[3000].mark)
	}
}

func TestBodiesAsPeopleReadThem(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		body, other analyze.Message
		want        string
	}{
		"none":                {analyze.Message{}, analyze.Message{}, ""},
		"text":                {analyze.Message{Body: "a\nb\n"}, analyze.Message{}, "a\nb"},
		"JSON":                {analyze.Message{Body: `{"b":[1,{}],"a":[],"n":1.0e5,"s":"<é"}`}, analyze.Message{}, "{\n  \"b\": [\n    1,\n    {}\n  ],\n  \"a\": [],\n  \"n\": 1.0e5,\n  \"s\": \"<é\"\n}"},
		"order of other":      {analyze.Message{Body: `{"b":1,"x":[{"d":1,"c":2}],"a":2}`}, analyze.Message{Body: `{"a":0,"x":[{"c":0}],"gone":1,"b":0}`}, "{\n  \"a\": 2,\n  \"x\": [\n    {\n      \"c\": 2,\n      \"d\": 1\n    }\n  ],\n  \"b\": 1\n}"},
		"a key twice":         {analyze.Message{Body: `{"a":1,"a":2}`}, analyze.Message{Body: `{"b":0,"a":0}`}, "{\n  \"a\": 1,\n  \"a\": 2\n}"},
		"other is a list":     {analyze.Message{Body: `{"b":1,"a":2}`}, analyze.Message{Body: `[1]`}, "{\n  \"b\": 1,\n  \"a\": 2\n}"},
		"a scalar":            {analyze.Message{Body: `7`}, analyze.Message{}, "7"},
		"broken JSON":         {analyze.Message{Body: `{"a":`}, analyze.Message{}, `{"a":`},
		"cut":                 {analyze.Message{Body: `{"a":1}`, Cut: true, Length: 9000}, analyze.Message{}, "{\"a\":1}\n… cut off; the whole body has 9000 bytes"},
		"bytes":               {analyze.Message{Body: "AAEC/w==", Base64: true}, analyze.Message{}, "00000000  00 01 02 ff              ...."},
		"many bytes":          {analyze.Message{Body: "MDEyMzQ1Njc4OX9+ZW5k", Base64: true}, analyze.Message{}, "00000000  30 31 32 33 34 35 36 37  01234567\n00000008  38 39 7f 7e 65 6e 64     89.~end"},
		"bytes that are none": {analyze.Message{Body: "?", Base64: true}, analyze.Message{}, "00000000  3f                       ?"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := strings.Join(bodyLines(&tt.body, &tt.other), "\n"); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// A member is the same line on both sides, whether or not it is the last.
func TestLastMembersAreAlikeOnBothSides(t *testing.T) {
	t.Parallel()
	primary, shadow := analyze.Message{Body: `{"a":{"b":[1,"x{"]}}`}, analyze.Message{Body: `{"a":{"b":[1,"x{",[]],"c":{}}}`}
	want := []string{"", " {", "   \"a\": {", "     \"b\": [", "       1,", "       \"x{\",", ">      [],", "     ],", ">    \"c\": {},", "   },", " }"}
	var got []string
	for _, row := range align(answerLines(&primary, nil), answerLines(&shadow, &primary))[1:] {
		got = append(got, strings.TrimRight(string(row.mark)+row.shadow, " "))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMuchBinaryIsNotShown(t *testing.T) {
	t.Parallel()
	m := analyze.Message{Body: strings.Repeat("AAAA", 100), Base64: true}
	lines := bodyLines(&m, nil)
	if len(lines) != 33 || lines[32] != "… 44 bytes more" {
		t.Errorf("%d lines, the last is %q", len(lines), lines[len(lines)-1])
	}
}

func TestAnswersThatNeverCame(t *testing.T) {
	t.Parallel()
	m := &analyze.Message{Failure: "no answer in time\x1b"}
	if got := outcomeText(m); got != `no answer in time\x1b` {
		t.Errorf("outcome %q", got)
	}
	if diff := cmp.Diff([]string{"no answer in time\x1b"}, answerLines(m, nil)); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

// Long lines are cut so that where they differ can be seen.
func TestWindows(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 50)
	for _, c := range []struct{ left, right, wantLeft, wantRight string }{
		{"a", "b", "a", "b"},
		{long, long, long, long},
		{"a" + long, "b" + long, "a" + long, "b" + long},
		{long + "1", long + "2", "…" + strings.Repeat("x", 9) + "1", "…" + strings.Repeat("x", 9) + "2"},
		{long + "1", "", long + "1", ""},
		{long, long[:25], "…" + long[19:], "…" + long[19:25]},
	} {
		left, right := windows(c.left, c.right, 20)
		if left != c.wantLeft || right != c.wantRight {
			t.Errorf("windows(%q, %q) = %q, %q, want %q, %q", c.left, c.right, left, right, c.wantLeft, c.wantRight)
		}
	}
}
