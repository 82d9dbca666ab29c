package http1

import "testing"

func TestForwardsASimpleRequest(t *testing.T) {
	t.Parallel()
	var r Request
	in := []byte("POST /a?b=c HTTP/1.1\r\nHost: x\r\nConnection: x-foo, close\r\nX-Foo: 1\r\nX-Bar:  2\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T:1\r\n\r\n")
	n, err := r.Parse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := string(AppendRequest(nil, &r, nil, nil))
	want := "POST /a?b=c HTTP/1.1\r\nHost: x\r\nX-Bar:  2\r\nTransfer-Encoding: chunked\r\n\r\n"
	if got != want {
		t.Errorf("got %q want %q", got, want)
	}
	b := r.Body()
	var data []byte
	for in = in[n:]; !b.Done(); {
		d, n, err := b.Decode(in)
		if err != nil {
			t.Fatal(err)
		}
		data, in = append(data, d...), in[n:]
	}
	if string(data) != "abc" || string(b.Trailer()) != "X-T: 1\r\n" || len(in) != 0 {
		t.Errorf("body %q, trailer %q, left %q", data, b.Trailer(), in)
	}
}
