package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/atview/atview/ingest/internal/natstest"
)

// everything reads the whole stream, in order of sequence.
func everything(t testing.TB, log *Log) []jetstream.RawStreamMsg {
	t.Helper()
	ctx := testContext(t)
	s, err := log.js.Stream(ctx, log.name)
	if err != nil {
		t.Fatal(err)
	}
	state := s.CachedInfo().State
	if state.Msgs == 0 {
		return nil
	}
	cons, err := log.js.OrderedConsumer(ctx, log.name, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
	if err != nil {
		t.Fatal(err)
	}
	it, err := cons.Messages()
	if err != nil {
		t.Fatal(err)
	}
	defer it.Stop()
	var all []jetstream.RawStreamMsg
	for {
		m, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		meta, err := m.Metadata()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, jetstream.RawStreamMsg{Subject: m.Subject(), Sequence: meta.Sequence.Stream, Data: m.Data()})
		if meta.Sequence.Stream >= state.LastSeq {
			return all
		}
	}
}

// checkHistory checks what holds for a log whatever happened on the way: each of
// n events of each repository is there, the last copies of them are in order,
// and no cursor, which counts the events published before it, is ahead of them.
func checkHistory(t testing.TB, msgs []jetstream.RawStreamMsg, n, repos int) (copies int) {
	t.Helper()
	last := make(map[syntax.DID][]int)
	stored := make(map[string]bool)
	var cursor int64
	for _, m := range msgs {
		if strings.Contains(m.Subject, tokenCursor) {
			var c Cursor
			if err := json.Unmarshal(m.Data, &c); err != nil {
				t.Fatal(err)
			}
			if c.Value < cursor {
				t.Errorf("cursor goes back from %d to %d", cursor, c.Value)
			}
			cursor = c.Value
			for i := range int(cursor) {
				if key := fmt.Sprint(repo(i%repos), i/repos); !stored[key] {
					t.Fatalf("cursor %d is stored before event %s", cursor, key)
				}
			}
			continue
		}
		ev, err := Parse(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		var k int
		if _, err := fmt.Sscanf(string(ev.Commit.RKey), "r%d", &k); err != nil {
			t.Fatal(err)
		}
		stored[fmt.Sprint(ev.DID, k)] = true
		ks := last[ev.DID]
		if i := slices.Index(ks, k); i >= 0 {
			ks = slices.Delete(ks, i, i+1)
			copies++
		}
		last[ev.DID] = append(ks, k)
	}
	for i := range repos {
		ks := last[repo(i)]
		if len(ks) != n {
			t.Errorf("repository %d has %d events of %d", i, len(ks), n)
		}
		if !slices.IsSorted(ks) {
			t.Errorf("the last copies of repository %d are not in order", i)
		}
	}
	return copies
}

func TestPublisherFaults(t *testing.T) {
	t.Parallel()

	// trouble publishes and marks while make makes trouble, several times.
	trouble := func(t *testing.T, log *Log, times int, makeTrouble func()) {
		t.Helper()
		ctx := testContext(t)
		pub := publisher(t, log, PublisherConfig{Window: 512, AckWait: 2 * time.Second})
		const each, repos = 1000, 5
		published := make(chan int, each*repos)
		done := make(chan error, 1)
		go func() {
			done <- func() error {
				for i := range each * repos {
					if err := pub.Publish(ctx, post(repo(i%repos), i/repos, 200), nil); err != nil {
						return err
					}
					if rand.N(100) == 0 {
						if err := pub.Mark(ctx, Cursor{Value: int64(i + 1)}); err != nil {
							return err
						}
					}
					published <- i
				}
				_, err := pub.Flush(ctx)
				return err
			}()
		}()
		for range times {
			for range each * repos / (times + 1) {
				<-published
			}
			makeTrouble()
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		copies := checkHistory(t, everything(t, log), each, repos)
		stats := pub.Stats()
		t.Logf("%d retries, %d second copies", stats.Retries, copies)
		if stats.Retries == 0 {
			t.Error("no retry: did the trouble hit?")
		}
		if stats.Waiting != 0 || stats.Bytes != 0 || stats.Err != nil || !stats.StalledSince.IsZero() {
			t.Errorf("after the flush: %+v", stats)
		}
	}

	t.Run("RestartsOfNATSLoseNothing", func(t *testing.T) {
		t.Parallel()
		srv, log := setup(t, Config{Partitions: 3})
		trouble(t, log, 6, func() {
			srv.Stop()
			srv.Restart()
		})
	})

	t.Run("CutConnectionsLoseNothing", func(t *testing.T) {
		t.Parallel()
		srv := natstest.Start(t)
		proxy := srv.Proxy()
		log, err := Open(testContext(t), proxy.Connect(), Config{Partitions: 3})
		if err != nil {
			t.Fatal(err)
		}
		trouble(t, log, 30, proxy.Cut)
	})

	t.Run("AFullLogBlocksUntilItIsTrimmed", func(t *testing.T) {
		t.Parallel()
		_, log := setup(t, Config{Partitions: 2, MaxBytes: 200_000})
		ctx := testContext(t)
		pub := publisher(t, log, PublisherConfig{Window: 64})
		const each, repos = 1000, 4

		done := make(chan error, 1)
		go func() {
			done <- func() error {
				for i := range each * repos {
					// Of different lengths: a full log takes a short one behind a long one.
					if err := pub.Publish(ctx, post(repo(i%repos), i/repos, rand.N(2000)), nil); err != nil {
						return err
					}
				}
				_, err := pub.Flush(ctx)
				return err
			}()
		}()

		// Two workers, which trim what they have read only when the publisher is stuck.
		readers := make([]*Reader, log.Partitions())
		read := make([]uint64, len(readers))
		for p := range readers {
			r, err := log.Read(ctx, p, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			readers[p] = r
		}
		next := make(map[syntax.DID]int)
		for seen := 0; seen < each*repos; {
			for p, r := range readers {
				short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
				msgs, err := r.Next(short, 100, 0)
				cancel()
				if err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Fatal(err)
				}
				for _, m := range msgs {
					ev, err := Parse(m.Data)
					if err != nil {
						t.Fatal(err)
					}
					// One that is ahead was taken while its predecessor was refused: it comes
					// again, in its place.
					if ev.Commit.RKey == syntax.RecordKey(fmt.Sprintf("r%d", next[ev.DID])) {
						next[ev.DID]++
						seen++
					}
					read[p] = m.Seq
				}
				if !pub.Stats().StalledSince.IsZero() {
					if err := log.Trim(ctx, p, read[p]); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if pub.Stats().Retries == 0 {
			t.Error("no retry: was the log ever full?")
		}
		t.Logf("%d retries", pub.Stats().Retries)
	})

	t.Run("AFullLogShowsInStatsAndHonoursContext", func(t *testing.T) {
		t.Parallel()
		_, log := setup(t, Config{Partitions: 1, MaxBytes: 20_000})
		ctx := testContext(t)
		pub := publisher(t, log, PublisherConfig{Window: 8})
		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		var err error
		for i := 0; err == nil; i++ {
			err = pub.Publish(short, post(repo(1), i, 1000), nil)
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("publish: %v", err)
		}
		if _, err := pub.Flush(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("flush: %v", err)
		}
		stats := pub.Stats()
		if stats.Waiting != 8 || stats.Err == nil && stats.Retries == 0 || stats.StalledSince.IsZero() {
			t.Errorf("%+v", stats)
		}
		pub.Close()
		if err := pub.Publish(ctx, post(repo(1), 0, 0), nil); !errors.Is(err, ErrClosed) {
			t.Errorf("publish after close: %v", err)
		}
		if _, err := pub.Flush(ctx); !errors.Is(err, ErrClosed) {
			t.Errorf("flush after close: %v", err)
		}
	})

	t.Run("ALostTailIsNoticed", func(t *testing.T) {
		t.Parallel()
		srv, log := setup(t, Config{Partitions: 1})
		ctx := testContext(t)
		busy, idle := publisher(t, log, PublisherConfig{Source: "busy"}), publisher(t, log, PublisherConfig{Source: "idle"})
		publish := func(from, to int) error {
			for i := from; i < to; i++ {
				if err := busy.Publish(ctx, post(repo(0), i, 0), nil); err != nil {
					return err
				}
			}
			_, err := busy.Flush(ctx)
			return err
		}
		if err := publish(0, 50); err != nil {
			t.Fatal(err)
		}
		srv.Stop()
		backup := t.TempDir()
		if err := os.CopyFS(backup, os.DirFS(srv.StoreDir())); err != nil {
			t.Fatal(err)
		}
		srv.Restart()
		if err := publish(50, 100); err != nil {
			t.Fatal(err)
		}
		if err := idle.Mark(ctx, Cursor{Value: 1}); err != nil {
			t.Fatal(err)
		}
		if _, err := idle.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		srv.Stop()
		if err := os.RemoveAll(srv.StoreDir()); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(srv.StoreDir(), os.DirFS(backup)); err != nil {
			t.Fatal(err)
		}
		srv.Restart()
		if err := publish(100, 200); !errors.Is(err, ErrRewound) {
			t.Errorf("busy publisher: %v", err)
		}
		<-idle.done // it notices without being asked
		if err := idle.Mark(ctx, Cursor{Value: 2}); !errors.Is(err, ErrRewound) {
			t.Errorf("idle publisher: %v", err)
		}
	})

	t.Run("WhatBecameTooLargeIsARejectAndHoldsUpNothing", func(t *testing.T) {
		t.Parallel()
		srv, log := setup(t, Config{Partitions: 1})
		ctx := testContext(t)
		pub := publisher(t, log, PublisherConfig{})
		srv.Stop()
		for i, size := range []int{0, 3 << 20, 0, 0} {
			if err := pub.Publish(ctx, post(repo(0), i, size), nil); err != nil {
				t.Fatal(err)
			}
		}
		srv.SetMaxPayload(1 << 20)
		srv.Restart()
		if _, err := pub.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		s, err := log.js.Stream(ctx, log.name)
		if err != nil {
			t.Fatal(err)
		}
		sc := s.CachedInfo().Config
		sc.MaxMsgSize = 100_000
		if _, err := log.js.UpdateStream(ctx, sc); err != nil {
			t.Fatal(err)
		}
		if err := pub.Publish(ctx, post(repo(0), 4, 300_000), nil); err != nil {
			t.Fatal(err)
		}
		if err := pub.Publish(ctx, post(repo(0), 5, 0), nil); err != nil {
			t.Fatal(err)
		}
		positions, err := pub.Flush(ctx)
		if err != nil {
			t.Fatal(err)
		}
		rejects := 0
		var rest []Message
		for _, m := range collect(t, log, 0, 0, positions[0]) {
			if m.Reject == nil {
				rest = append(rest, m)
				continue
			}
			rejects++
			if m.Reject.Reason != ReasonTooLarge || m.Reject.Length < 300_000 || len(m.Data) == 0 {
				t.Errorf("%+v, %d bytes", m.Reject, len(m.Data))
			}
		}
		if got := byRepo(t, rest)[repo(0)]; rejects != 2 || !slices.Equal(slices.Compact(got), []int{0, 2, 3, 5}) {
			t.Errorf("%d rejects, events %v", rejects, got)
		}
		if st := pub.Stats(); st.Waiting != 0 || st.Bytes != 0 {
			t.Errorf("%+v", st)
		}
	})

	t.Run("CloseOfTheConnectionEndsIt", func(t *testing.T) {
		t.Parallel()
		_, log := setup(t, Config{Partitions: 1})
		ctx := testContext(t)
		pub := publisher(t, log, PublisherConfig{})
		r, err := log.Read(ctx, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		log.nc.Close()
		for err = nil; err == nil; {
			err = pub.Publish(ctx, post(repo(1), 0, 0), nil)
		}
		if !errors.Is(err, ErrClosed) {
			t.Errorf("publish: %v", err)
		}
		if _, err := r.Next(ctx, 1, 0); !errors.Is(err, ErrClosed) {
			t.Errorf("next: %v", err)
		}
	})

	t.Run("ADeletedStreamIsWaitedFor", func(t *testing.T) {
		t.Parallel()
		srv, log := setup(t, Config{Partitions: 1})
		ctx := testContext(t)
		pub := publisher(t, log, PublisherConfig{})
		if err := log.js.DeleteStream(ctx, log.name); err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			if err := pub.Publish(ctx, post(repo(0), i, 0), nil); err != nil {
				t.Fatal(err)
			}
		}
		for pub.Stats().Retries == 0 {
			if err := ctx.Err(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := Open(ctx, srv.Connect(), Config{Partitions: 1}); err != nil {
			t.Fatal(err)
		}
		if _, err := pub.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		checkHistory(t, everything(t, log), 10, 1)
	})
}

func TestReaderFaults(t *testing.T) {
	t.Parallel()

	// trouble reads while makeTrouble makes trouble, several times.
	trouble := func(t *testing.T, writes, reads *Log, times int, makeTrouble func()) {
		t.Helper()
		ctx := testContext(t)
		pub := publisher(t, writes, PublisherConfig{AckWait: 2 * time.Second})
		const n = 5000
		go func() {
			for i := range n {
				if pub.Publish(ctx, post(repo(0), i, 100), nil) != nil {
					return
				}
			}
		}()
		r, err := reads.Read(ctx, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		var seq uint64
		next, troubles := 0, 0
		for next < n {
			msgs, err := r.Next(ctx, 100, time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range msgs {
				if m.Seq <= seq {
					t.Fatalf("message %d after %d", m.Seq, seq)
				}
				seq = m.Seq
				ev, err := Parse(m.Data)
				if err != nil {
					t.Fatal(err)
				}
				if ev.Commit.RKey == syntax.RecordKey(fmt.Sprintf("r%d", next)) {
					next++
				}
			}
			if next > n/(times+1)*(troubles+1) {
				troubles++
				makeTrouble()
			}
		}
		if troubles < times {
			t.Errorf("trouble only %d times", troubles)
		}
	}

	t.Run("RestartsOfNATSAreWaitedFor", func(t *testing.T) {
		t.Parallel()
		srv, log := setup(t, Config{Partitions: 1})
		trouble(t, log, log, 4, func() {
			srv.Stop()
			srv.Restart()
		})
	})

	t.Run("CutConnectionsAreWaitedFor", func(t *testing.T) {
		t.Parallel()
		srv, log := setup(t, Config{Partitions: 1})
		proxy := srv.Proxy()
		cut, err := Open(testContext(t), proxy.Connect(), Config{Partitions: 1})
		if err != nil {
			t.Fatal(err)
		}
		trouble(t, log, cut, 10, proxy.Cut)
	})

	t.Run("ALostTailIsNoticed", func(t *testing.T) {
		t.Parallel()
		srv, log := setup(t, Config{Partitions: 1})
		ctx := testContext(t)
		publish := func(from, to int) {
			t.Helper()
			pub := publisher(t, log, PublisherConfig{AckWait: time.Second})
			defer pub.Close()
			for i := from; i < to; i++ {
				if err := pub.Publish(ctx, post(repo(0), i, 0), nil); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := pub.Flush(ctx); err != nil {
				t.Fatal(err)
			}
		}
		publish(0, 50)
		srv.Stop()
		backup := t.TempDir()
		if err := os.CopyFS(backup, os.DirFS(srv.StoreDir())); err != nil {
			t.Fatal(err)
		}
		srv.Restart()
		publish(50, 100)

		r, err := log.Read(ctx, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		var last Message
		for last.Seq < 100 {
			msgs, err := r.Next(ctx, 100, 0)
			if err != nil {
				t.Fatal(err)
			}
			last = msgs[len(msgs)-1]
		}

		// The machine loses power; what had not been forced to disk is gone.
		srv.Stop()
		if err := os.RemoveAll(srv.StoreDir()); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(srv.StoreDir(), os.DirFS(backup)); err != nil {
			t.Fatal(err)
		}
		srv.Restart()
		publish(200, 300)

		if at, err := log.At(ctx, last.Seq); err != nil || at.Equal(last.Time) {
			t.Errorf("message %d is of %v, %v: not another one", last.Seq, at, err)
		}
		if msgs, err := r.Next(ctx, 100, 0); !errors.Is(err, ErrRewound) {
			t.Fatalf("%d messages and %v after the log was rewound", len(msgs), err)
		}
		if _, err := r.Next(ctx, 100, 0); !errors.Is(err, ErrRewound) {
			t.Errorf("asked again: %v", err)
		}
	})

	t.Run("TrimBehindTheReaderIsNoRewind", func(t *testing.T) {
		t.Parallel()
		srv, log := setup(t, Config{Partitions: 1})
		ctx := testContext(t)
		pub := publisher(t, log, PublisherConfig{AckWait: time.Second})
		r, err := log.Read(ctx, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		for i := range 100 {
			if err := pub.Publish(ctx, post(repo(0), i, 0), nil); err != nil {
				t.Fatal(err)
			}
			msgs, err := r.Next(ctx, 1, 0)
			if err != nil || msgs[0].Seq != uint64(i+1) {
				t.Fatalf("%v, %v", msgs, err)
			}
			switch {
			case i%40 == 20:
				srv.Stop()
				srv.Restart()
			case i%10 == 5:
				// Even past what the reader has.
				if err := log.Trim(ctx, 0, msgs[0].Seq+1); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}
