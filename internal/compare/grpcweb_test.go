package compare

import (
	"encoding/base64"
	"testing"

	"github.com/understudy-proxy/understudy/internal/content"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// The trailer of gRPC-Web is a message of the body; its fields are compared as those
// of a header, and messages that travel as text as those that do not.
func TestTrailersOfGRPCWeb(t *testing.T) {
	t.Parallel()
	web := func(trailer string) string {
		body := content.AppendFrame(nil, content.Frame{Data: []byte("\x0a\x01x"), Whole: true})
		return string(content.AppendFrame(body, content.Frame{Data: []byte(trailer), Trailer: true, Whole: true}))
	}
	text := func(body string) string { return base64.StdEncoding.EncodeToString([]byte(body)) }
	const plain, asText = "application/grpc-web+proto", "application/grpc-web-text"
	first := web("grpc-status: 0\r\ngrpc-message: fine\r\n")
	again, other := web("Grpc-Message:fine\r\nGrpc-Status:0\r\n"), web("grpc-status: 0\r\ngrpc-message: odd\r\n")
	for _, test := range []struct{ contentType, primary, shadow, want string }{
		{plain, first, again, "match\n"},
		{plain, first, other, "diff\nvalue body[*].grpc-message at body[1].grpc-message: string fine (word) -> string odd (word) similar\n"},
		{asText, text(first), text(first[:8]) + text(first[8:]), "match\n"},
		{asText, text(first), text(other), "diff\nvalue body[*].grpc-message at body[1].grpc-message: string fine (word) -> string odd (word) similar\n"},
	} {
		primary, shadow := answered("HTTP/1.1 200 OK\nContent-Type: "+test.contentType+"\n\n"+test.primary), answered("HTTP/1.1 200 OK\nContent-Type: "+test.contentType+"\n\n"+test.shadow)
		shadow.Fate = traffic.Completed
		if got := written(New(nil).Compare(&traffic.Exchange{}, &primary, &shadow, Options{})); got != test.want {
			t.Errorf("got %swant %s", got, test.want)
		}
	}
}

// What is left of the last line of a body that was cut is no line.
func TestTheLastLineOfACutBody(t *testing.T) {
	t.Parallel()
	head := "HTTP/1.1 200 OK\nContent-Type: application/x-ndjson"
	body := "{\"a\":1}\n123\n456\n"
	for kept := range len(body) {
		primary, shadow := cutAt(len(body), head, body), cutAt(kept, head, body)
		c := New(nil)
		c.begin(Options{})
		c.answers(&traffic.Exchange{}, primary, shadow)
		c.walk(c.a.root(), c.b.root())
		if found := c.found.differs.kept; kept > 0 && len(found) > 0 {
			t.Errorf("of %d bytes: %v", kept, found)
		}
	}
}
