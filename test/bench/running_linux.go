package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/understudy-proxy/understudy/test/load"
)

// startLimit bounds how long a proxy may take to listen, stopLimit how long to
// end after SIGTERM.
const (
	startLimit = 30 * time.Second
	stopLimit  = 10 * time.Second
)

// running is a proxy at work; for the contestant direct it has no process.
type running struct {
	place   *place
	target  string // where load goes
	process *load.Process
	file    string // of its configuration
}

// bench is what measurements share.
type bench struct {
	options  options
	programs map[string]string
	log      func(format string, args ...any)
}

// start puts a proxy between load and upstreams and waits until it listens.
func (b *bench) start(ctx context.Context, c contestant, u upstreams) (*running, error) {
	return b.startAs(ctx, c, u, func(p *place) (string, error) { return p.render() }, nil)
}

// startAs is start with a configuration of the caller's, and a last change to
// the command, if that is not nil.
func (b *bench) startAs(ctx context.Context, c contestant, u upstreams, render func(*place) (string, error), change func(*exec.Cmd)) (*running, error) {
	if c.Program == "" {
		return &running{target: u.primary}, nil
	}
	p, err := newPlace(c, b.programs[c.Program], u)
	if err != nil {
		return nil, err
	}
	r := &running{place: p, target: p.Listen}
	conf, err := render(p)
	if err == nil {
		r.file, err = p.write(conf)
	}
	if err == nil && c.Wire.TLS {
		err = p.certify()
	}
	if err == nil {
		cmd := p.command(r.file)
		if change != nil {
			change(cmd)
		}
		r.process, err = load.StartProcess(cmd)
	}
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, startLimit)
		defer cancel()
		err = r.process.WaitPort(ctx, r.target)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", c.Name, err), r.stop())
	}
	return r, nil
}

// stop ends the proxy and removes what it left.
func (r *running) stop() error {
	var err error
	if r.process != nil {
		err = r.process.Stop(stopLimit)
	}
	if r.place != nil {
		err = errors.Join(err, os.RemoveAll(r.place.Dir))
	}
	return err
}

// cpu is what the proxy has used so far.
func (r *running) cpu() (user, system time.Duration, err error) {
	if r.process == nil {
		return 0, 0, nil
	}
	return r.process.CPU()
}

// certify gives a place a certificate for its listener, of the kind that is
// fast: ECDSA on P-256.
func (p *place) certify() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{host}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name, kind string
		bytes      []byte
	}{{"cert.pem", "CERTIFICATE", cert}, {"key.pem", "PRIVATE KEY", private}} {
		text := pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: f.bytes})
		if err := os.WriteFile(filepath.Join(p.Dir, f.name), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// stage is a set of upstream processes for one workload.
type stage struct{ primary, shadow, bare *load.UpstreamProcess }

func openStage(w workload) (*stage, error) {
	answer, grpc := w.Answer, w.Wire.GRPC
	shadow := load.UpstreamOptions{AnswerBytes: answer, Fill: 's', CheckBody: true, GRPC: grpc}
	if w.Same {
		shadow.Fill, shadow.EchoID = 'p', true
	}
	s := &stage{}
	for _, u := range []struct {
		process **load.UpstreamProcess
		options load.UpstreamOptions
	}{
		{&s.primary, load.UpstreamOptions{AnswerBytes: answer, Fill: 'p', EchoID: true, CheckBody: true, GRPC: grpc}},
		{&s.shadow, shadow},
		{&s.bare, load.UpstreamOptions{NoBody: true, CheckBody: true}},
	} {
		p, err := load.StartUpstreamProcess(u.options)
		if err != nil {
			return nil, errors.Join(err, s.close())
		}
		*u.process = p
	}
	return s, nil
}

func (s *stage) close() error {
	var err error
	for _, u := range []*load.UpstreamProcess{s.primary, s.shadow, s.bare} {
		if u != nil {
			err = errors.Join(err, u.Stop(stopLimit))
		}
	}
	return err
}

// reset sets the counts of all upstreams to zero.
func (s *stage) reset() error {
	for _, u := range []*load.UpstreamProcess{s.primary, s.shadow, s.bare} {
		if _, err := u.Reset(); err != nil {
			return err
		}
	}
	return nil
}

// shadowOf is the upstream that gets c's copies.
func (s *stage) shadowOf(c contestant) *load.UpstreamProcess {
	if c.Bare {
		return s.bare
	}
	return s.shadow
}

func (s *stage) upstreams(c contestant) upstreams {
	return upstreams{primary: s.primary.Addr(), shadow: s.shadowOf(c).Addr()}
}

// cpu is what the upstreams have used so far.
func (s *stage) cpu() (time.Duration, error) {
	var sum time.Duration
	for _, u := range []*load.UpstreamProcess{s.primary, s.shadow, s.bare} {
		user, system, err := u.CPU()
		if err != nil {
			return 0, err
		}
		sum += user + system
	}
	return sum, nil
}
