package firehose

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"

	"github.com/atview/atview/index/dbtest"
	repocar "github.com/atview/atview/ingest/car"
	"github.com/atview/atview/ingest/identity"
	"github.com/atview/atview/ingest/source"
	"github.com/atview/atview/ingest/stream"
	"github.com/atview/atview/ingest/testnet"
	"github.com/atview/atview/migrations"
	"github.com/atview/atview/queries"
)

// networkDirectory takes identities from a network's books.
type networkDirectory struct{ *testnet.Network }

func (d networkDirectory) Lookup(_ context.Context, did syntax.DID) (identity.Identity, error) {
	a := d.Account(did)
	if a == nil {
		return identity.Identity{}, identity.ErrNotFound
	}
	return identity.Identity{DID: did, Key: a.Key()}, nil
}

func (d networkDirectory) Refresh(ctx context.Context, did syntax.DID) (identity.Identity, error) {
	return d.Lookup(ctx, did)
}

const note = syntax.NSID("com.example.note")

// TestHeadsOutliveARestart loses a commit while nobody reads. With a database the
// next commit shows it; without, nobody can tell.
func TestHeadsOutliveARestart(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		remember, lose bool
		cursor         int64 // how far back the log's cursor is when reading goes on
		syncs          int
	}{
		"ALostCommitIsNoticed":     {remember: true, lose: true, syncs: 1},
		"NotWithoutADatabase":      {remember: false, lose: true, syncs: 0},
		"NothingLostIsNoAlarm":     {remember: true, lose: false, syncs: 0},
		"ACursorBehindIsNoAlarm":   {remember: true, lose: false, cursor: 3, syncs: 0},
		"ALossBeforeThatIsNoticed": {remember: true, lose: true, cursor: 3, syncs: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			net, err := testnet.Start(testnet.Config{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(net.Close)
			var pool *pgxpool.Pool
			if c.remember {
				pool = dbtest.Pool(t)
				if err := migrations.Up(t.Context(), pool); err != nil {
					t.Fatal(err)
				}
			}
			a := net.NewAccount(0)
			write := func(rkey syntax.RecordKey) { a.Commit(testnet.Create(note, rkey, map[string]any{"text": "x"})) }
			for _, rkey := range []syntax.RecordKey{"a", "b", "c"} {
				write(rkey)
			}
			first := read(t, net, pool, stream.Cursor{}, "c")
			if c.lose {
				net.Faults.FailNext(testnet.RelayDrop, 1)
			}
			write("d")
			write("e")
			at := first.cursor
			at.Value -= c.cursor
			if second := read(t, net, pool, at, "e"); second.syncs != c.syncs {
				t.Errorf("%d sync events, want %d", second.syncs, c.syncs)
			}
		})
	}
}

// TestAReadRepositoryIsAHead loses the first commit after a repository was read
// whole.
func TestAReadRepositoryIsAHead(t *testing.T) {
	t.Parallel()
	net, err := testnet.Start(testnet.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(net.Close)
	pool := dbtest.Pool(t)
	if err := migrations.Up(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	a := net.NewAccount(0)
	a.Commit(testnet.Create(note, "a", map[string]any{"text": "x"}))
	repo, err := repocar.Verify(t.Context(), bytes.NewReader(a.CAR()), int64(len(a.CAR())), repocar.Options{DID: a.DID(), Key: a.Key()})
	if err != nil {
		t.Fatal(err)
	}
	if err := queries.New().PutNewerHead(t.Context(), pool, queries.PutNewerHeadParams{Did: string(a.DID()), Rev: string(repo.Rev), Data: repo.Data().String()}); err != nil {
		t.Fatal(err)
	}
	net.Forget()
	net.Faults.FailNext(testnet.RelayDrop, 1)
	a.Commit(testnet.Create(note, "b", map[string]any{"text": "x"}))
	a.Commit(testnet.Create(note, "c", map[string]any{"text": "x"}))
	if seen := read(t, net, pool, stream.Cursor{}, "c"); seen.syncs != 1 {
		t.Errorf("%d sync events, want 1", seen.syncs)
	}
}

// seenSoFar is what a run has emitted.
type seenSoFar struct {
	cursor stream.Cursor
	syncs  int
}

var errEnough = errors.New("enough")

// read runs a source until it has emitted a record, and what goes with it.
func read(t *testing.T, net *testnet.Network, pool *pgxpool.Pool, from stream.Cursor, until syntax.RecordKey) seenSoFar {
	t.Helper()
	src, err := New(Config{URLs: []string{net.Firehose()}, FromStart: true, Directory: networkDirectory{net}, Pool: pool, HeadsEvery: 1, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	src.SetCollections(source.Collections{})
	var seen seenSoFar
	found := false
	err = src.Run(t.Context(), from, func(line source.Line) error {
		if line.Cursor.Value != 0 {
			seen.cursor = line.Cursor
		}
		switch ev := line.Event; {
		case ev.Sync != nil:
			seen.syncs++
		case ev.Commit != nil && ev.Commit.RKey == until:
			found = true
		}
		if found && line.Cursor.Value != 0 {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	return seen
}
