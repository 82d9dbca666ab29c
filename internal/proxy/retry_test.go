package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/understudy-proxy/understudy/internal/loop"
)

// refusing returns an address that nobody listens on. The port stays taken, so
// that no other test gets it.
func refusing(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	address := c.LocalAddr().String() // of a connection, not of a listener
	t.Cleanup(func() { ln.Close() })
	return address
}

// withEndpoints is plain with several endpoints, and more lines for the backend.
func withEndpoints(more string, endpoints ...string) string {
	list := `"` + strings.Join(endpoints, `", "`) + `"`
	return strings.Replace(plain("x", ""), `endpoints: ["x"]`, "endpoints: ["+list+"]"+more, 1)
}

func TestARefusedConnectionIsTriedElsewhere(t *testing.T) {
	for _, balance := range []string{"RoundRobin", "LeastRequest"} {
		t.Run(balance, func(t *testing.T) {
			drivers(t, func(t *testing.T, d loop.Driver) {
				primary := backend(t, nil)
				s, addr := serve(t, d, withEndpoints(", balance: "+balance+", health: {failures: -1}", refusing(t), primary.address(), refusing(t)))
				client := newClient(t)
				for i := range 12 {
					body := strings.Repeat("x", 1+i*9000)
					resp, err := client.Post("http://"+addr+"/", "text/plain", strings.NewReader(body))
					if err != nil {
						t.Fatal(err)
					}
					got, _ := io.ReadAll(resp.Body)
					resp.Body.Close()
					if want := fmt.Sprintf("hello %d", len(body)); resp.StatusCode != 200 || string(got) != want {
						t.Fatalf("got %d %q, want 200 %q", resp.StatusCode, got, want)
					}
				}
				if l := live(s); l.Codes[200] != 12 || len(l.Errors) != 0 {
					t.Errorf("got %v, %v", l.Codes, l.Errors)
				}
				failures := map[bool]uint64{}
				for _, e := range s.Snapshot().Endpoints {
					failures[e.Address == primary.address()] += e.Failures
				}
				if failures[true] != 0 || failures[false] == 0 {
					t.Errorf("got %d failures of the healthy endpoint and %d of the others, want none and some", failures[true], failures[false])
				}
			})
		})
	}
}

func TestAnEndpointThatRefusesIsLeftAlone(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		primary := backend(t, nil)
		s, addr := serve(t, d, withEndpoints(", health: {failures: 2, eject: 1h}", refusing(t), primary.address()))
		client := newClient(t)
		for range 40 {
			if status, _, err := get(client, "http://"+addr+"/"); status != 200 || err != nil {
				t.Fatalf("got %d, %v", status, err)
			}
		}
		for _, e := range s.Snapshot().Endpoints {
			if e.Address != primary.address() && (e.Failures != 2 || !e.Ejected) {
				t.Errorf("got %+v, want two failures and then none", e)
			}
		}
	})
}

func TestWhenAllEndpointsRefuseTheClientGets503(t *testing.T) {
	drivers(t, func(t *testing.T, d loop.Driver) {
		s, addr := serve(t, d, withEndpoints("", refusing(t), refusing(t)))
		client := newClient(t)
		for range 5 {
			if status, _, err := get(client, "http://"+addr+"/"); status != 503 || err != nil {
				t.Fatalf("got %d, %v, want 503", status, err)
			}
		}
		if l := live(s); l.Codes[503] != 5 || l.InFlight != 0 {
			t.Errorf("got %v, %d in flight", l.Codes, l.InFlight)
		}
	})
}

// pooled makes a proxy pool n connections to primary and returns their other
// ends.
func pooled(t *testing.T, primary *script, addr string, n int) (conns []net.Conn) {
	t.Helper()
	var clients []net.Conn
	for range n {
		c := dial(t, addr)
		send(t, c, "GET /first HTTP/1.1\r\nHost: h\r\n\r\n")
		p := primary.next(t)
		head(t, bufio.NewReader(p))
		clients, conns = append(clients, c), append(conns, p)
	}
	for i, p := range conns {
		send(t, p, "HTTP/1.1 204 No Content\r\n\r\n")
		expect(t, clients[i], "HTTP/1.1 204 No Content\r\n\r\n")
	}
	return conns
}
