package telemetry

// Merge adds the counts of o, and leaves the names alone.
func (l *Live) Merge(o *Live) {
	mergeCounts(&l.Codes, o.Codes)
	mergeCounts(&l.Errors, o.Errors)
	if len(o.GRPC) > 0 {
		mergeCounts(&l.GRPC, o.GRPC)
	}
	l.InFlight += o.InFlight
	l.BytesIn += o.BytesIn
	l.BytesOut += o.BytesOut
	l.Duration.Merge(&o.Duration)
	l.First.Merge(&o.First)
}

// Merge adds the counts of o, and leaves the names, and what loops share, alone.
func (m *Mirror) Merge(o *Mirror) {
	m.Selected += o.Selected
	m.Completed += o.Completed
	m.InFlight += o.InFlight
	m.Queued += o.Queued
	m.Unkeyed += o.Unkeyed
	m.Bytes += o.Bytes
	mergeCounts(&m.Skipped, o.Skipped)
	mergeCounts(&m.Dropped, o.Dropped)
	mergeCounts(&m.Failed, o.Failed)
	mergeCounts(&m.Codes, o.Codes)
	if len(o.GRPC) > 0 {
		mergeCounts(&m.GRPC, o.GRPC)
	}
	m.First.Merge(&o.First)
}

// Merge adds the counts of o, and leaves the memory, which loops share, alone.
func (c *Capture) Merge(o *Capture) {
	c.Drawn += o.Drawn
	c.Taken += o.Taken
	c.InFlight += o.InFlight
	mergeCounts(&c.Lost, o.Lost)
}

func mergeCounts[K comparable](to *map[K]uint64, from map[K]uint64) {
	if *to == nil {
		*to = make(map[K]uint64, len(from))
	}
	for key, n := range from {
		(*to)[key] += n
	}
}
