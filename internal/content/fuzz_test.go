package content

import (
	"bytes"
	"testing"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// Whatever the bytes of a head: no panic, fields lie within it, and what Fields
// yields first is what Lookup finds.
func FuzzFields(f *testing.F) {
	for _, seed := range []string{"GET / HTTP/1.1\r\nHost: a\r\n", "x\nA: b\n c\n", "x\r\n: b\r\n\r\n", "x\r\n a: b\r\nC", "x\r\nA\r\n : b\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, head []byte) {
		seen := map[string]bool{}
		for name, value := range Fields(head) {
			if len(name) == 0 || !bytes.Contains(head, name) || !bytes.Contains(head, value) {
				t.Fatalf("%q: %q is not within", name, value)
			}
			key := string(bytes.ToLower(name))
			if seen[key] {
				continue
			}
			seen[key] = true
			if found, ok := Lookup(head, string(name)); !ok || !bytes.Equal(found, value) {
				t.Fatalf("Lookup(%q) = %q, %v; Fields has %q", name, found, ok, value)
			}
		}
		for _, name := range []string{"content-type", "content-encoding"} {
			if v, ok := Lookup(head, name); ok != seen[name] {
				t.Fatalf("Lookup(%q) = %q, %v", name, v, ok)
			}
		}
		Parameter(head, "charset")
	})
}

// Whatever the bytes of a body: no panic, and no more than the limit comes of it.
func FuzzRead(f *testing.F) {
	for _, coding := range []string{"gzip", "zlib", "raw", "br", "zstd"} {
		name := map[string]string{"zlib": "deflate", "raw": "deflate"}[coding]
		if name == "" {
			name = coding
		}
		f.Add([]byte("x\r\nContent-Encoding: "+name+"\r\n"), packed(f, coding, []byte(`{"a":"some text to pack"}`)))
	}
	f.Add([]byte("x\r\nContent-Type: application/grpc\r\ngrpc-encoding: gzip\r\n"),
		AppendFrame(nil, Frame{Data: packed(f, "gzip", []byte("abc")), Packed: true, Whole: true}))
	f.Add([]byte("x\r\nContent-Type: text/plain; charset=utf-16\r\n"), []byte("\xff\xfea\x00b"))
	f.Add([]byte("x\r\nContent-Type: multipart/form-data; boundary=b\r\n"), []byte("--b\r\n\r\nx\r\n--b--"))
	f.Fuzz(func(t *testing.T, head, body []byte) {
		const limit = 1 << 12
		kept := bytes.Clone(body)
		m := &traffic.Message{Head: head, Body: body, Length: int64(len(body)), Whole: true}
		b := Read(m, limit)
		if !bytes.Equal(body, kept) {
			t.Fatal("the message was changed")
		}
		// A charset may make three bytes of one, the prefixes of gRPC add five to a message.
		if b.Encoded && len(b.Data) > 4*limit+6*len(body) {
			t.Fatalf("%d bytes", len(b.Data))
		}
		if _ = b.Kind.String(); (b.Kind == Empty) != (len(b.Data) == 0) && b.Kind != Text && b.Kind != JSON && len(b.Data) > 0 {
			t.Fatalf("%s with %d bytes", b.Kind, len(b.Data))
		}
		for fr := range Frames(b.Data) {
			if len(fr.Data) > len(b.Data) {
				t.Fatal("a message larger than all of them")
			}
		}
	})
}
