package http1

import "testing"

func TestSplitsPorts(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][2]string{
		"a": {"a", ""}, "a:80": {"a", ":80"}, "a:": {"a", ":"}, "a1": {"a1", ""}, "[::1]": {"[::1]", ""}, "[::1]:80": {"[::1]", ":80"},
		"1.2.3.4": {"1.2.3.4", ""}, "1.2.3.4:5": {"1.2.3.4", ":5"}, "123": {"123", ""}, "": {"", ""}, ":80": {"", ":80"},
	} {
		name, port := SplitPort([]byte(in))
		if string(name) != want[0] || string(port) != want[1] {
			t.Errorf("%q: got %q and %q, want %q", in, name, port, want)
		}
	}
}
