package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atview/atview/ingest/internal/natstest"
)

// testContext ends long after any test that works.
func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func setup(t testing.TB, cfg Config) (*natstest.Server, *Log) {
	t.Helper()
	srv := natstest.Start(t)
	log, err := Open(testContext(t), srv.Connect(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return srv, log
}

func publisher(t testing.TB, log *Log, cfg PublisherConfig) *Publisher {
	t.Helper()
	if cfg.Source == "" {
		cfg.Source = "test"
	}
	pub, err := log.NewPublisher(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pub.Close)
	return pub
}

// repo returns the DID of a made-up repository.
func repo(i int) syntax.DID { return syntax.DID(fmt.Sprintf("did:plc:%024d", i)) }

// post returns the n-th event of a repository; size pads the record.
func post(did syntax.DID, n, size int) *Event {
	return &Event{DID: did, TimeUS: int64(1_800_000_000_000_000 + n), Kind: KindCommit, Commit: &Commit{
		Rev:        syntax.NewTIDFromInteger(uint64(1_000_000 + n)),
		Operation:  Create,
		Collection: "app.bsky.feed.post",
		RKey:       syntax.RecordKey(fmt.Sprintf("r%d", n)),
		Record:     fmt.Appendf(nil, `{"$type":"app.bsky.feed.post","n":%d,"text":"%s"}`, n, strings.Repeat("x", size)),
	}}
}

// collect reads a partition up to sequence number last.
func collect(t testing.TB, log *Log, partition int, after, last uint64) []Message {
	t.Helper()
	ctx := testContext(t)
	r, err := log.Read(ctx, partition, after)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var all []Message
	for len(all) == 0 || all[len(all)-1].Seq < last {
		if last <= after {
			return nil
		}
		msgs, err := r.Next(ctx, 500, 0)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, msgs...)
	}
	return all
}

// byRepo parses messages and returns the numbers of each repository's records,
// in order.
func byRepo(t testing.TB, msgs []Message) map[syntax.DID][]int {
	t.Helper()
	got := make(map[syntax.DID][]int)
	for _, m := range msgs {
		ev, err := Parse(m.Data)
		if err != nil {
			t.Fatalf("message %d: %v", m.Seq, err)
		}
		var n int
		if _, err := fmt.Sscanf(string(ev.Commit.RKey), "r%d", &n); err != nil {
			t.Fatal(err)
		}
		got[ev.DID] = append(got[ev.DID], n)
	}
	return got
}

func TestLog(t *testing.T) {
	t.Parallel()

	t.Run("EventsComeBackInOrder", func(t *testing.T) {
		t.Parallel()
		_, log := setup(t, Config{})
		ctx := testContext(t)
		pub := publisher(t, log, PublisherConfig{Window: 64})
		const repos, each = 20, 100
		for n := range each {
			for i := range repos {
				if err := pub.Publish(ctx, post(repo(i), n, 10), nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		positions, err := pub.Flush(ctx)
		if err != nil {
			t.Fatal(err)
		}
		seen := 0
		for p := range log.Partitions() {
			last, err := log.Last(ctx, p)
			if err != nil || last != positions[p] {
				t.Errorf("partition %d: last %d, %v; flushed %d", p, last, err, positions[p])
			}
			for did, ns := range byRepo(t, collect(t, log, p, 0, last)) {
				if Partition(did, log.Partitions()) != p {
					t.Errorf("%s on partition %d", did, p)
				}
				seen += len(ns)
				for i, n := range ns {
					if i != n {
						t.Fatalf("%s: place %d holds %d", did, i, n)
					}
				}
			}
		}
		if seen != repos*each {
			t.Errorf("%d events came back of %d", seen, repos*each)
		}
	})

	t.Run("LineIsKeptByteForByte", func(t *testing.T) {
		t.Parallel()
		_, log := setup(t, Config{Partitions: 1})
		ctx := testContext(t)
		pub := publisher(t, log, PublisherConfig{})
		line := []byte(strings.Replace(likeLine, `"kind"`, ` "unknown" : "\ud800" , "kind"`, 1))
		ev, err := Parse(line)
		if err != nil {
			t.Fatal(err)
		}
		if err := pub.Publish(ctx, &ev, line); err != nil {
			t.Fatal(err)
		}
		positions, err := pub.Flush(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if got := collect(t, log, 0, 0, positions[0]); string(got[0].Data) != string(line) {
			t.Errorf("got\n%s\nwant\n%s", got[0].Data, line)
		}
	})

	t.Run("ReaderStartsAfterAPosition", func(t *testing.T) {
		t.Parallel()
		_, log := setup(t, Config{Partitions: 2})
		ctx := testContext(t)
		pub := publisher(t, log, PublisherConfig{})
		for n := range 50 {
			for i := range 10 {
				if err := pub.Publish(ctx, post(repo(i), n, 0), nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		positions, err := pub.Flush(ctx)
		if err != nil {
			t.Fatal(err)
		}
		all := collect(t, log, 1, 0, positions[1])
		half := all[len(all)/2]
		rest := collect(t, log, 1, half.Seq, positions[1])
		if want := all[len(all)/2+1:]; len(rest) != len(want) || rest[0].Seq != want[0].Seq {
			t.Errorf("%d messages from %d, want %d from %d", len(rest), rest[0].Seq, len(want), want[0].Seq)
		}
	})

	t.Run("NextTakesWhatIsThereUpToMax", func(t *testing.T) {
		t.Parallel()
		_, log := setup(t, Config{Partitions: 1})
		ctx := testContext(t)
		pub := publisher(t, log, PublisherConfig{})
		for n := range 30 {
			if err := pub.Publish(ctx, post(repo(1), n, 0), nil); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := pub.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		r, err := log.Read(ctx, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		for _, want := range []int{20, 10} {
			msgs, err := r.Next(ctx, 20, 200*time.Millisecond)
			if err != nil || len(msgs) != want {
				t.Errorf("%d messages, %v; want %d", len(msgs), err, want)
			}
		}
		short, cancel := context.WithCancel(ctx)
		cancel()
		if msgs, err := r.Next(short, 20, 0); !errors.Is(err, context.Canceled) || msgs != nil {
			t.Errorf("%d messages, %v; want context.Canceled", len(msgs), err)
		}
	})

	t.Run("RejectTellsWhatAndWhy", func(t *testing.T) {
		t.Parallel()
		_, log := setup(t, Config{Partitions: 1})
		ctx := testContext(t)
		pub := publisher(t, log, PublisherConfig{Source: "wss://one.test/subscribe"})
		bad := []byte("{\"did\":\xff\x00\n}")
		ev, why := Parse(bad)
		if err := pub.Reject(ctx, &ev, bad, why); err != nil {
			t.Fatal(err)
		}
		// More than NATS takes.
		big := post(repo(1), 1, 9<<20)
		if err := pub.Publish(ctx, big, nil); err != nil {
			t.Fatal(err)
		}
		positions, err := pub.Flush(ctx)
		if err != nil {
			t.Fatal(err)
		}
		got := collect(t, log, 0, 0, positions[0])
		if len(got) != 2 {
			t.Fatalf("%d messages", len(got))
		}
		if r := got[0].Reject; r == nil || r.Reason != ReasonJSON || r.Source != "wss://one.test/subscribe" || r.Length != len(bad) || string(got[0].Data) != string(bad) {
			t.Errorf("%+v, body %q", r, got[0].Data)
		}
		whole := big.AppendJSON(nil)
		if r := got[1].Reject; r == nil || r.Reason != ReasonTooLarge || r.Length != len(whole) || !strings.HasPrefix(string(whole), string(got[1].Data)) {
			t.Errorf("%+v", r)
		}
	})

	t.Run("CursorOfASourceIsItsLast", func(t *testing.T) {
		t.Parallel()
		_, log := setup(t, Config{})
		ctx := testContext(t)
		if _, err := log.Cursor(ctx, "jetstream"); !errors.Is(err, ErrNotFound) {
			t.Errorf("cursor of a source that never ran: %v", err)
		}
		for _, source := range []string{"jetstream", "a b.c>*", "a b.c>?"} {
			pub := publisher(t, log, PublisherConfig{Source: source})
			for _, v := range []int64{10, 20, 15} {
				if err := pub.Mark(ctx, Cursor{Value: v, Host: "one.test"}); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := pub.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			c, err := log.Cursor(ctx, source)
			if err != nil || c.Value != 15 || c.Host != "one.test" || c.Source != source || c.Time.IsZero() {
				t.Errorf("%+v, %v", c, err)
			}
		}
	})

	t.Run("PartitionsAreBoundToTheLog", func(t *testing.T) {
		t.Parallel()
		srv, _ := setup(t, Config{Partitions: 3})
		ctx := testContext(t)
		nc := srv.Connect()
		// Empty, it can be changed.
		log, err := Open(ctx, nc, Config{Partitions: 4})
		if err != nil || log.Partitions() != 4 {
			t.Fatalf("%v", err)
		}
		pub := publisher(t, log, PublisherConfig{})
		if err := pub.Publish(ctx, post(repo(1), 1, 0), nil); err != nil {
			t.Fatal(err)
		}
		if _, err := pub.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(ctx, nc, Config{Partitions: 8}); !errors.Is(err, ErrPartitions) {
			t.Errorf("another number: %v", err)
		}
		if again, err := Open(ctx, nc, Config{}); err != nil || again.Partitions() != 4 {
			t.Errorf("no number: %v", err)
		}
		if _, err := Open(ctx, nc, Config{Name: "a.b", Partitions: -1, MaxBytes: -1}); err == nil || strings.Count(err.Error(), "\n") != 2 {
			t.Errorf("three faults: %v", err)
		}
	})
}

func TestPartition(t *testing.T) {
	t.Parallel()
	// The log is bound to these: a change loses the order of each repository.
	golden := []struct {
		did       syntax.DID
		of8, of13 int
	}{
		{"did:plc:wq4aajammjtxdomz3e23667t", 6, 4},
		{"did:plc:ewvi7nxzyoun6zhxrhs64oiz", 6, 10},
		{"did:web:alice.example.com", 6, 6},
		{"", 1, 2},
	}
	for _, g := range golden {
		if a, b := Partition(g.did, 8), Partition(g.did, 13); a != g.of8 || b != g.of13 {
			t.Errorf("{%q, %d, %d},", g.did, a, b)
		}
	}

	var count [8]int
	const n = 80_000
	for i := range n {
		count[Partition(syntax.DID("did:plc:"+syntax.NewTID(int64(i)*7919, 5)+"aaaaaaaaaaa"), 8)]++
	}
	for p, c := range count {
		if c < n/8*9/10 || c > n/8*11/10 {
			t.Errorf("partition %d has %d of %d", p, c, n)
		}
	}
}
