package analyze

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/reflection"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

const unary = "/grpc.testing.TestService/UnaryCall"

// calling is a shadow that offers reflection.
func calling(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	grpc_testing.RegisterTestServiceServer(server, grpc_testing.UnimplementedTestServiceServer{})
	reflection.Register(server)
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// call is a call whose answers name other users.
func (s *stage) call() *traffic.Exchange {
	body := func(user string) string {
		message, err := proto.Marshal(&grpc_testing.SimpleResponse{Username: user, OauthScope: "read"})
		if err != nil {
			s.Fatal(err)
		}
		return string(append([]byte{0, 0, 0, 0, byte(len(message))}, message...))
	}
	grpc := func(user string) answer {
		return answer{head: "content-type: application/grpc\n", body: body(user)}
	}
	x := s.exchange("POST "+unary+"\ncontent-type: application/grpc\n\n", grpc("ada"), grpc("bob"))
	for _, o := range []*traffic.Outcome{&x.Primary, &x.Copies[0]} {
		o.Answer.Head = []byte(strings.Replace(string(o.Answer.Head), "content-type: application/json\r\n", "", 1))
		o.Answer.Trailer = []byte("grpc-status: 0\r\n")
	}
	return x
}

// give offers an exchange that must be taken.
func (s *stage) give(x *traffic.Exchange) {
	s.Helper()
	if !s.pipeline.Offer(x) {
		s.Fatal("the exchange was refused")
	}
}

// paths are those of places where answers were seen to differ.
func (s *stage) paths() []string {
	s.pipeline.mu.Lock()
	defer s.pipeline.mu.Unlock()
	var all []string
	for _, m := range s.pipeline.mirrors {
		for _, e := range m.endpoints {
			for _, p := range e.Places {
				all = append(all, p.Path)
			}
		}
	}
	slices.Sort(all)
	return all
}

func stageOf(t *testing.T, cfg *config.Config) *stage {
	t.Helper()
	p, err := New(cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{TB: t, cfg: cfg, pipeline: p}
	t.Cleanup(s.close)
	return s
}

func TestFieldsHaveNamesOnceTheShadowWasAsked(t *testing.T) {
	cfg := parse(t, "", "compare: {reflection: true, repeat: 0, requery: false}")
	for i := range cfg.Backends {
		if cfg.Backends[i].Name == "b" {
			cfg.Backends[i].Endpoints, cfg.Backends[i].Protocol = []string{calling(t)}, config.ProtocolHTTP2
		}
	}
	s := stageOf(t, cfg)
	s.give(s.call())
	s.wait()
	s.pipeline.asking.Wait()
	s.give(s.call())
	s.wait()
	if got, want := s.paths(), []string{"body[*].2", "body[*].username"}; !slices.Equal(got, want) {
		t.Errorf("answers differ at %q, want %q", got, want)
	}
}

func TestFieldsHaveNamesFromFiles(t *testing.T) {
	set := &descriptorpb.FileDescriptorSet{}
	file := grpc_testing.File_grpc_testing_test_proto
	for i := range file.Imports().Len() {
		set.File = append(set.File, protodesc.ToFileDescriptorProto(file.Imports().Get(i)))
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
	s := stageOf(t, parse(t, "", "compare: {descriptors: ["+path+"], repeat: 0, requery: false}"))
	s.give(s.call())
	s.wait()
	if got, want := s.paths(), []string{"body[*].username"}; !slices.Equal(got, want) {
		t.Errorf("answers differ at %q, want %q", got, want)
	}
}

func TestFilesOfDescriptorsMustBeThere(t *testing.T) {
	cfg := parse(t, "", "compare: {descriptors: [nothing.pb]}")
	_, err := Rules(&cfg.Routes[0].Rules[0].Mirrors[0].Compare)
	if err == nil || !strings.Contains(err.Error(), "descriptors: ") || !strings.Contains(err.Error(), "nothing.pb") {
		t.Errorf("got %v, want an error that names the field and the file", err)
	}
}
