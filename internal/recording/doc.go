// Package recording writes exchanges to a folder of segments and reads them back
// in order. The format is described in docs/formats/recording.md: length-prefixed
// protobuf records in compressed blocks, each with a checksum, so that what was
// acknowledged outlives a crash and what is damaged is skipped and named.
//
// A [Writer] is a sink: Offer encodes an exchange at once and never waits for the
// disk. A [Reader] reads a folder, also while a writer writes to it.
package recording
