package websocket

import "testing"

// The example of RFC 6455 §1.3.
func TestAServerProvesThatItReadTheKey(t *testing.T) {
	t.Parallel()
	const key, accept = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
	for _, test := range []struct {
		key, accept string
		want        bool
	}{
		{key, accept, true},
		{key, "", false},
		{key, "s3pplmbitxaq9kygzzhzrbk+xoo=", false},
		{key, key, false},
		{"AAAAAAAAAAAAAAAAAAAAAA==", accept, false},
	} {
		if got := Accepts([]byte(test.key), []byte(test.accept)); got != test.want {
			t.Errorf("%q to %q: %v, want %v", test.accept, test.key, got, test.want)
		}
	}
}

func TestValidKeys(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]bool{
		"dGhlIHNhbXBsZSBub25jZQ==":     true,
		"AAAAAAAAAAAAAAAAAAAAAA==":     true,
		"":                             false,
		"dGhlIHNhbXBsZSBub25jZQ=":      false,
		"dGhlIHNhbXBsZSBub25jZQAA":     false, // 18 bytes
		"dGhlIHNhbXBsZSBub25jZ===":     false,
		"dGhl IHNhbXBsZSBub25jZQ==":    false,
		"dGhlIHNhbXBsZSBub25jZQ==AAAA": false,
	} {
		if got := ValidKey([]byte(key)); got != want {
			t.Errorf("%q: %v, want %v", key, got, want)
		}
	}
}

func TestAShadowMustUnderstandWhatTheClientWasTold(t *testing.T) {
	t.Parallel()
	const deflate = "permessage-deflate"
	for _, test := range []struct {
		shadow, primary string
		want            bool
	}{
		{"", "", true},
		{deflate, deflate, true},
		{"", deflate, false},
		{deflate, "", false},
		{"Permessage-Deflate", deflate, true},
		{deflate, "permessage-deflate; server_no_context_takeover; server_max_window_bits=10", true},
		{"permessage-deflate;server_no_context_takeover", deflate, true},
		{deflate, "permessage-deflate; client_no_context_takeover", true},
		{"permessage-deflate; client_no_context_takeover", deflate, false},
		{"permessage-deflate; client_no_context_takeover", "permessage-deflate ; client_no_context_takeover", true},
		{"permessage-deflate; client_max_window_bits=12", "permessage-deflate; client_max_window_bits=10", true},
		{"permessage-deflate; client_max_window_bits=10", "permessage-deflate; client_max_window_bits=\"12\"", false},
		{"permessage-deflate; client_max_window_bits=10", deflate, false},
		{deflate, "permessage-deflate; client_max_window_bits=9", true},
		{"x-odd; a=1; b", "X-Odd;a=1;B", true},
		{"x-odd; a=1", "x-odd; a=2", false},
		{"x-odd; a=1", "x-odd", false},
		{"x-odd", "x-odd; a=1", false},
		{"x-odd, permessage-deflate", "x-odd,,permessage-deflate,", true},
		{"permessage-deflate, x-odd", "x-odd, permessage-deflate", false}, // they are applied in order
	} {
		if got := Understands([]byte(test.shadow), []byte(test.primary)); got != test.want {
			t.Errorf("%q told %q: %v, want %v", test.shadow, test.primary, got, test.want)
		}
	}
}

// No list makes the comparison loop for ever, and every list understands itself.
func FuzzUnderstands(f *testing.F) {
	f.Add([]byte("permessage-deflate; client_max_window_bits=12, x;a=b"), []byte(",;=,"))
	f.Add([]byte("permessage-deflate"), []byte("permessage-deflate; client_no_context_takeover"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		Understands(a, b)
		if !Understands(a, a) {
			t.Errorf("%q does not understand itself", a)
		}
	})
}
