package main

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mccutchen/go-httpbin/v2/httpbin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/understudy-proxy/understudy/internal/demo"
)

// services are one instance of everything, of one version.
type services struct {
	web   string // host:port
	calls string // of gRPC

	closers []func()
}

func (s *services) close() {
	for _, f := range s.closers {
		f()
	}
}

// open starts an instance. Its noise follows from seed, its ids from name.
func open(name string, seed uint64, f *fault) (*services, error) {
	s := &services{}
	shop, err := demo.OpenShop(demo.Classic)
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, shop.Close)
	v := &version{name: name, serve: serve(shop), fault: f, dice: rand.New(rand.NewPCG(seed, 1))}
	if err := s.openWeb(v); err != nil {
		s.close()
		return nil, err
	}
	if err := s.openCalls(v); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// serve is all of what speaks HTTP.
func serve(shop http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/shop/", http.StripPrefix("/shop", shop))
	mux.Handle("/bin/", http.StripPrefix("/bin", httpbin.New()))
	mux.HandleFunc("GET /bin/lines", lines)
	mux.HandleFunc("GET /bin/zipped", zipped)
	return mux
}

func (s *services) openWeb(h http.Handler) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("open a service: %w", err)
	}
	s.web = l.Addr().String()
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		// It only returns because of Close.
		_ = server.Serve(l)
	}()
	s.closers = append(s.closers, func() { server.Close(); <-done })
	return nil
}

func (s *services) openCalls(v *version) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("open a gRPC service: %w", err)
	}
	s.calls = l.Addr().String()
	server := grpc.NewServer()
	grpc_testing.RegisterTestServiceServer(server, &calls{version: v})
	done := make(chan struct{})
	go func() {
		defer close(done)
		// It only returns because of Stop.
		_ = server.Serve(l)
	}()
	s.closers = append(s.closers, func() { server.Stop(); <-done })
	return nil
}

// lines answers NDJSON.
func lines(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	n, _ := strconv.Atoi(r.URL.Query().Get("n"))
	for i := range n {
		fmt.Fprintf(w, "{\"line\":%d,\"text\":\"line %d of %d\"}\n", i, i, n)
	}
}

// zipped answers gzipped JSON.
func zipped(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Encoding", "gzip")
	z := gzip.NewWriter(w)
	page := r.URL.Query().Get("page")
	_ = json.NewEncoder(z).Encode(map[string]any{"page": page, "rows": strings.Split(strings.Repeat("row "+page+" of many;", 20), ";")})
	_ = z.Close()
}

// calls is the gRPC service.
type calls struct {
	grpc_testing.UnimplementedTestServiceServer
	version *version
}

// UnaryCall answers with who asked and what was wanted.
func (c *calls) UnaryCall(ctx context.Context, in *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	v := c.version
	v.mu.Lock()
	defer v.mu.Unlock()
	out := &grpc_testing.SimpleResponse{
		Payload:    &grpc_testing.Payload{Type: in.GetResponseType(), Body: []byte(strings.Repeat("p", int(in.GetResponseSize())))},
		Username:   "user-" + strconv.Itoa(int(in.GetResponseSize())),
		OauthScope: "read write",
		ServerId:   v.uuid(),
		Hostname:   v.pod(),
	}
	trailer := metadata.Pairs("x-cost", strconv.Itoa(int(in.GetResponseSize())))
	if v.fault != nil && v.fault.call != nil {
		code := v.fault.call(v, in, out, trailer)
		if code != codes.OK {
			return nil, status.Error(code, "not as it was")
		}
	}
	if err := grpc.SetTrailer(ctx, trailer); err != nil {
		return nil, err
	}
	return out, nil
}

// EmptyCall answers nothing, well.
func (c *calls) EmptyCall(context.Context, *grpc_testing.Empty) (*grpc_testing.Empty, error) {
	return &grpc_testing.Empty{}, nil
}
