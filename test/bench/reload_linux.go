package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/understudy-proxy/understudy/test/load"
)

// reloads is what became of live requests while a large configuration was
// replaced again and again.
type reloads struct {
	Rules    int               `json:"rules"`
	Times    []float64         `json:"seconds"` // from SIGHUP until in force
	Rate     float64           `json:"rate"`    // of the load, requests/s
	Requests uint64            `json:"requests"`
	Errors   map[string]uint64 `json:"errors"`
	P99      float64           `json:"p99_us"`
	Max      float64           `json:"max_us"`
	CalmP99  float64           `json:"calm_p99_us"` // the same load without reloads
	CalmMax  float64           `json:"calm_max_us"`
}

// reloadTimes is how often the configuration is replaced.
const reloadTimes = 5

// reload keeps a steady load on the last of many rules while the file is
// rewritten and SIGHUP sent.
func (b *bench) reload(ctx context.Context) (out *reloads, err error) {
	st, err := openStage(workload{Answer: 200})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	generation := 0
	render := func(p *place) (string, error) { return manyRules(p, b.options.rules, generation), nil }
	c := contestantOf(ours100)
	r, err := b.startAs(ctx, c, st.upstreams(c), render, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.stop()) }()

	p := b.plan(workload{Answer: 200, Open: true}, r.target)
	p.Path = b.lastRule()
	calm, err := load.RunProcess(ctx, p)
	if err != nil {
		return nil, err
	}
	out = &reloads{Rules: b.options.rules, Rate: b.options.rate, CalmP99: micros(calm.Latency.Quantile(0.99)), CalmMax: micros(calm.Latency.Max())}

	p.Duration = time.Hour // until cancelled
	loaded := make(chan *load.Result, 1)
	loading, done := context.WithCancel(ctx)
	defer done()
	var loadErr error
	go func() {
		var result *load.Result
		result, loadErr = load.RunProcess(loading, p)
		loaded <- result
	}()
	for generation = 1; generation <= reloadTimes; generation++ {
		took, err := b.reloadOnce(ctx, r, generation)
		if err != nil {
			return nil, err
		}
		b.log("reload %d of %d rules: in force after %s", generation, b.options.rules, took.Round(time.Millisecond))
		out.Times = append(out.Times, took.Seconds())
	}
	done()
	result := <-loaded
	if result == nil {
		return nil, loadErr
	}
	out.Requests, out.Errors = result.Requests, result.Errors
	out.P99, out.Max = micros(result.Latency.Quantile(0.99)), micros(result.Latency.Max())
	return out, nil
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// reloadOnce replaces the file, signals, and waits until answers show that the
// new rules are in force.
func (b *bench) reloadOnce(ctx context.Context, r *running, generation int) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := pause(ctx, b.options.time/4); err != nil {
		return 0, err
	}
	if _, err := r.place.write(manyRules(r.place, b.options.rules, generation)); err != nil {
		return 0, err
	}
	start := time.Now()
	if err := r.process.Signal(syscall.SIGHUP); err != nil {
		return 0, err
	}
	for {
		now, err := generationInForce(ctx, r.target, b.lastRule())
		if err != nil {
			return 0, fmt.Errorf("wait for generation %d: %w\n%s", generation, err, r.process.Output())
		}
		if now == strconv.Itoa(generation) {
			return time.Since(start), nil
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return 0, fmt.Errorf("generation %d is not in force: %w\n%s", generation, err, r.process.Output())
		}
	}
}

// lastRule is a path that only the last rule matches.
func (b *bench) lastRule() string { return fmt.Sprintf("/r/%d/x", b.options.rules-1) }

// generationInForce asks the way a client would, which costs the proxy no more
// than one request.
func generationInForce(ctx context.Context, target, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+target+path, nil)
	if err != nil {
		return "", err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answers %s", req.URL, resp.Status)
	}
	return resp.Header.Get("X-Generation"), nil
}

// manyRules is a configuration of n rules of one route, all with a mirror,
// that differs from generation to generation in every rule.
func manyRules(p *place, n, generation int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "listeners:\n  - {name: web, address: %q, protocol: HTTP}\n", p.Listen)
	b.WriteString("routes:\n  - name: many\n    listeners: [web]\n    rules:\n")
	for i := range n {
		fmt.Fprintf(&b, "      - matches: [{path: {type: PathPrefix, value: /r/%d}}]\n", i)
		fmt.Fprintf(&b, "        responseHeaders: {set: [{name: x-generation, value: \"%d\"}]}\n", generation)
		b.WriteString("        backends: [{name: primary}]\n        mirrors: [{backend: shadow}]\n")
	}
	fmt.Fprintf(&b, "backends:\n  - {name: primary, endpoints: [%q]}\n  - {name: shadow, endpoints: [%q]}\n", p.Primary, p.Shadow)
	fmt.Fprintf(&b, "admin: {address: %q}\n", p.Admin)
	return b.String()
}

func (r *reloads) write(b *reportText) {
	b.line("\n## Reload under load\n")
	b.line("A configuration of %d rules is replaced by one that differs in every rule, %d times, while %g requests/s in open loop hit the last rule. Target: no failed request.\n", r.Rules, len(r.Times), r.Rate)
	took := spreadOf(r.Times)
	failed := uint64(0)
	for _, n := range r.Errors {
		failed += n
	}
	t := newTable(&b.Builder, "requests", "failed", "in force after s", "p99 µs (calm)", "slowest µs (calm)", "target")
	t.row(fmt.Sprint(r.Requests), fmt.Sprint(failed), took.format(2), fmt.Sprintf("%.0f (%.0f)", r.P99, r.CalmP99),
		fmt.Sprintf("%.0f (%.0f)", r.Max, r.CalmMax), verdictOf(ours100, failed == 0 && r.Requests > 0))
}
