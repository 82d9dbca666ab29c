package content

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// message is a whole answer with these field lines.
func message(fields string, body []byte) *traffic.Message {
	return &traffic.Message{Head: []byte("HTTP/1.1 200 OK\r\n" + fields), Body: body, Length: int64(len(body)), Whole: true}
}

// packed encodes text as the coding says.
func packed(t testing.TB, coding string, text []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var err error
	switch coding {
	case "gzip":
		w := gzip.NewWriter(&b)
		_, err = w.Write(text)
		err = errors.Join(err, w.Close())
	case "zlib":
		w := zlib.NewWriter(&b)
		_, err = w.Write(text)
		err = errors.Join(err, w.Close())
	case "raw":
		var w *flate.Writer
		w, _ = flate.NewWriter(&b, flate.DefaultCompression)
		_, err = w.Write(text)
		err = errors.Join(err, w.Close())
	case "br":
		w := brotli.NewWriter(&b)
		_, err = w.Write(text)
		err = errors.Join(err, w.Close())
	case "zstd":
		var w *zstd.Encoder
		w, _ = zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1))
		_, err = w.Write(text)
		err = errors.Join(err, w.Close())
	default:
		t.Fatalf("no coding %q", coding)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const big = 1 << 20

func TestEncodingsAreUndone(t *testing.T) {
	t.Parallel()
	text := []byte(`{"a":"` + strings.Repeat("understudy ", 50) + `"}`)
	tests := map[string]struct {
		field string
		chain []string // in the order in which they were applied
	}{
		"gzip":            {"gzip", []string{"gzip"}},
		"x-gzip":          {"X-GZIP", []string{"gzip"}},
		"deflate":         {"deflate", []string{"zlib"}},
		"deflate, bare":   {"deflate", []string{"raw"}},
		"br":              {"br", []string{"br"}},
		"zstd":            {"zstd", []string{"zstd"}},
		"two":             {"gzip, br", []string{"gzip", "br"}},
		"two lines":       {"deflate\r\nContent-Encoding: zstd", []string{"zlib", "zstd"}},
		"identity beside": {"identity, gzip,", []string{"gzip"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := text
			for _, coding := range tt.chain {
				body = packed(t, coding, body)
			}
			m := message("Content-Type: application/json\r\nContent-Encoding: "+tt.field+"\r\n", body)
			for range 3 { // the second time with the decoder of the first
				b := Read(m, big)
				if !bytes.Equal(b.Data, text) || b.Kind != JSON || b.Cut || b.Err != nil || !b.Encoded {
					t.Fatalf("got %s, cut %v, encoded %v, %v: %.60q", b.Kind, b.Cut, b.Encoded, b.Err, b.Data)
				}
			}
		})
	}
}

func TestBombsEndAtTheLimit(t *testing.T) {
	t.Parallel()
	zeros := make([]byte, 8<<20)
	for _, coding := range []string{"gzip", "zlib", "raw", "br", "zstd"} {
		t.Run(coding, func(t *testing.T) {
			t.Parallel()
			name := strings.NewReplacer("zlib", "deflate", "raw", "deflate").Replace(coding)
			b := Read(message("Content-Encoding: "+name+"\r\n", packed(t, coding, zeros)), 1000)
			if len(b.Data) != 1000 || !b.Cut || b.Err != nil {
				t.Errorf("%d bytes, cut %v, %v", len(b.Data), b.Cut, b.Err)
			}
			if b = Read(message("Content-Encoding: "+name+"\r\n", packed(t, coding, zeros[:1000])), 1000); len(b.Data) != 1000 || b.Cut || b.Err != nil {
				t.Errorf("exactly the limit: %d bytes, cut %v, %v", len(b.Data), b.Cut, b.Err)
			}
			twice := message("Content-Encoding: "+name+", gzip\r\n", packed(t, "gzip", packed(t, coding, zeros)))
			if b = Read(twice, 100_000); len(b.Data) != 100_000 || !b.Cut || b.Err != nil {
				t.Errorf("within gzip: %d bytes, cut %v, %v", len(b.Data), b.Cut, b.Err)
			}
		})
	}
}

// What was kept of an encoded body is read as far as it goes. The text is drawn
// by chance, always the same, so that it does not shrink to nothing.
func TestCutBodiesAreReadAsFarAsTheyGo(t *testing.T) {
	t.Parallel()
	var text []byte
	draw := rand.New(rand.NewPCG(1, 2))
	for range 80_000 {
		text = append(text, byte('a'+draw.IntN(26)))
	}
	for _, coding := range []string{"gzip", "zlib", "raw", "br"} {
		t.Run(coding, func(t *testing.T) {
			t.Parallel()
			name := strings.NewReplacer("zlib", "deflate", "raw", "deflate").Replace(coding)
			whole := packed(t, coding, text)
			m := message("Content-Type: text/css\r\nContent-Encoding: "+name+"\r\n", whole[:len(whole)*3/4])
			m.Length = int64(len(whole))
			b := Read(m, big)
			if len(b.Data) < len(text)/4 || !bytes.HasPrefix(text, b.Data) || !b.Cut || b.Err != nil {
				t.Errorf("%d of %d bytes, cut %v, %v", len(b.Data), len(text), b.Cut, b.Err)
			}
			m.Length = int64(len(m.Body))
			if b = Read(m, big); b.Err == nil || !b.Cut {
				t.Errorf("a body that ends too early by itself: cut %v, %v", b.Cut, b.Err)
			}
		})
	}
}

func TestEncodingsThatCannotBeUndone(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		field string
		body  string
		want  string // the error
	}{
		"unknown":      {"compress", `{"a":1,"b":"as long as a head"}`, `content-encoding "compress": unknown`},
		"not at all":   {"gzip", `{"a":1,"b":"as long as a head"}`, `content-encoding "gzip": gzip: invalid header`},
		"too many":     {"gzip, gzip, gzip, gzip, gzip, gzip", `{"a":1,"b":"as long as a head"}`, "content-encoding: too many"},
		"known inside": {"gzip, compress", `{"a":1,"b":"as long as a head"}`, `content-encoding "compress": unknown`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := Read(message("Content-Type: application/json\r\nContent-Encoding: "+tt.field+"\r\n", []byte(tt.body)), big)
			if b.Err == nil || b.Err.Error() != tt.want || string(b.Data) != tt.body || b.Kind != JSON {
				t.Errorf("%s %q, %v", b.Kind, b.Data, b.Err)
			}
		})
	}
}

func TestKinds(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		declared string
		body     string
		want     Kind
	}{
		"json":                       {"application/json; charset=utf-8", `{}`, JSON},
		"json in capitals":           {"Application/JSON", `{}`, JSON},
		"a suffix":                   {"application/problem+json", `{}`, JSON},
		"declared, whatever it is":   {"application/json", "a=b", JSON},
		"lines":                      {"application/x-ndjson", "{}\n{}\n", NDJSON},
		"events":                     {"text/event-stream", "data: 1\n\n", SSE},
		"form":                       {"application/x-www-form-urlencoded", "a=b", Form},
		"multipart":                  {"multipart/form-data; boundary=x", "--x--", Multipart},
		"multipart without boundary": {"multipart/form-data", "--x--", Text},
		"xml":                        {"image/svg+xml", "<a/>", XML},
		"html":                       {"text/html", "x", HTML},
		"protobuf":                   {"application/x-protobuf", "\x08\x01", Protobuf},
		"a protobuf suffix":          {"application/vnd.a+proto", "\x08\x01", Protobuf},
		"grpc":                       {"application/grpc", "\x00\x00\x00\x00\x00", GRPC},
		"grpc of json":               {"application/grpc+json", "\x00\x00\x00\x00\x00", GRPC},
		"grpc-web as no text":        {"application/grpc-web-text", "A-A", Text},
		"grpc-web":                   {"application/grpc-web+proto", "\x00\x00\x00\x00\x00", GRPC},
		"css":                        {"text/css", "{}", Text},
		"a picture":                  {"image/png", `{"a":1}`, Opaque},
		"plain text that is json":    {"text/plain", ` {"a": 1}`, JSON},
		"octets that are json":       {"application/octet-stream", "[1]", JSON},
		"nothing said: json":         {"", `{"a":1}`, JSON},
		"nothing said: json, long":   {"", `{"a":"` + strings.Repeat("x", 2000) + `"}`, JSON},
		"nothing said: lines":        {"", "{\"a\":1}\n{\"a\":2}\n", NDJSON},
		"nothing said: pretty json":  {"", "{\n\"a\":1}\n", JSON},
		"nothing said: array":        {"", "[\n1\n]", JSON},
		"nothing said: a bracket":    {"", "{x}", Text},
		"nothing said: a note":       {"", "[note] hello", Text},
		"nothing said: html":         {"", "\n<!DOCTYPE html><p>", HTML},
		"nothing said: xml":          {"", "<?xml version='1.0'?><a/>", XML},
		"nothing said: less":         {"", "< 3", Text},
		"nothing said: events":       {"", "event: a\ndata: b\n\n", SSE},
		"nothing said: form":         {"", "user%5Bname%5D=a&b=c+d", Form},
		"text is no form":            {"text/plain", "a=b", Text},
		"nothing said: text":         {"", "a = b", Text},
		"nothing said: octets":       {"", "\x89PNG\r\n", Opaque},
		"nothing said: not UTF-8":    {"", "gr\xfc\xdfe", Opaque},
		"nothing said: umlauts":      {"", "grüße", Text},
		"a rune cut by the window":   {"", strings.Repeat("x", 1023) + "ü", Text},
		"octets that look like BOM":  {"application/octet-stream", "\xff\xfe\x01\x00\x02\x00", Opaque},
		"blanks":                     {"", " \n", Text},
		"no body":                    {"application/json", "", Empty},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := Read(message("Content-Type: "+tt.declared+"\r\n", []byte(tt.body)), big)
			if b.Kind != tt.want || string(b.Data) != tt.body {
				t.Errorf("got %s %q, want %s", b.Kind, b.Data, tt.want)
			}
		})
	}
}

func TestCharsets(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ declared, body, want, charset string }{
		"latin1":              {"text/plain; charset=ISO-8859-1", "gr\xfc\xdfe", "grüße", "iso-8859-1"},
		"windows-1252":        {"text/html; charset=windows-1252", "\x80 5", "€ 5", "windows-1252"},
		"utf-16 with a mark":  {"application/json; charset=utf-16", "\xff\xfe[\x001\x00]\x00", "[1]", "utf-16"},
		"utf-16le":            {"application/json; charset=UTF-16LE", "[\x001\x00]\x00", "[1]", "utf-16le"},
		"a mark alone":        {"application/json", "\xfe\xff\x00[\x001\x00]", "[1]", "utf-16"},
		"utf-8 with a mark":   {"application/json", "\xef\xbb\xbf[1]", "[1]", "utf-8"},
		"utf-8":               {"text/plain; charset=\"UTF-8\"", "ü", "ü", "utf-8"},
		"not one we know":     {"text/plain; charset=Shift_JIS", "\x83\x41", "\x83\x41", "shift_jis"},
		"declared, but bytes": {"image/png; charset=iso-8859-1", "\xfc", "\xfc", "iso-8859-1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := Read(message("Content-Type: "+tt.declared+"\r\n", []byte(tt.body)), big)
			if string(b.Data) != tt.want || b.Charset != tt.charset {
				t.Errorf("got %q in %q", b.Data, b.Charset)
			}
		})
	}
}

func TestEncodeReversesTheCharset(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ declared, body string }{
		{"text/plain; charset=iso-8859-1", "gr\xfc\xdfe"},
		{"application/json; charset=utf-16le", "[\x001\x00]\x00"},
		{"application/json; charset=utf-16", "\xfe\xff\x00[\x001\x00]"},
		{"application/json", "[1]"},
	} {
		b := Read(message("Content-Type: "+tt.declared+"\r\n", []byte(tt.body)), big)
		if got := b.Encode(b.Data); string(got) != tt.body {
			t.Errorf("%s: got %q, want %q", tt.declared, got, tt.body)
		}
	}
	b := Read(message("Content-Type: text/plain; charset=iso-8859-1\r\n", []byte("x")), big)
	if got := b.Encode([]byte("日")); string(got) != "\x1a" {
		t.Errorf("what the charset has not: %q", got)
	}
}

func TestMessagesThatWereNotKeptWhole(t *testing.T) {
	t.Parallel()
	if b := Read(nil, big); b.Kind != Empty || b.Cut {
		t.Errorf("no message: %+v", b)
	}
	m := message("", []byte("abc"))
	m.Whole = false
	if b := Read(m, big); !b.Cut || string(b.Data) != "abc" {
		t.Errorf("broken off: %+v", b)
	}
	m.Whole, m.Length = true, 4
	if b := Read(m, big); !b.Cut {
		t.Errorf("longer than what was kept: %+v", b)
	}
	if b := Read(message("Content-Encoding: gzip\r\n", nil), big); b.Kind != Empty || b.Err != nil || b.Cut {
		t.Errorf("an answer to HEAD: %+v", b)
	}
}

// framesOf lists messages as text with their marks.
func framesOf(data []byte) []string {
	var got []string
	for f := range Frames(data) {
		text := string(f.Data)
		for mark, is := range map[string]bool{" packed": f.Packed, " trailer": f.Trailer, " cut": !f.Whole} {
			if is {
				text += mark
			}
		}
		got = append(got, text)
	}
	return got
}

func TestFrames(t *testing.T) {
	t.Parallel()
	zipped := string(packed(t, "gzip", []byte("second")))
	frame := func(flag byte, data string) string {
		return string([]byte{flag, 0, 0, 0, byte(len(data))}) + data
	}
	tests := map[string]struct {
		fields, body string
		want         []string
		err          string
	}{
		"plain":             {"", frame(0, "one") + frame(0, "") + frame(0, "two"), []string{"one", "", "two"}, ""},
		"packed":            {"grpc-encoding: gzip\r\n", frame(0, "one") + frame(1, zipped), []string{"one", "second"}, ""},
		"packed, cut":       {"grpc-encoding: gzip\r\n", frame(1, zipped)[:30], []string{"second cut"}, ""},
		"packed, unknown":   {"grpc-encoding: snappy\r\n", frame(1, "abc"), []string{"abc packed"}, `grpc-encoding "snappy": unknown`},
		"trailers of a web": {"", frame(0, "one") + frame(0x80, "grpc-status: 0\r\n"), []string{"one", "grpc-status: 0\r\n trailer"}, ""},
		"a cut message":     {"", frame(0, "one") + "\x00\x00\x00\x00\x09abc", []string{"one", "abc cut"}, ""},
		"a cut prefix":      {"", frame(0, "one") + "\x00\x00", []string{"one"}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := message("content-type: application/grpc\r\n"+tt.fields, []byte(tt.body))
			b := Read(m, big)
			if diff := cmp.Diff(tt.want, framesOf(b.Data)); diff != "" || b.Kind != GRPC {
				t.Errorf("%s (-want +got):\n%s", b.Kind, diff)
			}
			if got := b.Err; (got == nil) != (tt.err == "") || got != nil && got.Error() != tt.err {
				t.Errorf("error %v, want %q", got, tt.err)
			}
		})
	}
}

func TestPackedFramesEndAtTheLimit(t *testing.T) {
	t.Parallel()
	bomb := packed(t, "gzip", make([]byte, 1<<20))
	body := AppendFrame(AppendFrame(nil, Frame{Data: bomb, Packed: true, Whole: true}), Frame{Data: bomb, Packed: true, Whole: true})
	b := Read(message("content-type: application/grpc\r\ngrpc-encoding: gzip\r\n", body), 1000)
	if len(b.Data) > 1000+FramePrefix || !b.Cut {
		t.Errorf("%d bytes, cut %v", len(b.Data), b.Cut)
	}
}

func TestBodiesWithoutEncodingCostNoAllocation(t *testing.T) {
	for fields, body := range map[string]string{
		"Content-Type: application/json; charset=utf-8\r\n": `{"a":[1,2,3]}`,
		"Content-Type: text/plain\r\n":                      `{"a":[1,2,3]}`,
		"Server: x\r\n":                                     `{"a":[1,2,3]}`,
		"Content-Type: application/grpc\r\n":                "\x00\x00\x00\x00\x02\x08\x01",
		"Content-Type: application/x-www-form-urlencoded\r\nContent-Encoding: identity\r\n": "a=b",
	} {
		m := message("Date: today\r\n"+fields, []byte(body))
		if n := testing.AllocsPerRun(100, func() { Read(m, big) }); n != 0 {
			t.Errorf("%q: %v allocations", fields, n)
		}
	}
}
