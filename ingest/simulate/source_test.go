package simulate_test

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/atview/atview/ingest/jetstream"
	"github.com/atview/atview/ingest/simulate"
	"github.com/atview/atview/ingest/source"
	"github.com/atview/atview/ingest/stream"
)

// TestSourceLosesNothing has the real client read at full speed, killed again
// and again, and fold what it gets by rev: it ends with the model's state.
func TestSourceLosesNothing(t *testing.T) {
	t.Parallel()
	const events = 8_000
	model := newModel(t, examples(t), simulate.Config{
		Seed:     31,
		Accounts: 50,
		Clock:    time.Now,
		Mix:      simulate.Mix{Create: 60, Update: 15, Delete: 15, Identity: 2, Account: 2},
	})
	w := serveModel(t, model, simulate.ServerConfig{Events: events})
	rng := rand.New(rand.NewPCG(1, 2))

	type stored struct {
		simulate.Record
		deleted bool
	}
	records := map[simulate.RecordKey]stored{}
	status := map[string]*stream.Account{}
	seen := map[string]bool{}
	var cursor stream.Cursor
	errKilled := errors.New("killed")
	for kills := 0; len(seen) < events; kills++ {
		src, err := jetstream.New(jetstream.Config{
			URLs:   []string{"ws://" + w.host + "/subscribe"},
			Rewind: 20 * time.Millisecond,
			Plain:  kills%2 == 0,
		})
		if err != nil {
			t.Fatal(err)
		}
		left := 1 + rng.IntN(events/4)
		err = src.Run(t.Context(), cursor, func(line source.Line) error {
			if line.Err != nil {
				t.Errorf("reject: %v", line.Err)
			}
			if left--; left == 0 || len(seen) == events {
				return errKilled // this line is lost with the process
			}
			if line.Cursor.Value != 0 {
				cursor = line.Cursor
			}
			ev := line.Event
			if ev.Kind == "" {
				return nil
			}
			seen[string(ev.AppendJSON(nil))] = true
			switch ev.Kind {
			case stream.KindAccount:
				if was := status[string(ev.DID)]; was == nil || was.Seq < ev.Account.Seq {
					status[string(ev.DID)] = ev.Account
				}
				if ev.Account.Status == "deleted" {
					for key, r := range records {
						// A record that came after the deletion has a later rev.
						if key.DID == ev.DID && r.Rev.Time().Before(ev.Account.Time) {
							delete(records, key)
						}
					}
				}
			case stream.KindCommit:
				c := ev.Commit
				key := simulate.RecordKey{Collection: c.Collection, DID: ev.DID, RKey: c.RKey}
				if was, ok := records[key]; !ok || was.Rev < c.Rev {
					records[key] = stored{simulate.Record{Rev: c.Rev, CID: c.CID}, c.Operation == stream.Delete}
				}
			}
			if len(seen) == events {
				return errKilled
			}
			return nil
		})
		if !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
	}
	<-w.Done()
	state := w.State()
	live := 0
	for key, r := range records {
		if r.deleted {
			continue
		}
		live++
		if want := state.Records[key]; want.Rev != r.Rev || want.CID != r.CID {
			t.Errorf("record %v at %s, want %s", key, r.Rev, want.Rev)
		}
	}
	if live != len(state.Records) {
		t.Errorf("%d records, want %d", live, len(state.Records))
	}
	for did, a := range state.Accounts {
		if got := status[string(did)]; got != nil && got.Active != (a.Status == "active") {
			t.Errorf("account %s is active: %t, want %s", did, got.Active, a.Status)
		}
	}
}

// TestKnownRecordsAreTargets: a demo has records of its own, and new ones should
// be about them.
func TestKnownRecordsAreTargets(t *testing.T) {
	t.Parallel()
	cat := examples(t)
	elsewhere := newModel(t, cat, simulate.Config{Seed: 1, Accounts: 3})
	m := newModel(t, cat, simulate.Config{Seed: 2, Accounts: 3})
	known := map[string]bool{}
	for range 300 {
		ev := elsewhere.Next()
		m.Know(ev)
		if ev.Commit != nil {
			known["at://"+string(ev.DID)+"/"+string(ev.Commit.Collection)+"/"+string(ev.Commit.RKey)] = true
		}
	}
	for range 500 {
		m.Next()
	}
	found := 0
	s := m.State()
	for key, n := range s.Counts() {
		if known[key.Target] {
			found += n.Records
		}
	}
	if found < 50 {
		t.Errorf("%d links to what was there before", found)
	}
	for key := range s.Records {
		if known["at://"+string(key.DID)+"/"+string(key.Collection)+"/"+string(key.RKey)] {
			t.Errorf("%v is in the state and not of this network", key)
		}
	}
}
