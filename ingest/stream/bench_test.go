package stream

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkPublish is the log alone: parsed events of 500 bytes in.
func BenchmarkPublish(b *testing.B) {
	_, log := setup(b, Config{})
	ctx := testContext(b)
	pub := publisher(b, log, PublisherConfig{})
	line := []byte(likeLine)
	ev, err := Parse(line)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		ev.DID = repo(i)
		if err := pub.Publish(ctx, &ev, line); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := pub.Flush(ctx); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkRead reads one partition in batches of 500.
func BenchmarkRead(b *testing.B) {
	_, log := setup(b, Config{Partitions: 1})
	ctx := testContext(b)
	pub := publisher(b, log, PublisherConfig{})
	line := []byte(likeLine)
	ev, err := Parse(line)
	if err != nil {
		b.Fatal(err)
	}
	const n = 100_000
	for range n {
		if err := pub.Publish(ctx, &ev, line); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := pub.Flush(ctx); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	read := 0
	for read < b.N {
		r, err := log.Read(ctx, 0, 0)
		if err != nil {
			b.Fatal(err)
		}
		for i := 0; i < n && read < b.N; {
			msgs, err := r.Next(ctx, 500, time.Millisecond)
			if err != nil {
				b.Fatal(err)
			}
			i += len(msgs)
			read += len(msgs)
		}
		r.Close()
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkTrim trims each partition by a tenth, as workers do while they fold;
// an operation is one trim.
func BenchmarkTrim(b *testing.B) {
	for _, n := range []int{100_000, 500_000} {
		b.Run(fmt.Sprintf("Messages=%d", n), func(b *testing.B) {
			_, log := setup(b, Config{})
			ctx := testContext(b)
			pub := publisher(b, log, PublisherConfig{})
			line := []byte(likeLine)
			ev, err := Parse(line)
			if err != nil {
				b.Fatal(err)
			}
			for i := range n {
				ev.DID = repo(i)
				if err := pub.Publish(ctx, &ev, line); err != nil {
					b.Fatal(err)
				}
			}
			if _, err := pub.Flush(ctx); err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			trims := 0
			for step := 1; step <= 10; step++ {
				for p := range log.Partitions() {
					if err := log.Trim(ctx, p, uint64(n/10*step)); err != nil {
						b.Fatal(err)
					}
					trims++
				}
			}
			b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(trims), "ms/trim")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/message")
		})
	}
}
