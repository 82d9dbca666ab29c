package recording

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/understudy-proxy/understudy/internal/traffic"
)

// BenchmarkWriter is how many exchanges of two heads and two answers of half a
// kilobyte are recorded in a second, compressed and on the disk. Run it with
// GOMAXPROCS=1 for what one core does.
func BenchmarkWriter(b *testing.B) {
	exchanges := make([]*traffic.Exchange, 4096)
	var size int64
	for i := range exchanges {
		exchanges[i] = numbered(i)
		size += int64(len(appendExchange(nil, exchanges[i])))
	}
	dir := b.TempDir()
	w, err := Create(dir, Options{})
	if err != nil {
		b.Fatal(err)
	}
	ctx := context.Background()
	b.ReportAllocs()
	b.SetBytes(size / int64(len(exchanges)))
	for n := 0; b.Loop(); {
		for !w.Offer(exchanges[n%len(exchanges)]) {
			if err := w.Sync(ctx); err != nil { // the disk is behind
				b.Fatal(err)
			}
		}
		n++
	}
	if err := w.Close(ctx); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(w.Acknowledged())/b.Elapsed().Seconds(), "exchanges/s")
	b.ReportMetric(float64(onDisk(b, dir))/float64(w.Acknowledged()), "disk-B/exchange")
}

func onDisk(tb testing.TB, dir string) (sum int64) {
	tb.Helper()
	names, err := listSegments(dir)
	if err != nil {
		tb.Fatal(err)
	}
	for _, name := range names {
		stat, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			tb.Fatal(err)
		}
		sum += stat.Size()
	}
	return sum
}

// BenchmarkReader is how many of them are read in a second.
func BenchmarkReader(b *testing.B) {
	dir := b.TempDir()
	record(b, dir, 20000)
	b.ReportAllocs()
	read := 0
	for b.Loop() {
		read += len(readAll(b, dir))
	}
	b.ReportMetric(float64(read)/b.Elapsed().Seconds(), "exchanges/s")
}

// BenchmarkEncode is what Offer costs its caller, without the block's share of the
// lock.
func BenchmarkEncode(b *testing.B) {
	x := numbered(7)
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = appendExchange(buf[:0], x)
	}
	b.SetBytes(int64(len(buf)))
}
