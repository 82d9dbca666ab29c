package preface

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
)

// helloOf is what crypto/tls says first.
func helloOf(t testing.TB, c *tls.Config) []byte {
	t.Helper()
	client, server := net.Pipe()
	defer server.Close()
	go func() {
		defer client.Close()
		_ = tls.Client(client, c).Handshake() // nobody answers
	}()
	header := make([]byte, 5)
	if _, err := io.ReadFull(server, header); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint16(header[3:]))
	if _, err := io.ReadFull(server, body); err != nil {
		t.Fatal(err)
	}
	return slices.Concat(header, body)
}

// hellos are real ones, and the names in them.
func hellos(t testing.TB) map[string][]byte {
	config := func(name string, more func(*tls.Config)) *tls.Config {
		c := &tls.Config{ServerName: name, InsecureSkipVerify: name == ""}
		if more != nil {
			more(c)
		}
		return c
	}
	return map[string][]byte{
		"shop.example.com": helloOf(t, config("shop.example.com", nil)),
		"x25519.example": helloOf(t, config("X25519.example", func(c *tls.Config) {
			c.CurvePreferences = []tls.CurveID{tls.X25519}
		})),
		"p521.example": helloOf(t, config("p521.example", func(c *tls.Config) {
			c.CurvePreferences = []tls.CurveID{tls.CurveP521, tls.CurveP384}
		})),
		"mlkem.example": helloOf(t, config("mlkem.example", func(c *tls.Config) {
			c.CurvePreferences = []tls.CurveID{tls.X25519MLKEM768, tls.X25519}
			c.NextProtos = []string{"h2", "http/1.1"}
		})),
		"old.example":  helloOf(t, config("old.example", func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 })),
		"long.example": helloOf(t, config("long.example", func(c *tls.Config) { c.NextProtos = slices.Repeat([]string{strings.Repeat("p", 250)}, 30) })),
		"":             helloOf(t, config("", nil)),
	}
}

// fragmented spreads the message in one record over records of size bytes.
func fragmented(hello []byte, size int) (out []byte) {
	for part := range slices.Chunk(hello[5:], size) {
		out = append(out, 22, 3, 1, byte(len(part)>>8), byte(len(part)))
		out = append(out, part...)
	}
	return out
}

func TestTheServersNameIsReadHoweverTheHelloArrives(t *testing.T) {
	t.Parallel()
	for want, hello := range hellos(t) {
		for _, size := range []int{1 << 14, 1000, 100, 7, 1} {
			stream := append(fragmented(hello, size), "early data"...)
			whole := len(stream) - len("early data")
			step := max(1, whole/500)
			for n := 0; n <= whole; n += step {
				if name, done, err := ServerName(stream[:n]); n < whole && (done || err != nil) || name != "" && name != want {
					t.Fatalf("%q in records of %d: after %d of %d bytes: %q, %t, %v", want, size, n, whole, name, done, err)
				}
			}
			for _, s := range [][]byte{stream[:whole], stream} {
				if name, done, err := ServerName(s); name != want || !done || err != nil {
					t.Errorf("%q in records of %d: got %q, %t, %v", want, size, name, done, err)
				}
			}
		}
	}
}

// hello is a ClientHello with the given extensions, as one record.
func hello(extensions ...string) []byte {
	body := "\x03\x03" + strings.Repeat("r", 32) + "\x00" + "\x00\x02\x13\x01" + "\x01\x00"
	all := strings.Join(extensions, "")
	body += string(binary.BigEndian.AppendUint16(nil, uint16(len(all)))) + all
	message := append([]byte{1, 0}, binary.BigEndian.AppendUint16(nil, uint16(len(body)))...)
	message = append(message, body...)
	return append(append([]byte{22, 3, 1}, binary.BigEndian.AppendUint16(nil, uint16(len(message)))...), message...)
}

// extension is one extension.
func extension(kind uint16, data string) string {
	b := binary.BigEndian.AppendUint16(nil, kind)
	return string(binary.BigEndian.AppendUint16(b, uint16(len(data)))) + data
}

// names is a list of server names.
func names(list ...string) string {
	all := ""
	for _, name := range list {
		all += "\x00" + string(binary.BigEndian.AppendUint16(nil, uint16(len(name)))) + name
	}
	return string(binary.BigEndian.AppendUint16(nil, uint16(len(all)))) + all
}

func TestOddHellos(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		hello []byte
		want  string
		err   error
	}{
		"GREASE around the name":        {hello(extension(0x0a0a, ""), extension(0, names("a.example")), extension(0xfafa, "\x00")), "a.example", nil},
		"an outer name of ECH":          {hello(extension(0xfe0d, "sealed"), extension(0, names("public.example"))), "public.example", nil},
		"capitals":                      {hello(extension(0, names("A.Example"))), "a.example", nil},
		"no extensions":                 {hello(), "", nil},
		"another kind of name":          {hello(extension(0, "\x00\x05\x01\x00\x02ab")), "", nil},
		"two lists of names":            {hello(extension(0, names("a")), extension(0, names("b"))), "", errHello},
		"two names":                     {hello(extension(0, names("a", "b"))), "", errHello},
		"an empty list":                 {hello(extension(0, names())), "", errHello},
		"an empty name":                 {hello(extension(0, names(""))), "", errHello},
		"a name with a line end":        {hello(extension(0, names("a\nb"))), "", errHello},
		"a name with a zero":            {hello(extension(0, names("a\x00b"))), "", errHello},
		"a name of 256":                 {hello(extension(0, names(strings.Repeat("a", 256)))), "", errHello},
		"a name longer than its list":   {hello(extension(0, "\x00\x04\x00\x00\x09a")), "", errHello},
		"bytes behind the list":         {hello(extension(0, names("a")+"x")), "", errHello},
		"half an extension":             {hello("\x00"), "", errHello},
		"an extension without its data": {hello("\x00\x00\x00\x09a"), "", errHello},
		"HTTP":                          {[]byte("GET / HTTP/1.1\r\n"), "", errNoHello},
		"an alert":                      {[]byte("\x15\x03\x01\x00\x02\x01\x00"), "", errNoHello},
		"SSL 2":                         {[]byte("\x80\x2e\x01\x00\x02"), "", errNoHello},
		"another message":               {[]byte("\x16\x03\x01\x00\x04\x02\x00\x00\x00"), "", errNoHello},
		"an empty record":               {[]byte("\x16\x03\x01\x00\x00"), "", errHello},
		"a long record":                 {[]byte("\x16\x03\x01\x40\x01"), "", errHello},
		"a message of 16 MiB":           {[]byte("\x16\x03\x01\x00\x04\x01\xff\xff\xff"), "", errLongHello},
		"a message that is too short":   {[]byte("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03"), "", errHello},
	}
	for name, test := range tests {
		got, done, err := ServerName(test.hello)
		if got != test.want || !errors.Is(err, test.err) || done != (test.err == nil) {
			t.Errorf("%s: got %q, %t, %v, want %q, %v", name, got, done, err, test.want, test.err)
		}
	}
}

func TestAHelloIsBounded(t *testing.T) {
	t.Parallel()
	stream := []byte("\x16\x03\x01\x00\x04\x01\x00\xff\xff")
	for len(stream) < MaxHello+100 {
		stream = append(stream, "\x16\x03\x01\x00\x01x"...)
	}
	if _, _, err := ServerName(stream); !errors.Is(err, errLongHello) {
		t.Errorf("got %v, want an error", err)
	}
}

func FuzzServerName(f *testing.F) {
	for _, h := range hellos(f) {
		f.Add(h)
		f.Add(fragmented(h, 100))
	}
	f.Add(hello(extension(0, names("a.example"))))
	f.Fuzz(func(t *testing.T, b []byte) {
		name, done, err := ServerName(b)
		if done && err != nil || name != "" && !done {
			t.Errorf("%q, %t, %v", name, done, err)
		}
		if err == nil && !done && len(b) > MaxHello+2*maxRecord {
			t.Errorf("%d bytes are not enough", len(b))
		}
		if !done {
			return
		}
		if again, done, err := ServerName(append(slices.Clone(b), "more"...)); again != name || !done || err != nil {
			t.Errorf("with more behind it %q is %q, %t, %v", name, again, done, err)
		}
	})
}
