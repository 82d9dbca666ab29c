package cli

import (
	"testing"

	"github.com/understudy-proxy/understudy/internal/analyze"
)

func TestPortions(t *testing.T) {
	t.Parallel()
	for share, want := range map[float64]string{
		0: "0 %", 1: "100 %", 0.5: "50 %", 0.123: "12 %", 0.00123: "0.12 %", 0.0000012: "0.0001 %", -0.0036: "-0.36 %",
		0.994: "99 %", 0.9957: "99.6 %", 0.99996: "99.996 %", 0.99999999: "100 %",
	} {
		if got := portion(share); got != want {
			t.Errorf("portion(%v) = %s, want %s", share, got, want)
		}
	}
}

// What people read says why; programs get the names.
func TestLostTextSaysWhy(t *testing.T) {
	t.Parallel()
	for want, lost := range map[string]map[string]int64{
		"": {"queue": 0},
		"Not looked at: 3 because too many were held already.":                                                                                  {"learning": 3},
		"Not looked at: 1 because comparing may use no more cpu, 2 new. Give capture a longer queue or more cpu, or compare a smaller percent.": {"cpu": 1, "new": 2},
	} {
		if got := lostText(lost); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// A latency that was not measured is not 0.
func TestLatenciesThatWereNotMeasuredAreLeftOut(t *testing.T) {
	t.Parallel()
	r := reports()["fail"]
	r.Mirrors[0].Endpoints = append(r.Mirrors[0].Endpoints, analyze.EndpointReport{Endpoint: "GET /never"})
	for _, row := range reportTables(r)[2].rows {
		if row[1].text == "GET /never" {
			t.Errorf("there is a row %v", row)
		}
	}
}
