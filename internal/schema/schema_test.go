package schema

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/reflection"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	service = "grpc.testing.TestService"
	unary   = "/" + service + "/UnaryCall"
)

// server is gRPC's own, with its own reflection.
func server(t *testing.T, register func(*grpc.Server)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	grpc_testing.RegisterTestServiceServer(s, grpc_testing.UnimplementedTestServiceServer{})
	register(s)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return "http://" + l.Addr().String()
}

func client(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

func TestAServerIsAsked(t *testing.T) {
	for name, register := range map[string]func(*grpc.Server){
		"v1 and v1alpha": func(s *grpc.Server) { reflection.Register(s) },
		"v1":             func(s *grpc.Server) { reflection.RegisterV1(s) },
	} {
		files, err := Ask(context.Background(), client(t), server(t, register), service)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		in, out, err := Method(files, unary)
		if err != nil || in.FullName() != "grpc.testing.SimpleRequest" || out.FullName() != "grpc.testing.SimpleResponse" {
			t.Errorf("%s: %s takes %v and answers %v (%v)", name, unary, in, out, err)
		}
		if f := out.Fields().ByNumber(2); f == nil || f.Name() != "username" {
			t.Errorf("%s: field 2 is %v, want username", name, f)
		}
	}
}

func TestWhatAServerCannotSay(t *testing.T) {
	plain := server(t, func(*grpc.Server) {})
	if _, err := Ask(context.Background(), client(t), plain, service); !errors.Is(err, errUnimplemented) {
		t.Errorf("without reflection: %v", err)
	}
	offers := server(t, func(s *grpc.Server) { reflection.Register(s) })
	_, err := Ask(context.Background(), client(t), offers, "no.Such")
	if err == nil || !strings.Contains(err.Error(), "no.Such") {
		t.Errorf("of an unknown service: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Ask(ctx, client(t), offers, service); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
}

// descriptors writes what protoc --include_imports would.
func descriptors(t *testing.T, with ...string) string {
	t.Helper()
	set := &descriptorpb.FileDescriptorSet{}
	file := grpc_testing.File_grpc_testing_test_proto
	for i := range file.Imports().Len() {
		f := protodesc.ToFileDescriptorProto(file.Imports().Get(i))
		for _, name := range with {
			if strings.HasSuffix(f.GetName(), name) {
				set.File = append(set.File, f)
			}
		}
	}
	set.File = append(set.File, protodesc.ToFileDescriptorProto(file))
	data, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "set.pb")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFilesAreRead(t *testing.T) {
	path := descriptors(t, "empty.proto", "messages.proto")
	files, err := Load(path, path)
	if err != nil {
		t.Fatal(err)
	}
	if _, out, err := Method(files, unary); err != nil || out.FullName() != "grpc.testing.SimpleResponse" {
		t.Errorf("%s answers %v (%v)", unary, out, err)
	}
	for _, path := range []string{"/no.Such/Method", "/" + service + "/Nothing", "/grpc.testing.SimpleRequest/Method"} {
		if _, _, err := Method(files, path); !errors.Is(err, ErrNoMethod) {
			t.Errorf("%s: %v, want %v", path, err, ErrNoMethod)
		}
	}
	for _, path := range []string{"", "/", "x", "/a", "/a/", "//b", "/a b/c", "/a/b/c"} {
		if _, _, err := Method(files, path); err == nil || errors.Is(err, ErrNoMethod) {
			t.Errorf("%q: %v, want that it is no method's path", path, err)
		}
	}
}

func TestBadFilesAreRefused(t *testing.T) {
	garbage := filepath.Join(t.TempDir(), "garbage")
	if err := os.WriteFile(garbage, []byte("not descriptors"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ path, want string }{
		"missing":         {filepath.Join(t.TempDir(), "nothing"), "no such file"},
		"garbage":         {garbage, "--descriptor_set_out"},
		"empty":           {empty, "--descriptor_set_out"},
		"without imports": {descriptors(t), "--include_imports"},
	} {
		if _, err := Load(c.path); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want it to name %q", name, err, c.want)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 2, 0x22, 0})
	f.Add([]byte{0, 0, 0, 0, 6, 0x3a, 4, 0x12, 2, 'n', 'o'})
	f.Add([]byte{1, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, body []byte) {
		a := asker{files: map[string]*descriptorpb.FileDescriptorProto{}}
		if a.take(body) == nil {
			_, _ = a.build()
		}
	})
}
