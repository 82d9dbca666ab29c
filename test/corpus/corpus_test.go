package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"reflect"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/understudy-proxy/understudy/internal/demo"
	"github.com/understudy-proxy/understudy/internal/judge"
	"github.com/understudy-proxy/understudy/internal/traffic"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The values are those of R's binom.test.
func TestIntervalIsClopperAndPearsons(t *testing.T) {
	for _, c := range []struct {
		k, n      int
		low, high float64
	}{
		{0, 200, 0, 0.01828},
		{1, 200, 0.000127, 0.02754},
		{10, 200, 0.02424, 0.09003},
		{200, 200, 0.98172, 1},
	} {
		low, high := interval(c.k, c.n)
		if math.Abs(low-c.low) > 5e-5 || math.Abs(high-c.high) > 5e-5 {
			t.Errorf("interval(%d, %d) is %.5f to %.5f, want %.5f to %.5f", c.k, c.n, low, high, c.low, c.high)
		}
	}
}

func answered(mirror, body string) traffic.Outcome {
	return traffic.Outcome{Mirror: mirror, Status: 200, Answer: &traffic.Message{Head: []byte("HTTP/1.1 200 OK\r\nServer: x\r\n"), Body: []byte(body), Whole: true}}
}

// What Diffy's documentation says of its rule, in numbers.
func TestDiffysRule(t *testing.T) {
	for _, c := range []struct {
		name                       string
		candidate, secondary       string // what differs from {"a":1,"l":[1,2]}
		times, raw, noise, ofTotal int
		want                       string
	}{
		{"no difference", `{"a":1,"l":[1,2]}`, `{"a":1,"l":[1,2]}`, 1, 10, 0, 1000, ""},
		{"a value", `{"a":2,"l":[1,2]}`, `{"a":1,"l":[1,2]}`, 1, 1, 0, 1000, ".body.a value"},
		{"too few of all", `{"a":2,"l":[1,2]}`, `{"a":1,"l":[1,2]}`, 1, 1, 0, 4000, ""},
		{"as much noise", `{"a":2,"l":[1,2]}`, `{"a":3,"l":[1,2]}`, 1, 10, 10, 1000, ""},
		{"order", `{"a":1,"l":[2,1]}`, `{"a":1,"l":[1,2]}`, 1, 1, 0, 100, ".body.l order"},
		{"size", `{"a":1,"l":[1,2,3]}`, `{"a":1,"l":[1,2]}`, 1, 1, 0, 100, ".body.l size"},
		{"missing", `{"l":[1,2]}`, `{"a":1,"l":[1,2]}`, 1, 1, 0, 100, ".body.a missing"},
		{"another type", `{"a":"1","l":[1,2]}`, `{"a":1,"l":[1,2]}`, 1, 1, 0, 100, ".body.a type"},
	} {
		d := newDiffy()
		const same = `{"a":1,"l":[1,2]}`
		for i := range c.ofTotal {
			x := &traffic.Exchange{Method: "GET", Path: "/x", Primary: answered("", same), Copies: []traffic.Outcome{answered("shadow", same), answered("second", same)}}
			if i < c.raw {
				x.Copies[0] = answered("shadow", c.candidate)
			}
			if i < c.noise {
				x.Copies[1] = answered("second", c.secondary)
			}
			d.offer(x)
		}
		d.close()
		var got []string
		for _, p := range d.shown() {
			got = append(got, p.path+" "+p.kind)
		}
		if fmt.Sprint(got) != "["+c.want+"]" {
			t.Errorf("%s: shows %v, want %s", c.name, got, c.want)
		}
	}
}

// A fault that changes nothing would be one that nobody can find.
func TestFaultsChangeAnswers(t *testing.T) {
	shop, err := demo.OpenShop(demo.Classic)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(shop.Close)
	dice := rand.New(rand.NewPCG(7, 7))
	for _, f := range faults() {
		if f.call != nil || f.slow != nil {
			continue // seen by callers only
		}
		v := &version{name: "v2", serve: serve(shop), fault: f, dice: dice}
		hits, changes := 0, 0
		for range 800 {
			r, err := request(dice, "http://shop", f.endpoint)
			if err != nil {
				t.Fatal(err)
			}
			if !f.hits(r) {
				continue
			}
			hits++
			rec := &recorder{answer: answer{status: http.StatusOK, header: http.Header{}}}
			v.serve.ServeHTTP(rec, r)
			spoil := f.spoil
			if f.spoilLate != nil {
				v.noise(r, &rec.answer)
				spoil = f.spoilLate
			}
			before := answer{status: rec.status, header: rec.header.Clone(), body: slices.Clone(rec.body)}
			if spoil(v, r, &rec.answer); !same(before, rec.answer) {
				changes++
			}
		}
		if hits < 10 || changes == 0 {
			t.Errorf("%s: met by %d requests of 800, changes %d answers", f.name, hits, changes)
		}
	}
}

// same compares without the order of members.
func same(a, b answer) bool {
	return a.status == b.status && a.abort == b.abort && reflect.DeepEqual(a.header, b.header) && reflect.DeepEqual(read(a.body), read(b.body))
}

// read is one value of JSON with its numbers as text, or else the text itself.
func read(body []byte) any {
	var v any
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if d.Decode(&v) != nil || d.More() {
		return string(body)
	}
	return v
}

// TestFaultsAreFoundAndNothingElse plays a few runs of the corpus. All of them are
// seeded; what is left to chance is the order in which requests overtake each other.
// A shadow without a fault fails in less than 2 % of runs (95 % interval of 200).
func TestFaultsAreFoundAndNothingElse(t *testing.T) {
	const limit = 4000
	var plans []plan
	for _, f := range faults() {
		switch f.name {
		case "wrong price for one tenant", "element twice", "gRPC: value", "header lost":
			plans = append(plans, plan{1, f, limit})
		}
	}
	plans = append(plans, plan{2, nil, 800})
	err := perform(t.Context(), plans, len(plans), func(got *outcome) {
		switch {
		case got.fault == nil && got.verdict == judge.Fail:
			t.Errorf("without a fault: FAIL, %v", got.findings)
		case got.fault != nil && !got.found():
			t.Errorf("%s: %s after %d requests, %v", got.fault.name, got.verdict, got.requests, got.findings)
		case got.fault != nil && got.fault.attribute != "" && !got.caused():
			t.Errorf("%s: the first predictor is %q, want %s=%s", got.fault.name, got.predicted, got.fault.attribute, got.fault.value)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}
