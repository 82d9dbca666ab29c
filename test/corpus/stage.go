package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/understudy-proxy/understudy/internal/analyze"
	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/proxy"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// copyTimeout is how long a shadow may take.
const copyTimeout = time.Second

// stage is a proxy with a primary, a shadow, and a second primary for Diffy's rule.
type stage struct {
	primary, shadow, second *services
	proxy                   *proxy.Server
	pipeline                *analyze.Pipeline
	diffy                   *diffy
	client                  *http.Client
	calls                   *grpc.ClientConn
	web                     string
	fault                   *fault
	asked                   int

	mu   sync.Mutex
	dice *rand.Rand
}

// Offer implements traffic.Sink: the pipeline gets what Diffy's rule has looked at.
func (s *stage) Offer(x *traffic.Exchange) bool {
	s.diffy.offer(x)
	return s.pipeline.Offer(x)
}

const stageConfig = `
listeners:
  - {name: web, address: "127.0.0.1:0"}
  - {name: calls, address: "127.0.0.1:0"}
routes:
  - name: web
    listeners: [web]
    rules:
      - backends: [{name: v1}]
        mirrors:
          - {backend: shadow, writes: copy, timeout: %[1]s, backoff: {adaptive: false, failures: 1000}, compare: {rules: [{path: "body.headers", endpoint: "POST /bin/post", ignore: true}], judge: {latency: 1}}}
          - {backend: second, writes: copy, timeout: %[1]s, backoff: {adaptive: false, failures: 1000}, compare: {rules: [{path: "body.headers", endpoint: "POST /bin/post", ignore: true}], judge: {latency: 1}}}
  - name: calls
    listeners: [calls]
    rules:
      - backends: [{name: v1-calls}]
        mirrors:
          - {name: shadow, backend: shadow-calls, writes: copy, timeout: %[1]s, backoff: {adaptive: false, failures: 1000}}
backends:
  - {name: v1, endpoints: [%[2]q]}
  - {name: shadow, endpoints: [%[3]q]}
  - {name: second, endpoints: [%[4]q]}
  - {name: v1-calls, endpoints: [%[5]q], protocol: HTTP2}
  - {name: shadow-calls, endpoints: [%[6]q], protocol: HTTP2}
`

// newStage opens everything for one run. The caller must close it.
func newStage(seed uint64, f *fault) (*stage, error) {
	s := &stage{fault: f, dice: rand.New(rand.NewPCG(seed, 0)), diffy: newDiffy()}
	if err := s.open(seed); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *stage) open(seed uint64) (err error) {
	if s.primary, err = open("v1", seed+1, nil); err != nil {
		return err
	}
	if s.shadow, err = open("v2", seed+2, s.fault); err != nil {
		return err
	}
	if s.second, err = open("v1b", seed+3, nil); err != nil {
		return err
	}
	text := fmt.Appendf(nil, stageConfig, copyTimeout, s.primary.web, s.shadow.web, s.second.web, s.primary.calls, s.shadow.calls)
	cfg, err := config.Parse("corpus.yaml", text)
	if err != nil {
		return err
	}
	if s.pipeline, err = analyze.New(cfg, analyze.Options{}); err != nil {
		return err
	}
	if s.proxy, err = proxy.New(cfg, proxy.Options{Capture: s}); err != nil {
		return err
	}
	if err := s.proxy.Start(); err != nil {
		return err
	}
	s.web = "http://" + s.proxy.Addrs()["web"].String()
	s.client = &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: hands, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       10 * time.Second,
	}
	s.calls, err = grpc.NewClient(s.proxy.Addrs()["calls"].String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	return err
}

func (s *stage) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var errs []error
	if s.calls != nil {
		errs = append(errs, s.calls.Close())
	}
	if s.client != nil {
		s.client.CloseIdleConnections()
	}
	if s.proxy != nil {
		errs = append(errs, s.proxy.Drain(ctx))
	}
	if s.pipeline != nil {
		errs = append(errs, s.pipeline.Close(ctx))
	}
	s.diffy.close()
	for _, services := range []*services{s.primary, s.shadow, s.second} {
		if services != nil {
			services.close()
		}
	}
	return errors.Join(errs...)
}

// hands is how many requests are under way at once.
const hands = 8

// play sends n requests and waits until what came of them has been looked at.
func (s *stage) play(ctx context.Context, n int) error {
	var todo sync.WaitGroup
	errs := make(chan error, hands)
	for range hands {
		todo.Go(func() {
			for range n / hands {
				if err := s.send(ctx); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	todo.Wait()
	close(errs)
	if err := <-errs; err != nil {
		return err
	}
	s.asked += n
	return s.pipeline.Wait(ctx)
}

func (s *stage) send(ctx context.Context) error {
	endpoint := ""
	if s.fault != nil {
		endpoint = s.fault.endpoint
	}
	s.mu.Lock()
	call := s.dice.IntN(20) == 0 || strings.HasPrefix(endpoint, "POST /grpc") && s.dice.IntN(3) == 0
	size := int32(s.dice.IntN(40))
	r, err := request(s.dice, s.web, endpoint)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if call {
		_, err := grpc_testing.NewTestServiceClient(s.calls).UnaryCall(ctx, &grpc_testing.SimpleRequest{ResponseSize: size})
		return err
	}
	answer, err := s.client.Do(r.WithContext(ctx))
	if err != nil {
		return fmt.Errorf("a client was troubled: %w", err)
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return errors.Join(err, answer.Body.Close())
}
