package analyze

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/understudy-proxy/understudy/internal/config"
	"github.com/understudy-proxy/understudy/internal/store"
	kept "github.com/understudy-proxy/understudy/internal/store/memory"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

// calibrated is a pipeline that has seen so many pairs in which the shadow took
// twice as long as the primary and a millisecond.
func calibrated(t *testing.T, pairs int, disk store.Store) *Pipeline {
	t.Helper()
	cfg, err := config.Quick(config.QuickOptions{Listen: "127.0.0.1:0", Primary: "127.0.0.1:1", Shadow: "127.0.0.1:2"})
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(cfg, Options{Offline: true, Store: disk})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(t.Context()) })
	observe(t, p, pairs)
	return p
}

func observe(t *testing.T, p *Pipeline, pairs int) {
	t.Helper()
	message := func(head string) *traffic.Message {
		return &traffic.Message{Head: []byte(head), Body: []byte("same"), Length: 4, Whole: true}
	}
	const answer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
	begun := time.Now()
	for i := range pairs {
		took := time.Duration(5+i%40) * time.Millisecond
		x := &traffic.Exchange{
			ID: fmt.Sprint(i), Start: begun.Add(time.Duration(i) * time.Second), Route: "default", Method: "GET", Path: "/a", Status: 200,
			Request: message("GET /a HTTP/1.1\r\n"),
			Primary: traffic.Outcome{Backend: "primary", Status: 200, First: took, End: took, Answer: message(answer)},
			Copies: []traffic.Outcome{{
				Backend: "shadow", Mirror: "shadow", Fate: traffic.Completed, Status: 200, First: 2*took + time.Millisecond, End: time.Second,
				Compare: true, Answer: message(answer),
			}},
		}
		if !p.Offer(x) {
			t.Fatal("a pair is refused")
		}
	}
	if err := p.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestACalibrationIsWhatVerdictsAllowForFromThenOn(t *testing.T) {
	t.Parallel()
	p := calibrated(t, 400, nil)
	measured, err := p.Calibrate("shadow")
	if err != nil || len(measured) != 1 {
		t.Fatalf("%+v, %v", measured, err)
	}
	o := measured[0].Offsets
	if o.Pairs != 400 || math.Abs(o.Scale-2) > 0.1 || o.Latency < -time.Millisecond || o.Latency > 3*time.Millisecond {
		t.Errorf("offsets %+v", o)
	}
	report := p.Report().Mirrors[0]
	if report.Pairs != 0 || report.Calibration == nil || report.Calibration.Offsets != o {
		t.Errorf("after it: %+v", report)
	}
	// The same behaviour is now no slower; without the calibration it is.
	observe(t, p, 400)
	if v := p.Report().Verdict; v == "FAIL" {
		t.Errorf("verdict with the calibration: %s %v", v, p.Report().Mirrors[0].Reasons)
	}
	if err := p.Uncalibrate(""); err != nil {
		t.Fatal(err)
	}
	observe(t, p, 400)
	report = p.Report().Mirrors[0]
	if report.Verdict != "FAIL" || report.Calibration != nil || report.Pairs != 400 {
		t.Errorf("without it: %s with %d pairs, %+v", report.Verdict, report.Pairs, report.Calibration)
	}
}

func TestACalibrationOutlivesAnotherConfigurationOfTheMirror(t *testing.T) {
	t.Parallel()
	p := calibrated(t, 400, nil)
	if _, err := p.Calibrate(""); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Quick(config.QuickOptions{Listen: "127.0.0.1:0", Primary: "127.0.0.1:1", Shadow: "127.0.0.1:3"})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Apply(cfg); err != nil {
		t.Fatal(err)
	}
	if c := p.Report().Mirrors[0].Calibration; c == nil || c.Offsets.Pairs != 400 {
		t.Errorf("calibration %+v", c)
	}
}

func TestACalibrationOutlivesARestart(t *testing.T) {
	t.Parallel()
	disk := kept.New()
	before := calibrated(t, 400, disk)
	measured, err := before.Calibrate("shadow")
	if err != nil {
		t.Fatal(err)
	}
	observe(t, before, 20)
	if err := before.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := calibrated(t, 5, disk)
	r := after.Report().Mirrors[0]
	if r.Calibration == nil || r.Calibration.Offsets != measured[0].Offsets || r.Pairs != 25 {
		t.Errorf("after the restart: %d pairs, %+v", r.Pairs, r.Calibration)
	}
	if err := after.Uncalibrate("shadow"); err != nil {
		t.Fatal(err)
	}
	if err := after.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := calibrated(t, 5, disk).Report().Mirrors[0]; r.Calibration != nil || r.Pairs != 5 {
		t.Errorf("after it was forgotten: %d pairs, %+v", r.Pairs, r.Calibration)
	}
}

func TestWhatCannotBeCalibratedChangesNothing(t *testing.T) {
	t.Parallel()
	p := calibrated(t, 299, nil)
	if _, err := p.Calibrate("shadow"); !errors.Is(err, ErrTooFew) {
		t.Errorf("too few: %v", err)
	}
	if _, err := p.Calibrate("other"); !errors.Is(err, ErrNoMirror) {
		t.Errorf("another name: %v", err)
	}
	if r := p.Report().Mirrors[0]; r.Pairs != 299 || r.Calibration != nil {
		t.Errorf("report %+v", r)
	}
}
