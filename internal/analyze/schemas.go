package analyze

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/understudy-proxy/understudy/internal/compare"
	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/schema"
)

// Rules compiles what c says of comparing, with the descriptors of messages that it
// names. Errors are [config.Errors] whose paths begin below c.
func Rules(c *config.Compare) (*compare.Rules, error) {
	rules, err := compare.Compile(c)
	if err != nil || len(c.Descriptors) == 0 {
		return rules, err
	}
	files, err := schema.Load(c.Descriptors...)
	if err != nil {
		return nil, config.Errors{{Path: "descriptors", Message: err.Error()}}
	}
	rules.Descriptors(files)
	return rules, nil
}

// Bounds on asking a shadow what its messages are made of.
const (
	mostServices   = 64
	reflectionTime = 5 * time.Second
)

// schemas knows what messages of gRPC are made of from files, and asks the shadow,
// once, about services that they do not have: until it has answered, fields are
// known by their numbers. It is a [compare.Descriptors], safe for many goroutines.
type schemas struct {
	files  compare.Descriptors // nil = none
	client *http.Client
	base   string // scheme, host and port of the shadow
	log    *slog.Logger
	ending context.Context
	asking *sync.WaitGroup

	mu    sync.Mutex
	asked map[protoreflect.FullName]*protoregistry.Files // by service; nil = no answer
}

// FindDescriptorByName implements [compare.Descriptors].
func (s *schemas) FindDescriptorByName(name protoreflect.FullName) (protoreflect.Descriptor, error) {
	if s.files != nil {
		if d, err := s.files.FindDescriptorByName(name); err == nil {
			return d, nil
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	service := name.Parent()
	files, known := s.asked[service]
	switch {
	case files != nil:
		return files.FindDescriptorByName(name)
	case !known && service.IsValid() && len(s.asked) < mostServices && s.ending.Err() == nil:
		s.asked[service] = nil
		s.asking.Go(func() { s.ask(service) })
	}
	return nil, protoregistry.NotFound
}

func (s *schemas) ask(service protoreflect.FullName) {
	ctx, cancel := context.WithTimeout(s.ending, reflectionTime)
	defer cancel()
	files, err := schema.Ask(ctx, s.client, s.base, string(service))
	if err != nil {
		s.log.Warn("what gRPC messages are made of is not known: their fields are compared by number (name files in compare.descriptors)", slog.Any("error", err))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[service] = files
}

// rules compiles the rules of a mirror, with descriptors from files and, if that is
// wanted, by asking its shadow.
func (p *Pipeline) rules(w way) (*compare.Rules, error) {
	c := &w.mirror.Compare
	if !c.Reflection || p.sender == nil {
		return Rules(c)
	}
	rules, err := compare.Compile(c)
	if err != nil {
		return nil, err
	}
	s := &schemas{log: p.options.Log, ending: p.ending, asking: &p.asking, asked: make(map[protoreflect.FullName]*protoregistry.Files)}
	if len(c.Descriptors) > 0 {
		if s.files, err = schema.Load(c.Descriptors...); err != nil {
			return nil, fmt.Errorf("compare.descriptors: %w", err)
		}
	}
	transport := newTransport(w.backend, w.backend.Endpoints[0], netip.Addr{})
	transport.DisableKeepAlives = true // it is asked once
	s.client, s.base = &http.Client{Transport: transport}, "http://"+w.backend.Endpoints[0]
	if w.backend.TLS != nil {
		s.base = "https://" + w.backend.Endpoints[0]
	}
	rules.Descriptors(s)
	return rules, nil
}
