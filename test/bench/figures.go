//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
)

// spread is a set of figures reduced to its median and range. The zero value
// stands for no figures.
type spread struct {
	n                int
	median, min, max float64
}

func spreadOf(v []float64) spread {
	if len(v) == 0 {
		return spread{}
	}
	v = slices.Sorted(slices.Values(v))
	mid := len(v) / 2
	median := v[mid]
	if len(v)%2 == 0 {
		median = (v[mid-1] + v[mid]) / 2
	}
	return spread{n: len(v), median: median, min: v[0], max: v[len(v)-1]}
}

// format writes the median with digits behind the point, and the range if there
// is more than one figure.
func (s spread) format(digits int) string {
	switch s.n {
	case 0:
		return "–"
	case 1:
		return fmt.Sprintf("%.*f", digits, s.median)
	}
	return fmt.Sprintf("%.*f (%.*f–%.*f)", digits, s.median, digits, s.min, digits, s.max)
}

// order is who is measured when in a round: everyone's turn moves up by one
// from round to round.
func order[T any](all []T, round int) []T {
	if len(all) == 0 {
		return nil
	}
	k := round % len(all)
	return append(slices.Clone(all[k:]), all[:k]...)
}

// samples of one run, in the order they were taken.
type samples []sample

// of gives the samples of one proxy under one workload.
func (s samples) of(workload, proxy string) samples {
	var out samples
	for _, v := range s {
		if v.Workload == workload && v.Proxy == proxy {
			out = append(out, v)
		}
	}
	return out
}

// spread reduces one figure of all samples.
func (s samples) spread(figure func(*sample) float64) spread {
	var v []float64
	for i := range s {
		v = append(v, figure(&s[i]))
	}
	return spreadOf(v)
}

// against pairs two proxies' samples of the same round and reduces what f makes
// of each pair.
func (s samples) against(other samples, f func(a, b *sample) float64) spread {
	var v []float64
	for i := range s {
		for k := range other {
			if s[i].Round == other[k].Round {
				v = append(v, f(&s[i], &other[k]))
			}
		}
	}
	return spreadOf(v)
}

func cpuRatio(a, b *sample) float64  { return a.CPUMicros() / b.CPUMicros() }
func loopRatio(a, b *sample) float64 { return a.LoopMicros / b.LoopMicros }

// target is a promise about CPU per request.
type target struct {
	title       string
	of, against string
	atMost      float64
	ratio       func(of, against *sample) float64
}

// idleAtMost is the promise for a proxy without traffic, in percent of a core.
const idleAtMost = 0.2

// lostAtMost is how many of a hundred copies a proxy may lose before its CPU
// per copied request says nothing, because much of the work was not done.
const lostAtMost = 1.0

// judge compares a target with what was measured under one workload; the
// verdict is empty if a side was not measured.
func (t *target) judge(all samples, workload string) (ratio spread, verdict string) {
	of, against := all.of(workload, t.of), all.of(workload, t.against)
	ratio = of.against(against, t.ratio)
	if ratio.n == 0 {
		return ratio, ""
	}
	for _, side := range []samples{of, against} {
		for i := range side {
			if why := side[i].void(); why != "" {
				return ratio, "void: " + side[i].Proxy + " " + why
			}
		}
	}
	if ratio.median <= t.atMost {
		return ratio, "met"
	}
	return ratio, "**missed**"
}

// void says why a sample proves nothing; empty if it may.
func (s *sample) void() string {
	failed := uint64(0)
	for _, n := range s.Errors {
		failed += n
	}
	switch {
	case s.Live == 0:
		return "served nothing"
	case failed > 0:
		return fmt.Sprintf("failed %d requests", failed)
	case s.WrongBodies > 0:
		return fmt.Sprintf("changed %d pieces of bodies", s.WrongBodies)
	case s.lost() < 0 && !contestantOf(s.Proxy).Compare: // who compares asks the shadow some things again
		return fmt.Sprintf("copied %d requests that were not there", s.Copies-s.Live)
	case s.lost() > lostAtMost:
		why := ""
		if len(s.Lost) > 0 {
			why = fmt.Sprintf(" (%s)", strings.TrimSuffix(strings.TrimPrefix(fmt.Sprint(s.Lost), "map["), "]"))
		}
		return fmt.Sprintf("lost %.1f %% of the copies%s", s.lost(), why)
	}
	return ""
}

// lost is how many of a hundred copies did not arrive; 0 for a proxy that need
// not copy everything.
func (s *sample) lost() float64 {
	if s.Live == 0 || contestantOf(s.Proxy).Percent < 100 {
		return 0
	}
	return 100 * float64(int64(s.Live)-int64(s.Copies)) / float64(s.Live)
}

// contestantOf finds a contestant by its name.
func contestantOf(name string) contestant {
	i := slices.IndexFunc(contestants, func(c contestant) bool { return c.Name == name })
	if i < 0 {
		return contestant{Name: name}
	}
	return contestants[i]
}
