package telemetry

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Collector turns snapshots into Prometheus metrics. One scrape takes one
// snapshot, so the books balance within a scrape; every reason, source and
// state is always present, so that a rate over it exists before its first
// event. It is safe for concurrent use if the function is.
type Collector struct {
	snapshot  func() *Snapshot
	live      []described[Live]
	mirrors   []described[Mirror]
	pairs     []described[Pairs]
	endpoints []described[Endpoint]
	listeners []described[Listener]
	proxy     []described[Snapshot]
}

// NewCollector makes a Collector that asks snapshot once per scrape.
func NewCollector(snapshot func() *Snapshot) *Collector {
	return &Collector{
		snapshot:  snapshot,
		live:      describe(liveLabels, liveFamilies),
		mirrors:   describe(mirrorLabels, mirrorFamilies),
		pairs:     describe(mirrorLabels, pairFamilies),
		endpoints: describe(endpointLabels, endpointFamilies),
		listeners: describe(listenerLabels, listenerFamilies),
		proxy:     describe(nil, proxyFamilies),
	}
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	sendDescs(ch, c.live)
	sendDescs(ch, c.mirrors)
	sendDescs(ch, c.pairs)
	sendDescs(ch, c.endpoints)
	sendDescs(ch, c.listeners)
	sendDescs(ch, c.proxy)
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	s := c.snapshot()
	for i := range s.Live {
		collect(ch, c.live, &s.Live[i], s.Live[i].Route, s.Live[i].Backend)
	}
	for i := range s.Mirrors {
		m := &s.Mirrors[i]
		collect(ch, c.mirrors, m, m.Route, m.Name, m.Backend)
	}
	for i := range s.Pairs {
		p := &s.Pairs[i]
		collect(ch, c.pairs, p, p.Route, p.Mirror, p.Backend)
	}
	for i := range s.Endpoints {
		collect(ch, c.endpoints, &s.Endpoints[i], s.Endpoints[i].Backend, s.Endpoints[i].Address)
	}
	for i := range s.Listeners {
		collect(ch, c.listeners, &s.Listeners[i], s.Listeners[i].Name)
	}
	collect(ch, c.proxy, s)
}

// Bounds are the upper bounds of the exposed histogram buckets. They are
// powers of two of a microsecond, which are bounds of [Histogram] too: each
// exposed count is exact, where decimal bounds would split its buckets.
var Bounds = func() []time.Duration {
	var list []time.Duration
	for d := 64 * time.Microsecond; d < 2*time.Minute; d *= 2 {
		list = append(list, d)
	}
	return list
}()

// described is a family with its description made once.
type described[T any] struct {
	family[T]
	desc *prometheus.Desc
}

func describe[T any](base []Label, families []family[T]) []described[T] {
	list := make([]described[T], len(families))
	for i, f := range families {
		var names []string
		for _, l := range f.labels(base) {
			names = append(names, l.Name)
		}
		list[i] = described[T]{f, prometheus.NewDesc(f.name, f.help, names, nil)}
	}
	return list
}

func (f *family[T]) labels(base []Label) []Label {
	if f.label == nil {
		return base
	}
	return append(slices.Clone(base), *f.label)
}

func appendMetrics[T any](list []Metric, base []Label, families []family[T]) []Metric {
	for _, f := range families {
		list = append(list, Metric{Name: f.name, Kind: f.kind, Help: f.help, Labels: f.labels(base)})
	}
	return list
}

func sendDescs[T any](ch chan<- *prometheus.Desc, families []described[T]) {
	for _, f := range families {
		ch <- f.desc
	}
}

// collect sends the metrics of one row. A bad label value spoils the scrape,
// not the process: that is why nothing here panics on an error.
func collect[T any](ch chan<- prometheus.Metric, families []described[T], row *T, base ...string) {
	for _, f := range families {
		send := func(m prometheus.Metric, err error) {
			if err != nil {
				m = prometheus.NewInvalidMetric(f.desc, err)
			}
			ch <- m
		}
		if f.durations != nil {
			send(constHistogram(f.desc, f.durations(row), base))
			continue
		}
		kind := prometheus.GaugeValue
		if f.kind == Counter {
			kind = prometheus.CounterValue
		}
		f.values(row, func(v float64, label ...string) {
			send(prometheus.NewConstMetric(f.desc, kind, v, slices.Concat(base, label)...))
		})
	}
}

func constHistogram(desc *prometheus.Desc, h *Histogram, labels []string) (prometheus.Metric, error) {
	counts := make(map[float64]uint64, len(Bounds))
	var seen uint64
	next := 0
	for i, n := range h.Counts {
		if next == len(Bounds) {
			break
		}
		seen += n
		if upper(i) == Bounds[next] {
			counts[Bounds[next].Seconds()] = seen
			next++
		}
	}
	return prometheus.NewConstHistogram(desc, h.Count, h.Sum.Seconds(), counts, labels...)
}
