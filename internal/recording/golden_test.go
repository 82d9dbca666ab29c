package recording

import (
	"encoding/hex"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// goldenExchanges are what testdata/v1.rec holds. That file is never written
// again: it is what a recording of version 1 is, and must stay readable.
func goldenExchanges() []*traffic.Exchange {
	return []*traffic.Exchange{full(), numbered(1), {ID: "empty"}}
}

func TestGoldenSegmentStaysReadable(t *testing.T) {
	t.Parallel()
	got := readAll(t, "testdata/v1.rec")
	same(t, got, goldenExchanges())
}

// TestBytesOfARecord are those that docs/formats/recording.md shows.
func TestBytesOfARecord(t *testing.T) {
	t.Parallel()
	x := &traffic.Exchange{
		ID: "4f2a", Start: time.Unix(0, 1).UTC(), Method: "GET", Path: "/", Status: 200, Primary: traffic.Outcome{Backend: "v1"},
		Request: &traffic.Message{Head: []byte("GET / HTTP/1.1\r\n"), Whole: true},
	}
	got := hex.EncodeToString(prefixLength(appendExchange(nil, x), 0))
	const want = "31" + // bytes that follow
		"0a04" + "34663261" + // 1 id: "4f2a"
		"1001" + // 2 start
		"4203" + "474554" + // 8 method: "GET"
		"5201" + "2f" + // 10 path: "/"
		"68c801" + // 13 status: 200
		"aa0104" + "0a027631" + // 21 primary: backend "v1"
		"ba0114" + "0a10" + "474554202f20485454502f312e310d0a" + "3001" // 23 request: head, whole
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	page, err := os.ReadFile("../../docs/formats/recording.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(string(page), "## An exchange")
	rest := want
	for _, pair := range regexp.MustCompile(`\b[0-9a-f]{2}\b`).FindAllString(shown, -1) {
		rest = strings.TrimPrefix(rest, pair)
	}
	if rest != "" {
		t.Errorf("docs/formats/recording.md does not show these bytes: %s", rest)
	}
}

// TestBytesOfASegment holds the frame around records to what the page says.
func TestBytesOfASegment(t *testing.T) {
	t.Parallel()
	m := marker{1, 2, 3, 4, 5, 6, 7, 8}
	for _, test := range []struct{ what, got, want string }{
		{"header", hex.EncodeToString(segmentHeader(m, time.Unix(0, 1))),
			"895553524543" + "0d0a" + "01000000" + "0102030405060708" + "0100000000000000" + "b97457dd"},
		{"block", hex.EncodeToString(appendBlockHeader(nil, m, blockHeader{recordBlock, 1, 2, 3, 4, 5, 6})),
			"0102030405060708" + "01000000" + "01000000" + "02000000" + "03000000" + "0400000000000000" + "0500000000000000" + "06000000" + "6ecbbaf6"},
		{"trailer", hex.EncodeToString(appendTrailer(nil, 256)), "0001000000000000" + "429e2be4" + "454e440a"},
	} {
		if test.got != test.want {
			t.Errorf("%s: got %s, want %s", test.what, test.got, test.want)
		}
	}
}
