package admin

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/understudy-proxy/understudy/internal/analyze"
	"github.com/understudy-proxy/understudy/internal/judge"
)

// fixedCalibrator answers with err, and notes what it was asked.
type fixedCalibrator struct {
	mu    sync.Mutex
	asked []string
	err   error
}

// Calibrate implements Calibrator.
func (f *fixedCalibrator) Calibrate(mirror string) ([]analyze.Calibration, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, "calibrate "+mirror)
	if f.err != nil {
		return nil, f.err
	}
	return []analyze.Calibration{{Mirror: "v3", Route: "shop", Shadow: "v3", Offsets: judge.Offsets{Scale: 1.25, Pairs: 4000}}}, nil
}

// Uncalibrate implements Calibrator.
func (f *fixedCalibrator) Uncalibrate(mirror string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, "uncalibrate "+mirror)
	return f.err
}

// calibratedPairs has one mirror that is calibrated.
type calibratedPairs struct{ fixedPairs }

// Report implements Pairs.
func (c *calibratedPairs) Report() *analyze.Report {
	r := c.fixedPairs.Report()
	r.Mirrors[2].Calibration = &analyze.Calibration{Mirror: "v3"}
	return r
}

func TestCalibrationsAreAnswered(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		path   string
		err    error
		status int
		want   string // part of the answer
		asked  string
	}{
		"one":      {"/api/v1/calibration?mirror=v3", nil, 200, `"scale":1.25`, "calibrate v3"},
		"all":      {"/api/v1/calibration", nil, 200, `"pairs":4000`, "calibrate "},
		"too few":  {"/api/v1/calibration", fmt.Errorf("%w: v3 has 2", analyze.ErrTooFew), 409, `"hint":"wait for more requests"`, "calibrate "},
		"no such":  {"/api/v1/calibration?mirror=v9", nil, 404, `one of: v2, v3`, ""},
		"gone":     {"/api/v1/calibration?mirror=v3", fmt.Errorf("%w: v3", analyze.ErrNoMirror), 404, `/api/v1/report`, "calibrate v3"},
		"broken":   {"/api/v1/calibration", errors.New("no disk"), 500, "no disk", "calibrate "},
		"forget":   {"/api/v1/calibration/reset", nil, 200, `{"mirrors":["v3"]}`, "uncalibrate "},
		"not one":  {"/api/v1/calibration/reset?mirror=v2", nil, 200, `{"mirrors":[]}`, "uncalibrate v2"},
		"no reset": {"/api/v1/calibration/reset?mirror=v9", nil, 404, `one of: v2, v3`, ""},
		"stays":    {"/api/v1/calibration/reset", errors.New("no disk"), 500, "no disk", "uncalibrate "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &fixedCalibrator{err: tt.err}
			o := quiet
			o.Pairs, o.Calibrator = &calibratedPairs{}, c
			s := start(t, newFake(t, plainAdmin), o)
			answer, body := ask(t, s, "POST", tt.path)
			compact := strings.NewReplacer(" ", "", "\n", "")
			if answer.StatusCode != tt.status || !strings.Contains(compact.Replace(body), compact.Replace(tt.want)) {
				t.Errorf("%d %s", answer.StatusCode, body)
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			if got := strings.Join(c.asked, ", "); got != tt.asked {
				t.Errorf("asked %q, want %q", got, tt.asked)
			}
		})
	}
}
