package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/understudy-proxy/understudy/internal/admin"
	"github.com/understudy-proxy/understudy/internal/analyze"
	"github.com/understudy-proxy/understudy/internal/judge"
)

// startCompared runs a proxy whose verdicts need ten pairs.
func startCompared(t *testing.T) *running {
	t.Helper()
	same := func() string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "same") }))
		t.Cleanup(s.Close)
		return strings.TrimPrefix(s.URL, "http://")
	}
	file := filepath.Join(t.TempDir(), "understudy.yaml")
	replace(t, file, fmt.Sprintf(`listeners: [{name: web, address: "127.0.0.1:0", protocol: HTTP}]
routes:
  - name: shop
    rules:
      - backends: [{name: v1}]
        mirrors: [{backend: v2, compare: {judge: {pairs: 10}}}]
backends:
  - {name: v1, endpoints: [%q]}
  - {name: v2, endpoints: [%q]}
admin: {address: "127.0.0.1:0"}
`, same(), same()))
	return start(t, "-c", file)
}

func TestCalibrateMeasuresARunningProxy(t *testing.T) {
	t.Parallel()
	r := startCompared(t)
	visiting, leave := context.WithCancel(t.Context())
	left := make(chan struct{})
	go func() {
		defer close(left)
		for visiting.Err() == nil {
			tryGet(r.base + "/page")
		}
	}()
	t.Cleanup(func() { leave(); <-left })
	// How many requests fit into a second is the machine's affair.
	var out, errOut *buffer
	code := ExitTooFew
	for length := time.Second; code == ExitTooFew && length < patience; length *= 2 {
		var s *Streams
		s, out, errOut = testStreams()
		code = Main(t.Context(), []string{"calibrate", "--admin", r.admin, "--mirror", "v2", "--for", length.String(), "-o", "json"}, s)
	}
	var said admin.Calibrations
	if err := json.Unmarshal([]byte(out.String()), &said); code != 0 || err != nil || len(said.Calibrations) != 1 || said.Calibrations[0].Offsets.Pairs < 10 {
		t.Fatalf("exit code %d, %v: %s%s", code, err, out, errOut)
	}
	if _, body := get(t, "http://"+r.admin+"/api/v1/report"); !strings.Contains(body, `"calibration"`) {
		t.Errorf("the report does not show it: %s", body)
	}
	for _, want := range []string{"no longer calibrated: v2\n", "nothing was calibrated\n"} {
		s, out, errOut := testStreams()
		if code := Main(t.Context(), []string{"calibrate", "--admin", r.admin, "--forget"}, s); code != 0 || out.String() != want {
			t.Errorf("exit code %d: %s%s", code, out, errOut)
		}
	}
}

func TestCalibrateWithoutTrafficSaysSo(t *testing.T) {
	t.Parallel()
	r := startCompared(t)
	s, out, errOut := testStreams()
	code := Main(t.Context(), []string{"calibrate", "--admin", r.admin, "--for", "10ms"}, s)
	if code != ExitTooFew || out.String() != "" || !strings.Contains(errOut.String(), "nothing is calibrated: ") || !strings.Contains(errOut.String(), "has 0, 10 are needed") {
		t.Errorf("exit code %d: %s%s", code, out, errOut)
	}
}

func TestCalibrateCanBeCalledOff(t *testing.T) {
	t.Parallel()
	r := startCompared(t)
	ctx, cancel := context.WithCancel(t.Context())
	s, _, _ := testStreams()
	s.ErrIsTerminal = true
	errOut := newTranscript()
	s.Err = errOut
	code := make(chan int, 1)
	go func() { code <- Main(ctx, []string{"calibrate", "--admin", r.admin}, s) }()
	errOut.await(t, `\r\x1b\[K\d+s of 10m0s: v2 0 pairs`)
	cancel()
	if got := <-code; got != ExitNo {
		t.Errorf("exit code %d", got)
	}
	errOut.await(t, `called off, nothing is calibrated`)
	if _, body := get(t, "http://"+r.admin+"/api/v1/report"); strings.Contains(body, `"calibration"`) {
		t.Errorf("it is calibrated: %s", body)
	}
}

func TestCalibrateNeedsAMirrorThatCompares(t *testing.T) {
	t.Parallel()
	r := startCompared(t)
	s, _, errOut := testStreams()
	if code := Main(t.Context(), []string{"calibrate", "--admin", r.admin, "--mirror", "v9"}, s); code != ExitNo || !strings.Contains(errOut.String(), "one of: v2") {
		t.Errorf("exit code %d: %s", code, errOut)
	}
	s, _, errOut = testStreams()
	if code := Main(t.Context(), []string{"calibrate", "--for", "0s"}, s); code != ExitUsage {
		t.Errorf("exit code %d: %s", code, errOut)
	}
}

func TestCalibrationsArePrinted(t *testing.T) {
	t.Parallel()
	s, out, _ := testStreams()
	printTables(s, []*table{calibrationTable([]analyze.Calibration{
		{Mirror: "v2", Route: "shop", Offsets: judge.Offsets{Latency: 1500 * time.Microsecond, Scale: 1.25, Mismatch: 0.002, Pairs: 4000}},
		{Mirror: "v3", Route: "shop", Offsets: judge.Offsets{Latency: -2 * time.Millisecond, Scale: 1, MismatchLow: 0.05, Mismatch: 0.07, Pairs: 400}},
	})})
	want := "ROUTE\tMIRROR\tPAIRS\tLATENCY\tSCALE\tDIFFERING\tREMARK\n" +
		"shop\tv2\t4000\t+1.50 ms\tx 1.250\t0.00 to 0.20 %\t\n" +
		"shop\tv3\t400\t-2.00 ms\tx 1.000\t5.00 to 7.00 %\tmany answers of one version differ: 'understudy diffs' shows where, and rules in compare: may tell noise\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
