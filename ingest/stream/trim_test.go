package stream

import (
	"errors"
	"os"
	"testing"
	"time"
)

func TestTrim(t *testing.T) {
	t.Parallel()

	// fill publishes n events for each of four repositories, marks after each round,
	// and returns the messages of each partition.
	fill := func(t *testing.T, log *Log, n int) [][]Message {
		t.Helper()
		ctx := testContext(t)
		pub := publisher(t, log, PublisherConfig{})
		for k := range n {
			for i := range 4 {
				if err := pub.Publish(ctx, post(repo(i), k, 0), nil); err != nil {
					t.Fatal(err)
				}
			}
			if err := pub.Mark(ctx, Cursor{Value: int64(k + 1)}); err != nil {
				t.Fatal(err)
			}
		}
		positions, err := pub.Flush(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var all [][]Message
		for p, last := range positions {
			all = append(all, collect(t, log, p, 0, last))
		}
		return all
	}
	trim := func(t *testing.T, log *Log, partition int, upTo uint64) State {
		t.Helper()
		ctx := testContext(t)
		if err := log.Trim(ctx, partition, upTo); err != nil {
			t.Fatal(err)
		}
		state, err := log.State(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return state
	}

	t.Run("RemovesWhatAllPartitionsHaveFolded", func(t *testing.T) {
		t.Parallel()
		_, log := setup(t, Config{Partitions: 2})
		ctx := testContext(t)
		all := fill(t, log, 100)
		if len(all[0]) == 0 || len(all[1]) == 0 {
			t.Fatal("one partition has nothing")
		}
		a, b := all[0][len(all[0])/2], all[1][len(all[1])/4]

		if s := trim(t, log, 0, a.Seq); s.First != 1 {
			t.Errorf("trim of one partition removes up to %d", s.First)
		}
		if s := trim(t, log, 1, b.Seq); s.First != b.Seq {
			t.Errorf("trim to %d and %d removes up to %d", a.Seq, b.Seq, s.First)
		}
		for p, rest := range [][]Message{all[0], all[1][len(all[1])/4:]} {
			got := collect(t, log, p, 0, rest[len(rest)-1].Seq)
			if p == 1 && len(got) != len(rest) {
				t.Errorf("%d messages left, want %d", len(got), len(rest))
			}
			if p == 0 && got[len(got)-1].Seq != rest[len(rest)-1].Seq {
				t.Errorf("last message %d", got[len(got)-1].Seq)
			}
		}
		// A worker finds its position.
		for _, m := range []Message{a, b} {
			if at, err := log.At(ctx, m.Seq); err != nil || !at.Equal(m.Time) {
				t.Errorf("message %d is of %v, %v; want %v", m.Seq, at, err, m.Time)
			}
		}
		if _, err := log.At(ctx, 1); !errors.Is(err, ErrNotFound) {
			t.Errorf("a trimmed message: %v", err)
		}
		// Once more, back, and not at all: harmless.
		for _, upTo := range []uint64{b.Seq, 1, 0} {
			if s := trim(t, log, 1, upTo); s.First != b.Seq {
				t.Errorf("trim to %d: first is %d", upTo, s.First)
			}
		}
	})

	t.Run("APartitionAtItsEndHoldsUpNothing", func(t *testing.T) {
		t.Parallel()
		_, log := setup(t, Config{Partitions: 2})
		ctx := testContext(t)
		all := fill(t, log, 10)
		idle := all[0][len(all[0])-1]
		trim(t, log, 0, idle.Seq)
		pub := publisher(t, log, PublisherConfig{Source: "other"})
		did := repo(0)
		for i := 0; Partition(did, 2) != 1; i++ {
			did = repo(i)
		}
		for k := range 100 {
			if err := pub.Publish(ctx, post(did, k, 0), nil); err != nil {
				t.Fatal(err)
			}
		}
		positions, err := pub.Flush(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if s := trim(t, log, 1, positions[1]); s.First <= idle.Seq || s.Messages > 2 {
			t.Errorf("%+v; want no more than a cursor, and not message %d", s, idle.Seq)
		}
		if at, err := log.At(ctx, idle.Seq); err != nil || !at.Equal(idle.Time) {
			t.Errorf("position of the idle partition: %v, %v; want %v", at, err, idle.Time)
		}
		// What comes after it is kept for it.
		other := repo(0)
		for i := 0; Partition(other, 2) != 0; i++ {
			other = repo(i)
		}
		if err := pub.Publish(ctx, post(other, 1, 0), nil); err != nil {
			t.Fatal(err)
		}
		if err := pub.Publish(ctx, post(did, 101, 0), nil); err != nil {
			t.Fatal(err)
		}
		if positions, err = pub.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		trim(t, log, 1, positions[1])
		if got := collect(t, log, 0, idle.Seq, positions[0]); len(got) != 1 || got[0].Seq != positions[0] {
			t.Errorf("%d messages for the partition that was idle", len(got))
		}
	})

	t.Run("TheLastCursorsStay", func(t *testing.T) {
		t.Parallel()
		_, log := setup(t, Config{Partitions: 1})
		ctx := testContext(t)
		old := publisher(t, log, PublisherConfig{Source: "old"})
		for _, v := range []int64{1, 7} {
			if err := old.Mark(ctx, Cursor{Value: v}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := old.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		all := fill(t, log, 50)
		for range 2 {
			s := trim(t, log, 0, all[0][len(all[0])-1].Seq)
			if s.Messages > 3 {
				t.Errorf("%+v; want two cursors and one event at most", s)
			}
			for source, want := range map[string]int64{"old": 7, "test": 50} {
				if c, err := log.Cursor(ctx, source); err != nil || c.Value != want {
					t.Errorf("%s: %+v, %v", source, c, err)
				}
			}
		}
	})

	t.Run("AFullLogBehindAnOldCursor", func(t *testing.T) {
		t.Parallel()
		_, log := setup(t, Config{Partitions: 1, MaxBytes: 100_000})
		ctx := testContext(t)
		old := publisher(t, log, PublisherConfig{Source: "old"})
		if err := old.Mark(ctx, Cursor{Value: 7}); err != nil {
			t.Fatal(err)
		}
		if _, err := old.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		pub := publisher(t, log, PublisherConfig{Window: 16})
		done := make(chan error, 1)
		go func() {
			for k := range 1000 {
				if err := pub.Publish(ctx, post(repo(1), k, 100), nil); err != nil {
					done <- err
					return
				}
			}
			_, err := pub.Flush(ctx)
			done <- err
		}()
		r, err := log.Read(ctx, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		for {
			msgs, err := r.Next(ctx, 1000, 50*time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			trim(t, log, 0, msgs[len(msgs)-1].Seq)
			select {
			case err := <-done:
				if err != nil {
					t.Fatal(err)
				}
				if pub.Stats().Retries == 0 {
					t.Error("the log was never full")
				}
				if c, err := log.Cursor(ctx, "old"); err != nil || c.Value != 7 {
					t.Errorf("%+v, %v", c, err)
				}
				return
			default:
			}
		}
	})

	t.Run("ATrimOfALogThatLostItsTailCountsNoMore", func(t *testing.T) {
		t.Parallel()
		srv, log := setup(t, Config{Partitions: 2})
		ctx := testContext(t)
		fill(t, log, 10)
		srv.Stop()
		backup := t.TempDir()
		if err := os.CopyFS(backup, os.DirFS(srv.StoreDir())); err != nil {
			t.Fatal(err)
		}
		srv.Restart()
		before := fill(t, log, 10)
		trim(t, log, 0, before[0][len(before[0])-1].Seq)

		// Of the events, the tail is lost; the trims have survived.
		srv.Stop()
		events := "/jetstream/$G/streams/atview"
		if err := os.RemoveAll(srv.StoreDir() + events); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(srv.StoreDir()+events, os.DirFS(backup+events)); err != nil {
			t.Fatal(err)
		}
		srv.Restart()
		after := fill(t, log, 5)
		trim(t, log, 1, after[1][len(after[1])-1].Seq)
		last := after[0][len(after[0])-1].Seq
		if got := collect(t, log, 0, 0, last); len(got) != len(after[0]) {
			t.Errorf("%d messages of %d that nobody has folded are left", len(got), len(after[0]))
		}
		if _, err := log.At(ctx, before[0][len(before[0])-1].Seq); !errors.Is(err, ErrNotFound) {
			t.Errorf("a position of the log that was: %v", err)
		}
	})
}
