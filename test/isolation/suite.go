//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/understudy-proxy/understudy/test/isolation/books"
	"github.com/understudy-proxy/understudy/test/isolation/peers"
	"github.com/understudy-proxy/understudy/test/isolation/shadow"
	"github.com/understudy-proxy/understudy/test/load"
)

// suite is one run against one proxy.
type suite struct {
	recipe   recipe
	rounds   int
	duration time.Duration // of one round
	targets  targets
	dir      string          // scratch
	progress io.Writer       // one line per cell
	protocol *peers.Protocol // what is spoken; nil = HTTP/1.1

	primary, healthy backend
}

// backend answers as the primary or as the healthy shadow.
type backend interface {
	Addr() string
	Stats() (load.UpstreamStats, error)
	Stop(grace time.Duration) error
}

// run measures the given shadows (healthyShadow or a shadow.Kind) under the
// given loads.
func (s *suite) run(ctx context.Context, shadows []string, kinds []kindOfLoad) (*result, error) {
	r := &result{Proxy: s.recipe.name, Started: time.Now(), Rounds: s.rounds, Round: s.duration, Targets: s.targets}
	watch := watchMachine()
	var err error
	if r.Cells, err = s.cells(ctx, shadows, kinds); err != nil {
		return nil, err
	}
	r.Took = time.Since(r.Started)
	r.Machine = watch()
	return r, nil
}

func (s *suite) cells(ctx context.Context, shadows []string, kinds []kindOfLoad) ([]cell, error) {
	var err error
	if s.dir, err = os.MkdirTemp("", "isolation-"); err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(s.dir) }()
	for fill, up := range map[byte]*backend{primaryFill: &s.primary, shadowFill: &s.healthy} {
		if *up, err = s.answer(fill); err != nil {
			return nil, err
		}
		defer func() { _ = (*up).Stop(time.Second) }()
	}
	var list []cell
	for _, name := range shadows {
		for _, k := range kinds {
			c, err := s.cell(ctx, name, k)
			if err != nil {
				return nil, fmt.Errorf("%s under %s: %w", name, k.name, err)
			}
			c.Verdict = s.targets.judge(*c)
			list = append(list, *c)
			_, _ = fmt.Fprintln(s.progress, progressLine(s.recipe.name, *c))
		}
	}
	return list, nil
}

// answer starts a backend that answers everything.
func (s *suite) answer(fill byte) (backend, error) {
	if s.protocol != nil {
		return s.protocol.Answer(fill)
	}
	return load.StartUpstreamProcess(load.UpstreamOptions{AnswerBytes: answerBytes, Fill: fill, EchoID: true, CheckBody: true})
}

// cell measures one shadow under one load.
func (s *suite) cell(ctx context.Context, name string, k kindOfLoad) (*cell, error) {
	bad, stop, err := s.shadow(name)
	if err != nil {
		return nil, err
	}
	defer stop()
	var modes [3]*trial // off, healthy, bad
	defer func() {
		var all sync.WaitGroup
		for _, m := range modes {
			if m != nil {
				all.Go(func() { _ = m.proxy.Stop(2 * time.Second) }) // killed then; the measurement is over
			}
		}
		all.Wait()
	}()
	for i, address := range []string{"", s.healthy.Addr(), bad} {
		p, err := s.recipe.start(ctx, s.dir, s.primary.Addr(), address)
		if err != nil {
			return nil, err
		}
		modes[i] = &trial{suite: s, load: k, proxy: p, other: k.unasked}
	}
	c := &cell{Shadow: name, Load: k.name}
	before, err := s.damage()
	if err != nil {
		return nil, err
	}
	if k.alone {
		// Now, while no breaker has seen a failure: later there may be no copy to wait for.
		if c.Uploads, err = timeUploads(ctx, modes[1], modes[2]); err != nil {
			return nil, err
		}
	}
	for i := range s.rounds {
		for j := range modes {
			if err := modes[(i+j)%len(modes)].round(ctx); err != nil {
				return nil, err
			}
		}
	}
	after, err := s.damage()
	if err != nil {
		return nil, err
	}
	c.Damaged = after.since(before)
	for i, m := range []*mode{&c.Off, &c.Healthy, &c.Bad} {
		*m = modes[i].finish(ctx)
	}
	return c, nil
}

// shadow gives the address of the shadow under test and what stops it.
func (s *suite) shadow(name string) (address string, stop func(), err error) {
	if name == healthyShadow {
		return s.healthy.Addr(), func() {}, nil
	}
	if s.protocol != nil {
		bad, err := s.protocol.Misbehave(name)
		if err != nil {
			return "", nil, err
		}
		return bad.Addr(), func() { _ = bad.Stop(time.Second) }, nil
	}
	bad, err := shadow.Start(shadow.Kind(name))
	if err != nil {
		return "", nil, err
	}
	return bad.Addr(), func() { _ = bad.Close() }, nil
}

// damage counts what arrived other than it was sent.
type damage struct{ primaryRequests, primaryBodies, shadowRequests, shadowBodies uint64 }

func (s *suite) damage() (damage, error) {
	p, err1 := s.primary.Stats()
	h, err2 := s.healthy.Stats()
	return damage{p.BadRequests, p.BadBodies, h.BadRequests, h.BadBodies}, errors.Join(err1, err2)
}

func (d damage) since(before damage) []string {
	var list []string
	for _, n := range []struct {
		count uint64
		what  string
	}{
		{d.primaryRequests - before.primaryRequests, "malformed requests at the primary"},
		{d.primaryBodies - before.primaryBodies, "damaged bodies at the primary"},
		{d.shadowRequests - before.shadowRequests, "malformed copies at the healthy shadow"},
		{d.shadowBodies - before.shadowBodies, "damaged copies at the healthy shadow"},
	} {
		if n.count > 0 {
			list = append(list, fmt.Sprintf("%d %s", n.count, n.what))
		}
	}
	return list
}

// trial is one proxy process in one cell, and what it did so far.
type trial struct {
	suite *suite
	load  kindOfLoad
	proxy *instance
	mode  mode
	other uint64 // live requests outside of rounds
	seen  uint64 // copies at the healthy shadow
}

// round runs the load once.
func (t *trial) round(ctx context.Context) error {
	arrived, err := t.suite.healthy.Stats()
	if err != nil {
		return err
	}
	reading, stop := context.WithCancel(ctx)
	var audits sync.WaitGroup
	audits.Go(func() { t.auditDuring(reading) })
	r, err := t.load.run(ctx, t.proxy.Listen, t.suite.duration)
	stop()
	audits.Wait()
	if err != nil {
		return err
	}
	t.mode.Rounds = append(t.mode.Rounds, newRound(r, t.load.paced))
	t.proxy.settle()
	t.audit(ctx)
	now, err := t.suite.healthy.Stats()
	t.seen += now.Requests - arrived.Requests
	return err
}

// timeUploads runs five uploads with each proxy.
func timeUploads(ctx context.Context, healthy, bad *trial) (*uploads, error) {
	const n = 5
	u := &uploads{}
	for t, times := range map[*trial]*times{healthy: &u.Healthy, bad: &u.Bad} {
		r, err := load.RunProcess(ctx, single(t.proxy.Listen, n))
		if err != nil {
			return nil, err
		}
		t.other += r.Requests
		times.Median, times.Slowest = r.Latency.Quantile(0.5), r.Latency.Max()
		u.Errors += r.Failed() + r.Stray
	}
	return u, nil
}

// auditDuring reads the books twice while the load runs.
func (t *trial) auditDuring(ctx context.Context) {
	for range 2 {
		select {
		case <-time.After(t.suite.duration / 3):
			t.audit(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// audit reads the books, if the proxy keeps any, and notes what is wrong.
func (t *trial) audit(ctx context.Context) {
	if !t.proxy.books {
		return
	}
	accounts, err := readBooks(ctx, t.proxy.Admin)
	if ctx.Err() != nil {
		return
	}
	t.mode.Checked++
	if err != nil {
		t.unsound(err)
		return
	}
	for _, a := range accounts {
		t.unsound(a.Check())
	}
	t.mode.Accounts = accounts
}

// unsound notes an error, if it is one. A few tell as much as a thousand.
func (t *trial) unsound(err error) {
	if err != nil && len(t.mode.Unsound) < 3 {
		t.mode.Unsound = append(t.mode.Unsound, err.Error())
	}
}

// finish looks at the proxy for the last time.
func (t *trial) finish(ctx context.Context) mode {
	if err := t.proxy.ended(); err != nil {
		t.mode.Ended = err.Error()
		return t.mode
	}
	if m, err := t.proxy.Memory(); err == nil {
		t.mode.Peak = m.Peak
	}
	if t.proxy.Shadow == t.suite.healthy.Addr() {
		t.mode.Copied = ratio(float64(t.seen), float64(t.mode.requests()))
	}
	t.audit(ctx)
	if t.proxy.books && !t.proxy.connections {
		t.unsound(reconcile(t.mode, t.proxy.Mirror, t.mode.requests()+t.other))
	}
	return t.mode
}

// reconcile compares the books with what clients sent: every live request was
// either selected or skipped by the one mirror there is. Books that balance
// because nothing was entered prove nothing.
func reconcile(m mode, mirrored bool, sent uint64) error {
	var selected, skipped int64
	for _, a := range m.Accounts {
		selected += a.Selected
		skipped += books.Sum(a.Skipped)
	}
	switch {
	case !mirrored && selected != 0:
		return fmt.Errorf("books: %d copies selected with mirroring off", selected)
	case mirrored && m.errors() == 0 && selected+skipped != int64(sent):
		return fmt.Errorf("books: %d live requests, but %d selected + %d skipped", sent, selected, skipped)
	}
	return nil
}

// readBooks asks a proxy for its books.
func readBooks(ctx context.Context, admin string) ([]books.Account, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("read books: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("read books: %s", answer.Status)
	}
	return books.Parse(answer.Body)
}
