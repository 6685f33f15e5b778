package backfill_test

import (
	"fmt"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atview/atview/ingest/backfill"
)

// BenchmarkBackfill reads repositories from a PDS on the same machine to the log.
func BenchmarkBackfill(b *testing.B) {
	for _, c := range []struct{ repos, posts int }{{2000, 5}, {40, 5000}} {
		b.Run(fmt.Sprintf("%dx%d", c.repos, c.posts), func(b *testing.B) {
			w := newWorld(b)
			var dids []syntax.DID
			for i := range c.repos {
				dids = append(dids, w.net.add(didOf(i), c.posts).did)
			}
			cfg := w.config()
			cfg.Hosts = backfill.HostConfig{Rate: -1}
			var last int64
			for b.Loop() {
				fill := w.new(cfg)
				w.add(fill, dids...)
				stop := w.run(fill)
				w.until("all are published", func() bool { return fill.Stats().ReposPublished == int64(c.repos) })
				stop()
				last += fill.Stats().RecordsPublished
			}
			b.ReportMetric(float64(last)/b.Elapsed().Seconds(), "records/s")
			b.ReportMetric(float64(c.repos*b.N)/b.Elapsed().Seconds(), "repos/s")
		})
	}
}
