package route

import (
	"testing"

	"github.com/understudy-proxy/understudy/internal/config"
)

func TestCanonicalPath(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ path, want string }{
		{"/", "/"},
		{"/api/v1", "/api/v1"},
		{"", ""},
		{"*", "*"},
		{"/api/", "/api/"},
		{"/a//b", "/a//b"},
		{"/%61pi", "/api"},
		{"/%7euser", "/~user"},
		{"/%2D%2e%5F%7E", "/-._~"},
		{"/a%2fb", "/a%2Fb"},
		{"/a%2Fb", "/a%2Fb"},
		{"/a%20b", "/a%20b"},
		{"/caf%c3%a9", "/caf%C3%A9"},
		{"/café", "/caf%C3%A9"},
		{"/a b", "/a%20b"},
		{"/a\x00b", "/a%00b"},
		{"/%", "/%25"},
		{"/%4", "/%254"},
		{"/%zz", "/%25zz"},
		{"/%A%66", "/%25Af"}, // must not come to look like %AF
		{"/%25zz", "/%25zz"},
		{"/%2561", "/%2561"},
		{"/.", "/"},
		{"/..", "/"},
		{"/./a", "/a"},
		{"/a/.", "/a/"},
		{"/a/..", "/"},
		{"/a/../b", "/b"},
		{"/a/b/..", "/a/"},
		{"/a/b/../..", "/"},
		{"/../../a", "/a"},
		{"/a/./b/../c", "/a/c"},
		{"/a//../b", "/a/b"},
		{"//../a", "/a"},
		{"/x/%2e%2e/admin", "/admin"},
		{"/x/.%2E/admin", "/admin"},
		{"/.well-known/acme", "/.well-known/acme"},
		{"/...", "/..."},
		{"/..a/.b", "/..a/.b"},
		{"a/../b", "a/../b"},
	} {
		var scratch []byte
		if got := string(canonical(&scratch, []byte(c.path))); got != c.want {
			t.Errorf("canonical(%q) = %q, want %q", c.path, got, c.want)
		}
	}
}

func TestCanonicalPathOfCanonicalPathIsItself(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/", "/a/b/", "/-._~", "/a%2Fb", "/%25zz", "/caf%C3%A9", "/a//b", "/...", "*", ""} {
		if got := string(appendCanonical(nil, []byte(path))); got != path {
			t.Errorf("appendCanonical(%q) = %q", path, got)
		}
	}
}

func TestRewritten(t *testing.T) {
	t.Parallel()
	full := func(s string) *config.PathModifier { return &config.PathModifier{ReplaceFullPath: &s} }
	part := func(s string) *config.PathModifier { return &config.PathModifier{ReplacePrefixMatch: &s} }
	for _, c := range []struct {
		name         string
		m            *config.PathModifier
		prefix, path string
		want         string
	}{
		// The table of the Gateway API's HTTPPathModifier.
		{"element", part("/xyz"), "/foo", "/foo/bar", "/xyz/bar"},
		{"slash after the replacement", part("/xyz/"), "/foo", "/foo/bar", "/xyz/bar"},
		{"slash after the prefix", part("/xyz"), "/foo/", "/foo/bar", "/xyz/bar"},
		{"slash after both", part("/xyz/"), "/foo/", "/foo/bar", "/xyz/bar"},
		{"whole path", part("/xyz"), "/foo", "/foo", "/xyz"},
		{"keeps the slash at the end", part("/xyz"), "/foo", "/foo/", "/xyz/"},
		{"empty replacement", part(""), "/foo", "/foo/bar", "/bar"},
		{"empty replacement, slash at the end", part(""), "/foo", "/foo/", "/"},
		{"empty replacement, whole path", part(""), "/foo", "/foo", "/"},
		{"root replacement, slash at the end", part("/"), "/foo", "/foo/", "/"},
		{"root replacement, whole path", part("/"), "/foo", "/foo", "/"},
		// And around it.
		{"root replacement", part("/"), "/foo", "/foo/bar", "/bar"},
		{"root prefix", part("/xyz"), "/", "/foo", "/xyz/foo"},
		{"root prefix, root path", part("/xyz"), "/", "/", "/xyz/"},
		{"longer than the prefix", part("/much/longer"), "/a", "/a/b/c", "/much/longer/b/c"},
		{"same length", part("/xyz"), "/foo", "/foo/bar/baz", "/xyz/bar/baz"},
		{"keeps empty elements", part("/x"), "/foo", "/foo//bar", "/x//bar"},
		{"other spelling of the prefix", part("/x"), "/foo", "/%66oo/a%2fb", "/x/a%2Fb"},
		{"dot segments before the prefix", part("/x"), "/foo", "/y/../foo/bar", "/x/bar"},
		{"without the prefix", part("/x"), "/foo", "/%66oobar", "/%66oobar"},
		{"full path", full("/new"), "/foo", "/foo/bar", "/new"},
		{"full path without a prefix", full("/new"), "", "/foo/bar", "/new"},
		{"no modifier", nil, "/foo", "/foo/%62ar", "/foo/%62ar"},
		{"neither field", &config.PathModifier{}, "/foo", "/foo/%62ar", "/foo/%62ar"},
		{"not a path", part("/x"), "/", "*", "*"},
		{"not a path, full", full("/x"), "/", "*", "*"},
		{"empty", part("/x"), "/", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := string(Rewritten([]byte("GET "), c.m, c.prefix, []byte(c.path))); got != "GET "+c.want {
				t.Errorf("Rewritten(%q) = %q, want %q", c.path, got, "GET "+c.want)
			}
		})
	}
}

func TestFixedFolder(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ pattern, want string }{
		{"/api/v[0-9]+/.*", "/api/"},
		{"^/api/v[0-9]+$", "/api/"},
		{"/api", "/"},
		{"/api/", "/api/"},
		{"/api/a|/api/b", "/api/"},
		{"/a/b|/x", "/"},
		{"/a/b?", "/a/"},
		{"/a/?", "/"},
		{"(?i)/api/.*", ""},
		{"(/api)?/x", ""},
		{".*\\.png", ""},
		{"", ""},
		{"api/.*", ""},
		{"(", ""},
		{"//x/y", "//x/"},
	} {
		if got := fixedFolder(c.pattern); got != c.want {
			t.Errorf("fixedFolder(%q) = %q, want %q", c.pattern, got, c.want)
		}
	}
}
