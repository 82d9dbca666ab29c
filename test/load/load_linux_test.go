package load

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if Child() {
		return
	}
	os.Exit(m.Run())
}

func startUpstream(t *testing.T, o UpstreamOptions) *Upstream {
	t.Helper()
	u, err := StartUpstream(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Stop)
	return u
}

func run(t *testing.T, p Plan) *Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := Run(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Every kind of request gets its right answer, the upstream sees every request
// once, and both ends agree on the set.
func TestGeneratorAndUpstreamAgree(t *testing.T) {
	t.Parallel()
	const requests = 500
	tests := map[string]struct {
		plan     Plan
		upstream UpstreamOptions
		body     uint64 // content of all requests together
	}{
		"get":                     {Plan{}, UpstreamOptions{AnswerBytes: 200}, 0},
		"two loops on each end":   {Plan{Loops: 2}, UpstreamOptions{AnswerBytes: 200, Loops: 2}, 0},
		"answer without content":  {Plan{}, UpstreamOptions{}, 0},
		"answer 204":              {Plan{}, UpstreamOptions{NoBody: true}, 0},
		"answer over many reads":  {Plan{}, UpstreamOptions{AnswerBytes: 700_001}, 0},
		"head":                    {Plan{Method: "HEAD"}, UpstreamOptions{AnswerBytes: 200}, 0},
		"path with a query":       {Plan{Path: "/a?b=c"}, UpstreamOptions{AnswerBytes: 1}, 0},
		"post":                    {Plan{BodyBytes: 4096}, UpstreamOptions{AnswerBytes: 200}, 500 * 4096},
		"post over many writes":   {Plan{BodyBytes: 700_001}, UpstreamOptions{AnswerBytes: 200}, 500 * 700_001},
		"chunked":                 {Plan{BodyBytes: 70_001, Chunked: true}, UpstreamOptions{AnswerBytes: 200}, 500 * 70_001},
		"tiny chunks":             {Plan{BodyBytes: 100, Chunked: true, ChunkBytes: 1}, UpstreamOptions{AnswerBytes: 200}, 500 * 100},
		"chunked without content": {Plan{Method: "POST", Chunked: true}, UpstreamOptions{AnswerBytes: 200}, 0},
		"paced chunks":            {Plan{BodyBytes: 30, Chunked: true, ChunkBytes: 10, Pace: time.Microsecond}, UpstreamOptions{}, 500 * 30},
		"paced length":            {Plan{BodyBytes: 30, ChunkBytes: 10, Pace: time.Microsecond}, UpstreamOptions{}, 500 * 30},
		"connection each":         {Plan{Close: true}, UpstreamOptions{AnswerBytes: 200}, 0},
		"expects to continue":     {Plan{BodyBytes: 10, Headers: []Header{{"Expect", "100-continue"}}}, UpstreamOptions{AnswerBytes: 5}, 500 * 10},
		"delayed answers":         {Plan{}, UpstreamOptions{AnswerBytes: 200, Delay: time.Millisecond}, 0},
		"open loop":               {Plan{Rate: 20_000}, UpstreamOptions{AnswerBytes: 200}, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.upstream.EchoID, tt.upstream.CheckBody, tt.upstream.Fill = true, true, 'p'
			u := startUpstream(t, tt.upstream)
			tt.plan.Target, tt.plan.Conns, tt.plan.Requests, tt.plan.UniqueIDs = u.Addr(), 8, requests, true
			tt.plan.AnswerFill, tt.plan.AnswerBytes = 'p', tt.upstream.AnswerBytes
			r := run(t, tt.plan)
			s := u.Stats()
			if r.Requests != requests || r.OK != requests || r.Failed() != 0 || r.Stray != 0 {
				t.Errorf("result %+v", r)
			}
			if r.Latency.Count() != requests || r.Throughput <= 0 {
				t.Errorf("%d latencies, %f requests/s", r.Latency.Count(), r.Throughput)
			}
			if s.Requests != requests || s.IDs != r.Sent || s.IDs != r.Answered || s.IDs.Count != requests {
				t.Errorf("upstream saw %+v of sent %+v, answered %+v", s, r.Sent, r.Answered)
			}
			if s.BodyBytes != tt.body || s.BadBodies != 0 || s.BadRequests != 0 || s.Unfinished != 0 {
				t.Errorf("upstream saw %+v, want %d body bytes", s, tt.body)
			}
			wantConns := uint64(8)
			if tt.plan.Close {
				wantConns = requests
			}
			if s.Connections != wantConns {
				t.Errorf("%d connections, want %d", s.Connections, wantConns)
			}
		})
	}
}

// faultyServer answers every connection's first bytes with what answer says,
// and closes.
func faultyServer(t *testing.T, answer func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = c.Read(make([]byte, 4096))
				answer(c)
				_ = c.Close()
			}()
		}
	}()
	return l.Addr().String()
}

func TestErrorsAreToldApart(t *testing.T) {
	t.Parallel()
	says := func(s string) func(net.Conn) {
		return func(c net.Conn) { _, _ = c.Write([]byte(s)) }
	}
	tests := map[string]struct {
		answer func(net.Conn)
		want   string
	}{
		"closed without a word":   {says(""), ErrEOF},
		"cut head":                {says("HTTP/1.1 200 OK\r\nContent-Le"), ErrEOF},
		"cut body":                {says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"), ErrEOF},
		"cut chunk":               {says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"), ErrEOF},
		"not http":                {says("SSH-2.0-x\r\n\r\n"), ErrBadAnswer},
		"chunk size is no number": {says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"), ErrBadAnswer},
		"wrong fill":              {says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nps"), ErrBadAnswer},
		"wrong length":            {says("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nppp"), ErrBadAnswer},
		"another request's id":    {says("HTTP/1.1 200 OK\r\nX-Load-Id: 0000000000000001\r\nContent-Length: 2\r\n\r\npp"), ErrBadAnswer},
		"an answer too many":      {says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nppHTTP/1.1 200 OK\r\n\r\n"), ErrBadAnswer},
		"redirect":                {says("HTTP/1.1 302 Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"), ErrStatus3xx},
		"client's fault":          {says("HTTP/1.1 404 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"), ErrStatus4xx},
		"server's fault":          {says("HTTP/1.1 503 No\r\nConnection: close\r\n\r\nuntil close"), ErrStatus5xx},
		"reset":                   {func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }, ErrReset},
		"silence":                 {func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) }, ErrTimeout},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := run(t, Plan{
				Target: faultyServer(t, tt.answer), Requests: 3, UniqueIDs: true,
				RequestTimeout: 300 * time.Millisecond, AnswerFill: 'p', AnswerBytes: 2,
			})
			if r.Requests != 3 || r.OK != 0 || r.Errors[tt.want] != 3 || len(r.Errors) != 1 {
				t.Errorf("got %d requests, %d ok, errors %v; want 3 × %s", r.Requests, r.OK, r.Errors, tt.want)
			}
			if r.Sent.Count != 3 || r.Answered.Count != 0 {
				t.Errorf("sent %d, answered %d; want 3, 0", r.Sent.Count, r.Answered.Count)
			}
		})
	}
}

func TestRefusedConnectionsAreCounted(t *testing.T) {
	t.Parallel()
	addr, err := FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, Plan{Target: addr, Conns: 2, Requests: 5})
	if r.Errors[ErrConnect] != 5 || r.Failed() != 5 || r.Sent.Count != 0 {
		t.Errorf("errors %v, sent %d; want 5 × connect, none sent", r.Errors, r.Sent.Count)
	}
}

// With one connection and an upstream that takes 100 ms, requests that fall due
// every 10 ms queue up, and each one's wait counts: the third waits for two
// answers. A closed loop would have called them all 100 ms.
func TestOpenLoopCountsFromWhenARequestFellDue(t *testing.T) {
	t.Parallel()
	u := startUpstream(t, UpstreamOptions{Delay: 100 * time.Millisecond})
	r := run(t, Plan{Target: u.Addr(), Conns: 1, Requests: 3, Rate: 100})
	if r.OK != 3 || r.Latency.Max() < 280*time.Millisecond {
		t.Errorf("%d ok, slowest %s; want 3, at least 280ms", r.OK, r.Latency.Max())
	}
}

func TestOpenLoopGivesUpWhatWaitsTooLong(t *testing.T) {
	t.Parallel()
	u := startUpstream(t, UpstreamOptions{Delay: time.Hour})
	r := run(t, Plan{Target: u.Addr(), Conns: 1, Requests: 4, Rate: 1000, RequestTimeout: 100 * time.Millisecond})
	if r.Errors[ErrTimeout] == 0 || r.Errors[ErrUnsent] == 0 || r.Failed() != 4 {
		t.Errorf("errors %v; want timeouts and unsent, 4 together", r.Errors)
	}
	if r.Latency.Count() != 4 {
		t.Errorf("%d latencies; want those of all 4", r.Latency.Count())
	}
}

func TestCancelledRunReturnsWhatItHas(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	addr := faultyServer(t, func(c net.Conn) {
		cancel()
		_, _ = c.Read(make([]byte, 1))
	})
	r, err := Run(ctx, Plan{Target: addr, Duration: time.Hour})
	if !errors.Is(err, context.Canceled) || r == nil || r.Requests != 1 || r.OK != 0 || r.Failed() != 0 {
		t.Errorf("got %+v, %v; want one request without an outcome", r, err)
	}
}

func TestUpstreamAnswersPipelinedRequestsInOrder(t *testing.T) {
	t.Parallel()
	u := startUpstream(t, UpstreamOptions{AnswerBytes: 2, EchoID: true})
	c, err := net.Dial("tcp", u.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Write([]byte("GET /?id=000000000000000a HTTP/1.1\r\nHost: x\r\n\r\n" +
		"POST /?id=000000000000000b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" +
		"POST /?id=000000000000000c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nz\r\n0\r\nA: b\r\n\r\n" +
		"GET /?id=000000000000000d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	b := make([]byte, 4096)
	for n := 0; err == nil; n, err = c.Read(b) {
		got.Write(b[:n])
	}
	one := "HTTP/1.1 200 Fine\r\nContent-Type: application/octet-stream\r\nContent-Length: 2\r\n" + "X-Load-Id: 000000000000000"
	want := one + "a\r\n\r\nxx" + one + "b\r\n\r\nxx" + one + "c\r\n\r\nxx" + one + "d\r\nConnection: close\r\n\r\nxx"
	if got.String() != want {
		t.Errorf("got %q\nwant %q", got.String(), want)
	}
	if s := u.Stats(); s.Requests != 4 || s.BodyBytes != 4 {
		t.Errorf("stats %+v", s)
	}
}

func TestUpstreamCountsWhatWasCutShort(t *testing.T) {
	t.Parallel()
	u := startUpstream(t, UpstreamOptions{})
	for _, s := range []string{"GET / HT", "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab", "nonsense\r\n\r\n"} {
		c, err := net.Dial("tcp", u.Addr())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte(s))
		_ = c.(*net.TCPConn).CloseWrite()
		_, _ = c.Read(make([]byte, 1)) // until the upstream has closed
		_ = c.Close()
	}
	s := u.Stats()
	if s.Requests != 0 || s.Unfinished != 2 || s.BadRequests != 1 || s.BodyBytes != 2 || s.Open != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestProcessesOfTheirOwn(t *testing.T) {
	t.Parallel()
	u, err := StartUpstreamProcess(UpstreamOptions{AnswerBytes: 10, Fill: 'q'})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = u.Stop(time.Second) }()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := RunProcess(ctx, Plan{Target: u.Addr(), Conns: 4, Requests: 20_000, UniqueIDs: true, AnswerFill: 'q'})
	if err != nil {
		t.Fatal(err)
	}
	if r.OK != 20_000 || r.CPU <= 0 || r.Latency.Count() != 20_000 {
		t.Errorf("result %+v", r)
	}
	s, err := u.Drain(ctx, 20_000, time.Minute)
	if err != nil || s.IDs != r.Answered {
		t.Errorf("upstream saw %+v, %v; want %+v", s, err, r.Answered)
	}
	if _, err := u.Reset(); err != nil {
		t.Fatal(err)
	}
	if s, err = u.Stats(); err != nil || s.Requests != 0 || s.IDs != (IDSet{}) {
		t.Errorf("after reset %+v, %v", s, err)
	}
	m, err := u.Memory()
	if err != nil || m.RSS <= 0 || m.PSS <= 0 || m.PSS > m.RSS || m.Peak < m.RSS/2 {
		t.Errorf("memory %+v, %v", m, err)
	}
}

// startShell starts a script and returns when it has printed a line.
func startShell(t *testing.T, script string) *Process {
	t.Helper()
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	never, hold, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hold.Close() })
	cmd := exec.Command("sh", "-c", script)
	cmd.Stdin, cmd.Stdout = never, w
	p, err := StartProcess(cmd)
	_, _ = w.Close(), never.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Stop(0) })
	if _, err := out.Read(make([]byte, 64)); err != nil {
		t.Fatalf("script printed nothing: %v", err)
	}
	return p
}

const work = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; "

func TestCPUOfAProcessTree(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"of a running descendant":          "exec 3<&0; sh -c '" + work + "echo done; read x' <&3 & wait",
		"of a descendant that has ended":   "sh -c '" + work + "'; echo done; read x",
		"of a descendant's own descendant": "sh -c 'sh -c \"" + strings.ReplaceAll(work, "$", "\\$") + "echo done; read x\"; :'; :",
	}
	for name, script := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// The least the loop can take: 300,000 rounds of a shell at a
			// hundred million a second, still more than a bare shell uses.
			p := startShell(t, script)
			user, system, err := p.CPU()
			if err != nil || user+system < 30*time.Millisecond {
				t.Errorf("used %s + %s, %v; want at least 30ms", user, system, err)
			}
			if ran, err := p.RunTime(); err != nil || ran <= 0 || ran > 2*(user+system)+time.Second {
				t.Errorf("ran %s, %v", ran, err)
			}
		})
	}
}

func TestStopKillsWhatIgnoresIt(t *testing.T) {
	t.Parallel()
	p := startShell(t, "trap '' TERM; echo ready; while :; do sleep 1; done")
	if err := p.Stop(50 * time.Millisecond); err == nil {
		t.Error("no error although it had to be killed")
	}
	<-p.Exited()
}

func TestWaitPortSaysWhyAProcessEnded(t *testing.T) {
	t.Parallel()
	addr, err := FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	p, err := StartProcess(exec.Command("sh", "-c", "echo no such file >&2; exit 1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.WaitPort(context.Background(), addr); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("error %v; want what the process printed", err)
	}
}
