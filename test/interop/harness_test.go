package interop

import (
	"context"
	"fmt"
	"net"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/grpclog"
	"google.golang.org/grpc/interop"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/tap"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/loop"
	"github.com/understudy-proxy/understudy/internal/proxy"
	"github.com/understudy-proxy/understudy/internal/telemetry"
	"github.com/understudy-proxy/understudy/internal/traffic"
	"github.com/understudy-proxy/understudy/test/certs"
)

func TestMain(m *testing.M) {
	grpclog.SetLoggerV2(complaints{})
	goleak.VerifyTestMain(m)
}

// complaints are how gRPC's client says that a case has failed: it would end the
// process, and with it all other cases.
type complaints struct{ grpclog.LoggerV2 }

type complaint string

func (complaints) Fatal(v ...any)                 { panic(complaint(fmt.Sprint(v...))) }
func (complaints) Fatalln(v ...any)               { panic(complaint(fmt.Sprintln(v...))) }
func (complaints) Fatalf(format string, v ...any) { panic(complaint(fmt.Sprintf(format, v...))) }
func (complaints) Info(...any)                    {}
func (complaints) Infoln(...any)                  {}
func (complaints) Infof(string, ...any)           {}
func (complaints) Warning(...any)                 {}
func (complaints) Warningln(...any)               {}
func (complaints) Warningf(string, ...any)        {}
func (complaints) Error(...any)                   {}
func (complaints) Errorln(...any)                 {}
func (complaints) Errorf(string, ...any)          {}
func (complaints) V(int) bool                     { return false }

// server is gRPC's test server, which counts the calls that arrive.
type server struct {
	address string

	mu    sync.Mutex
	calls map[string]int // by method
	ended chan error     // how streams ended for their handlers
}

// serveCalls starts a server; leaf nil is one without TLS.
func serveCalls(t *testing.T, leaf *certs.Leaf) *server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{address: ln.Addr().String(), calls: map[string]int{}, ended: make(chan error, 1000)}
	options := []grpc.ServerOption{grpc.InTapHandle(s.arrive), grpc.StreamInterceptor(s.end)}
	if leaf != nil {
		options = append(options, grpc.Creds(credentials.NewServerTLSFromCert(&leaf.Pair)))
	}
	g := grpc.NewServer(options...)
	grpc_testing.RegisterTestServiceServer(g, interop.NewTestServer())
	done := make(chan error, 1)
	go func() { done <- g.Serve(ln) }()
	t.Cleanup(func() {
		g.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *server) arrive(ctx context.Context, info *tap.Info) (context.Context, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[path.Base(info.FullMethodName)]++
	return ctx, nil
}

func (s *server) end(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	err := handler(srv, stream)
	s.ended <- err
	return err
}

func (s *server) counts() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprint(s.calls)
}

// exchanges are a sink.
type exchanges chan *traffic.Exchange

// Offer implements traffic.Sink.
func (e exchanges) Offer(x *traffic.Exchange) bool { e <- x; return true }

// next waits for n exchanges and says of each, in the order of their names: method,
// status for the client, fate and status of the copy.
func (e exchanges) next(t *testing.T, n int) []string {
	t.Helper()
	var got []string
	for range n {
		select {
		case x := <-e:
			c := x.Copies[0]
			got = append(got, strings.Join(strings.Fields(fmt.Sprint(path.Base(x.Path), " ", x.GRPC.Status, " ", c.Fate, " ", c.Reason, " ", c.GRPC.Status)), " "))
		case <-time.After(10 * time.Second):
			t.Fatalf("got the exchanges %q, want %d", got, n)
		}
	}
	slices.Sort(got)
	return got
}

// stage is a proxy between gRPC's client and two of its servers.
type stage struct {
	primary, shadow *server
	proxy           *proxy.Server
	seen            exchanges
	client          *grpc.ClientConn
	answers         answers
}

// newStage has all three speak TLS, or none.
func newStage(t *testing.T, d loop.Driver, secure bool) *stage {
	t.Helper()
	s := &stage{seen: make(exchanges, 1000)}
	var leaf *certs.Leaf
	listener, backend := "protocol: HTTP", ""
	trust := insecure.NewCredentials()
	if secure {
		authority := certs.New(t)
		leaf = authority.Leaf(t, "127.0.0.1", "shop.example.com")
		listener = fmt.Sprintf("protocol: HTTPS, tls: {certificates: [{cert: %s, key: %s}]}", leaf.Cert, leaf.Key)
		backend = fmt.Sprintf(", tls: {ca: %s}", authority.File)
		trust = credentials.NewClientTLSFromCert(authority.Pool, "shop.example.com")
	}
	s.primary, s.shadow = serveCalls(t, leaf), serveCalls(t, leaf)
	cfg, err := config.Parse("interop.yaml", fmt.Appendf(nil, `
listeners: [{name: web, address: "127.0.0.1:0", %s}]
accessLog: {path: "-"}
routes:
  - name: calls
    rules: [{backends: [{name: v1}], mirrors: [{backend: v2, writes: copy}]}]
backends:
  - {name: v1, endpoints: [%q], protocol: HTTP2%s}
  - {name: v2, endpoints: [%q], protocol: HTTP2%s}
`, listener, s.primary.address, backend, s.shadow.address, backend))
	if err != nil {
		t.Fatal(err)
	}
	if s.proxy, err = proxy.New(cfg, proxy.Options{Driver: d, Sinks: []traffic.Sink{s.seen}}); err != nil {
		t.Fatal(err)
	}
	if err := s.proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.proxy.Drain(ctx); err != nil {
			t.Error(err)
		}
	})
	if s.client, err = grpc.NewClient(s.proxy.Addrs()["web"].String(), grpc.WithTransportCredentials(trust), grpc.WithStatsHandler(&s.answers)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.client.Close() })
	return s
}

// books are those of the mirror, in which nothing goes on.
func (s *stage) books(t *testing.T) telemetry.Mirror {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		m := s.proxy.Snapshot().Mirrors[0]
		if m.InFlight == 0 || time.Now().After(deadline) {
			return m
		}
	}
}

// stages runs a test on every driver of this system, without TLS and with it.
func stages(t *testing.T, test func(t *testing.T, s *stage)) {
	for _, d := range []loop.Driver{loop.Epoll, loop.Go} {
		if _, err := loop.ParseDriver(string(d)); err != nil {
			continue
		}
		for name, secure := range map[string]bool{"cleartext": false, "TLS": true} {
			t.Run(string(d)+" "+name, func(t *testing.T) {
				t.Parallel()
				test(t, newStage(t, d, secure))
			})
		}
	}
}
