package firehose

import (
	"context"
	"testing"
	"time"

	"github.com/atview/atview/ingest/source"
	"github.com/atview/atview/ingest/stream"
)

// BenchmarkCheck is what one core does with 150 frames of the network.
func BenchmarkCheck(b *testing.B) {
	frames, dir := realFrames(b)
	for _, c := range []struct {
		name     string
		trust    bool
		patterns []string
	}{
		{"Full", false, []string{"*"}},
		{"Trust", true, []string{"*"}},
		{"NothingWanted", false, nil},
	} {
		b.Run(c.name, func(b *testing.B) {
			src := newSource(b, Config{URLs: []string{"wss://one.test"}, Directory: dir, Trust: c.trust})
			src.SetCollections(collections(b, c.patterns...))
			n := 0
			for b.Loop() {
				f := frames[n%len(frames)].data
				n++
				if o := src.check(context.Background(), frame{f, int64(len(f))}); o.again {
					b.Fatal("does not hold")
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "frames/s")
		})
	}
}

// BenchmarkSource is the same over a socket, through the whole source, on as many
// cores as -cpu says. The server has its share of them.
func BenchmarkSource(b *testing.B) {
	real, dir := realFrames(b)
	const n = 6000
	frames := make([]numbered, n)
	for i := range frames { // the host looks at its own numbers only
		frames[i] = numbered{int64(i + 1), real[i%len(real)].data}
	}
	for b.Loop() {
		b.StopTimer()
		h := startHost(b, nil)
		h.append(frames...)
		// Only one is remembered, so that what comes again is emitted again.
		src := newSource(b, Config{URLs: []string{h.url()}, Directory: dir, FromStart: true, CursorEvery: time.Hour, Heads: 1})
		ctx, cancel := context.WithCancel(b.Context())
		b.StartTimer()
		start, lines := time.Now(), 0
		src.Run(ctx, stream.Cursor{}, func(source.Line) error { //nolint:errcheck // it is being stopped
			if lines++; src.Stats().Frames == n {
				cancel()
			}
			return nil
		})
		b.ReportMetric(n/time.Since(start).Seconds(), "frames/s")
		cancel()
	}
}
