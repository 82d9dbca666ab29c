// Package telemetry holds what a proxy says about itself: the [Snapshot] of
// its books, the [Histogram] it measures with, the one list of metric names
// ([Metrics]) with the [Collector] that serves them to Prometheus, the log
// handlers, and which [Build] this is.
//
// Nothing here counts: the rooms that do the work own their counters and hand
// over a Snapshot when asked.
package telemetry
