package recording

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// TestMain is also the child processes of these tests: each is told by its
// variable what to do, and is killed or watched.
func TestMain(m *testing.M) {
	if role := os.Getenv("RECORDING_CHILD"); role != "" {
		children[role](os.Getenv("RECORDING_DIRECTORY"))
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// children are what a child process does in a folder, by the name of its role.
var children = map[string]func(dir string){"record": recordForever, "limited": recordWithinALimit}

// full is an exchange in which every field is set.
func full() *traffic.Exchange {
	return &traffic.Exchange{
		ID: "4f2a", Start: time.Date(2026, 5, 1, 13, 4, 5, 123456789, time.UTC), Duration: 3214 * time.Microsecond,
		Listener: "web", Route: "shop", Rule: 2, Client: netip.MustParseAddr("10.1.2.3"),
		Method: "POST", Host: "shop.example.com", Path: "/api/cart/17", Query: "full=1", Protocol: "HTTP/1.1",
		Status: 200, GRPC: traffic.GRPCCall{Status: "NOT_FOUND", Message: "no cart"}, BytesIn: 13, BytesOut: 17,
		Source: traffic.Primary, Error: "reset by peer", UserAgent: "curl/8.5",
		Primary: traffic.Outcome{
			Backend: "v1", Endpoint: "10.0.0.1:9000", Status: 200, GRPC: traffic.GRPCCall{Status: "OK"}, Bytes: 17,
			Queued: time.Microsecond, Connect: 200 * time.Microsecond, Start: 300 * time.Microsecond, First: 2900 * time.Microsecond,
			End: 3100 * time.Microsecond, Source: traffic.Primary, Error: "reset by peer",
			Answer: &traffic.Message{
				Head: []byte("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"), Body: []byte(`{"total":12.50}`), Trailer: []byte("x-sum: 1\r\n"),
				Length: 17, Hash: 0xfedcba9876543210, Whole: true,
			},
		},
		Copies: []traffic.Outcome{
			{
				Mirror: "v2", Backend: "v2", Endpoint: "10.0.0.2:9000", Fate: traffic.Completed, Status: 200, Bytes: 15,
				Start: 400 * time.Microsecond, First: 3300 * time.Microsecond, End: 4100 * time.Microsecond,
				Answer: &traffic.Message{Head: []byte("HTTP/1.1 200 OK\r\n"), Body: []byte(`{"total":12.5}`), Length: 14, Whole: true},
			},
			{Mirror: "v3", Backend: "v3", Fate: traffic.Skipped, Reason: traffic.SkipPercent, Source: traffic.Shadow, Error: "none"},
		},
		Request: &traffic.Message{
			Head: []byte("POST /api/cart/17?full=1 HTTP/1.1\r\nhost: shop.example.com\r\nuser-agent: curl/8.5\r\n"),
			Body: []byte(`{"add":"pear"}`), Length: 14, Whole: true,
		},
	}
}

var fruits = []string{"apple", "apricot", "cherry", "currant", "damson", "elderberry", "fig", "gooseberry", "medlar", "pear", "plum", "quince", "sloe"}

// numbered is the n-th of many exchanges, of about two kilobytes with a kilobyte
// of bodies, as services have them. It must not be changed.
func numbered(n int) *traffic.Exchange {
	x, found := known.Load(n)
	if !found {
		x, _ = known.LoadOrStore(n, newNumbered(n))
	}
	return x.(*traffic.Exchange)
}

var known sync.Map // of those that were asked for

func newNumbered(n int) *traffic.Exchange {
	random := rand.New(rand.NewPCG(1, uint64(n)))
	id := fmt.Sprintf("%08x-%04x-4b7e-a0d3-5c2f8e6b%04x", n, random.Uint32()&0xffff, random.Uint32()&0xffff)
	path := fmt.Sprintf("/api/v1/users/%d/orders", n%5000)
	var items strings.Builder
	for range 7 {
		fmt.Fprintf(&items, `{"sku":"%c-%05d","name":"%s","price":%d.%02d,"quantity":%d},`, 'A'+rune(random.IntN(26)), random.IntN(1e5),
			fruits[random.IntN(len(fruits))], random.IntN(90), random.IntN(100), 1+random.IntN(9))
	}
	answer := func(shift int) *traffic.Message {
		body := fmt.Sprintf(`{"id":%d,"user":"user-%d","items":[%s{}],"at":"2026-05-01T13:%02d:%02d.%03dZ"}`, n, n%5000, items.String(), n/60%60, n%60, (n+shift)%1000)
		return &traffic.Message{
			Head: fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: %d\r\nDate: Fri, 01 May 2026 13:04:05 GMT\r\n"+
				"X-Request-Id: %s\r\nCache-Control: no-store\r\nServer: shop/1.4\r\n", len(body), id),
			Body: []byte(body), Length: int64(len(body)), Whole: true,
		}
	}
	start := time.Date(2026, 5, 1, 13, 0, 0, 0, time.UTC).Add(time.Duration(n) * time.Millisecond)
	return &traffic.Exchange{
		ID: id, Start: start, Duration: 3 * time.Millisecond, Listener: "web", Route: "shop", Client: netip.AddrFrom4([4]byte{10, 1, byte(n >> 8), byte(n)}),
		Method: "GET", Host: "shop.example.com", Path: path, Query: "page=1", Protocol: "HTTP/1.1", Status: 200, BytesOut: 512, UserAgent: "Mozilla/5.0",
		Primary: traffic.Outcome{Backend: "v1", Endpoint: "10.0.0.1:9000", Status: 200, Bytes: 512, Start: 200 * time.Microsecond, First: time.Duration(2000+n%500) * time.Microsecond,
			End: time.Duration(2100+n%500) * time.Microsecond, Answer: answer(0)},
		Copies: []traffic.Outcome{{Mirror: "v2", Backend: "v2", Endpoint: "10.0.0.2:9000", Fate: traffic.Completed, Status: 200, Bytes: 512, Start: 300 * time.Microsecond,
			First: time.Duration(2500+n%500) * time.Microsecond, End: time.Duration(2600+n%500) * time.Microsecond, Answer: answer(7)}},
		Request: &traffic.Message{Head: fmt.Appendf(nil, "GET %s?page=1 HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: application/json\r\n"+
			"Accept-Encoding: gzip\r\nAuthorization: Bearer tok-%016x\r\nCookie: sid=%016x\r\nX-Request-Id: %s\r\n", path, random.Uint64(), random.Uint64(), id), Whole: true},
	}
}
