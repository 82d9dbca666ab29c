// Package telemetry holds what a proxy says about itself: the [Snapshot] of
// its books, the [Histogram] it measures with, the one list of metric names,
// and the slog handler.
package telemetry
