package ingest_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/atview/atview/ingest"
	"github.com/atview/atview/ingest/file"
	"github.com/atview/atview/ingest/internal/fakejet"
	"github.com/atview/atview/ingest/internal/natstest"
	"github.com/atview/atview/ingest/jetstream"
	"github.com/atview/atview/ingest/source"
	"github.com/atview/atview/ingest/stream"
)

// BenchmarkFile is file → log, with lines of 550 bytes, the network's average.
// What NATS does is included: it runs in the same process.
func BenchmarkFile(b *testing.B) {
	path := filepath.Join(b.TempDir(), "events.jsonl")
	var buf bytes.Buffer
	for i := range b.N {
		buf.Write(benchLine(i))
		buf.WriteByte('\n')
	}
	if err := os.WriteFile(path, buf.Bytes(), 0o600); err != nil {
		b.Fatal(err)
	}
	src, err := file.New(file.Config{Path: path})
	if err != nil {
		b.Fatal(err)
	}
	nc := natstest.Start(b).Connect()
	r := newRunner(b, ingest.Config{Stream: openLog(b, nc, stream.Config{}), Sources: []source.Source{src}, MarkEvery: time.Second})
	b.SetBytes(int64(buf.Len() / b.N))
	b.ReportAllocs()
	b.ResetTimer()
	if err := r.Run(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}

// BenchmarkJetstream is websocket → log, the server being in the same process,
// too. Compressed, the server's work is done before.
func BenchmarkJetstream(b *testing.B) {
	for _, plain := range []bool{true, false} {
		b.Run(fmt.Sprintf("Plain=%v", plain), func(b *testing.B) {
			srv := fakejet.Start(b, nil)
			events := make([]fakejet.Event, b.N)
			for i := range events {
				events[i] = fakejet.Line(benchLine(i))
			}
			if !plain {
				srv.Compress(events)
			}
			srv.Append(events...)
			src, err := jetstream.New(jetstream.Config{URLs: []string{srv.URL()}, Plain: plain, StartCursor: start})
			if err != nil {
				b.Fatal(err)
			}
			nc := natstest.Start(b).Connect()
			r := newRunner(b, ingest.Config{Stream: openLog(b, nc, stream.Config{}), Sources: []source.Source{src}, MarkEvery: time.Second})
			ctx, stop := context.WithCancel(b.Context())
			done := make(chan error, 1)
			b.ReportAllocs()
			b.ResetTimer()
			go func() { done <- r.Run(ctx) }()
			until(b, r, func(s ingest.SourceStats) bool { return s.Events[stream.KindCommit] >= int64(b.N) })
			stop()
			if err := <-done; err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "lines/s")
		})
	}
}

func benchLine(i int) []byte {
	return fmt.Appendf(nil, `{"did":"did:plc:%024d","time_us":%d,"kind":"commit","commit":{"rev":"3mptbypluud2a","operation":"create","collection":"app.bsky.feed.like","rkey":"r%d","record":{"$type":"app.bsky.feed.like","createdAt":"2026-07-04T14:38:08.999Z","subject":{"cid":"bafyreiftot7eltsc3f6g4qktykmbv6jcmdmhcx5osscan6jpdxkpqcmcza","uri":"at://did:plc:r2zybk6op3ymzpz6jhqpkoy5/app.bsky.feed.post/3mpsjbtci2c2o"},"via":"at://did:plc:r2zybk6op3ymzpz6jhqpkoy5"},"cid":"bafyreiguce4jh7kcbmof3pmcvasifqtw24b6isakj5ve5ga2b4z4alpc4i"}}`,
		i%10_000, start+int64(i)*100, i)
}
