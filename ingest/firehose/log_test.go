package firehose_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/atview/atview/ingest"
	"github.com/atview/atview/ingest/firehose"
	"github.com/atview/atview/ingest/internal/natstest"
	"github.com/atview/atview/ingest/source"
	"github.com/atview/atview/ingest/stream"
)

// TestLog takes real frames to the log, in two runs: the second begins where the log
// says that the first has stopped.
func TestLog(t *testing.T) {
	t.Parallel()
	host := firehose.StartRealHost(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	log, err := stream.Open(ctx, natstest.Start(t).Connect(), stream.Config{Partitions: 4})
	if err != nil {
		t.Fatal(err)
	}

	// until runs a source until the log has its cursor.
	until := func(seq int64) {
		src, err := firehose.New(firehose.Config{URLs: []string{host.URL()}, Directory: host.Directory, FromStart: true})
		if err != nil {
			t.Fatal(err)
		}
		runner, err := ingest.New(ingest.Config{Stream: log, Sources: []source.Source{src}, MarkEvery: 2 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		rctx, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- runner.Run(rctx) }()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			c, err := log.Cursor(ctx, src.Name())
			if err == nil && c.Value == seq {
				break
			}
			if err != nil && !errors.Is(err, stream.ErrNotFound) {
				t.Fatal(err)
			}
			<-tick.C
		}
		stop()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
	half := host.Serve(75)
	until(half)
	until(host.Serve(75))
	if got := host.Asked(t, 1); got != strconv.FormatInt(half, 10) {
		t.Errorf("the second run asks for %s, not %d", got, half)
	}

	kinds := make(map[stream.Kind]int)
	for p := range log.Partitions() {
		last, err := log.Last(ctx, p)
		if err != nil {
			t.Fatal(err)
		}
		r, err := log.Read(ctx, p, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		for done := last == 0; !done; {
			msgs, err := r.Next(ctx, 100, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range msgs {
				ev, err := stream.Parse(m.Data)
				if err != nil || m.Reject != nil {
					t.Errorf("%v: %s", err, m.Data)
				}
				kinds[ev.Kind]++
				done = m.Seq == last
			}
		}
	}
	if kinds[stream.KindCommit] != 150 || kinds[stream.KindIdentity] != 1 || kinds[stream.KindAccount] != 1 || len(kinds) != 3 {
		t.Errorf("%v", kinds)
	}
}
