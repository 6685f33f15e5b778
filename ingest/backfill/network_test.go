package backfill_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"

	"github.com/atview/atview/index"
	"github.com/atview/atview/ingest/identity"
	"github.com/atview/atview/ingest/outbound"
	"github.com/atview/atview/ingest/source"
	"github.com/atview/atview/ingest/stream"
	"github.com/atview/atview/ingest/testnet"
	"github.com/atview/atview/queries"
	"github.com/atview/atview/schema"
)

const (
	status = syntax.NSID("xyz.statusphere.status")
	recipe = syntax.NSID("com.myrecipes.recipe")
)

// TestNetwork reads a whole network in which everything goes wrong now and then,
// into tables, and compares those with the network.
func TestNetwork(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n, err := testnet.Start(testnet.Config{Seed: 3, PDSes: 3, Slow: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	statusOf := func(a, i int) testnet.Op {
		return testnet.Create(status, syntax.RecordKey(fmt.Sprintf("s%d", i)), fmt.Sprintf(`{"status":"%d","createdAt":"2026-01-%02dT00:00:00Z"}`, a%10, i%28+1))
	}
	const accounts = 60
	for i := range accounts {
		ops := []testnet.Op{testnet.Create("app.bsky.feed.post", "other", `{"text":"not wanted","createdAt":"2026-01-01T00:00:00Z"}`)}
		for k := range i % 17 * 3 {
			ops = append(ops, statusOf(i, k))
		}
		ops = append(ops, testnet.Create(recipe, "r", `{"name":"Soup","createdAt":"2026-01-01T00:00:00Z"}`))
		a := n.AddAccount(testnet.Spec{PDS: i % 3, Records: ops})
		a.Commit(statusOf(i, 900)) // so that there is something to be stale
		a.Commit(testnet.Delete(recipe, "r"))
		switch {
		case i%20 == 7:
			a.Deactivate()
		case i%20 == 11:
			a.Migrate((i + 1) % 3)
			a.Commit(statusOf(i, 901))
		case i%20 == 15:
			a.RotateKey()
			a.Commit(statusOf(i, 902))
		}
	}

	// The fold.
	cat, err := schema.Load("../../lexicons")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := index.Migrate(t.Context(), w.pool, cat, index.MigrateConfig{Logger: zerolog.Nop()}); err != nil {
		t.Fatal(err)
	}
	live, err := streamOf(w, "atview", 0)
	if err != nil {
		t.Fatal(err)
	}
	ix, err := index.New(index.Config{Pool: w.pool, Log: live, Backfill: w.lane, Catalog: cat, Logger: zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var folding sync.WaitGroup
	folding.Go(func() {
		if err := ix.Run(ctx); err != nil {
			t.Errorf("index: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); folding.Wait() })

	// Who finds the accounts.
	client, err := outbound.New(outbound.Config{AllowPrivate: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	resolver, err := identity.NewResolver(identity.ResolverConfig{HTTP: client, DNS: n, PLC: n.PLC(), AllowPrivate: true, PLCRate: 1e6, PLCBurst: 1000})
	if err != nil {
		t.Fatal(err)
	}
	directory, err := identity.NewCache(identity.CacheConfig{
		Resolver: resolver, RetryEvery: 10 * time.Millisecond, NegativeTTL: 10 * time.Millisecond, RefreshEvery: 10 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}

	faults := []testnet.Fault{
		testnet.ListFail, testnet.ListBroken,
		testnet.PDSRateLimit, testnet.PDSBusy, testnet.PDSError, testnet.PDSSlow, testnet.PDSCut,
		testnet.RepoEndless, testnet.RepoHuge, testnet.RepoTrickle, testnet.RepoTruncated, testnet.RepoNoNode, testnet.RepoNoRecord,
		testnet.RepoFlip, testnet.RepoPrefix, testnet.RepoOrder, testnet.RepoWrongKey, testnet.RepoOther, testnet.RepoCut,
		testnet.PLCFail, testnet.PLCLimit, testnet.PLCSlow,
	}
	cfg := w.config()
	cfg.NSIDs = []syntax.NSID{status, recipe}
	if cfg.Collections, err = source.ParseCollections([]string{string(status), string(recipe)}); err != nil {
		t.Fatal(err)
	}
	cfg.RelayURL = n.Relay()
	cfg.Fetch.Directory, cfg.Fetch.HTTP = directory, client
	cfg.Fetch.Limits.Bytes = 1 << 20
	cfg.Fetch.SpeedWindow = 500 * time.Millisecond
	cfg.Hosts.MaxPause = 50 * time.Millisecond
	b := w.new(cfg)

	settled := func() bool {
		c, err := b.Counts(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return c.Open()+c.Failed == 0 && c.Total() == accounts && !b.Stats().Listing
	}
	set := func(faults ...testnet.Fault) {
		for i, f := range faults {
			n.Faults.Set(f, testnet.Rule{Rate: 0.1, Times: 4 + i%3})
		}
	}
	set(faults...)
	n.Faults.Set(testnet.ListFail, testnet.Rule{Times: 1})
	n.Faults.Set(testnet.ListBroken, testnet.Rule{Times: 1})
	stop := w.run(b)
	w.until("all is read", settled)
	compare(t, w, cat, n)

	// What has changed since is asked for, of hosts that at first give out what was
	// before. Records that are no more are taken out of the tables.
	set(testnet.RepoStale, testnet.RepoNoNode, testnet.PDSCut, testnet.RepoCut)
	n.Faults.Set(testnet.RepoStale, testnet.Rule{Times: 5})
	var ask queries.QueueReposParams
	ask.Why = "sync"
	for i, a := range n.Accounts() {
		if a.Status() != testnet.Active {
			continue
		}
		if a.Has(status, "s1") && i%2 == 0 {
			a.Commit(testnet.Delete(status, "s1"), testnet.Update(status, "s0", `{"status":"x","createdAt":"2026-02-01T00:00:00Z"}`))
		} else {
			a.Commit(statusOf(i, 1000))
		}
		ask.Dids, ask.WantedRevs = append(ask.Dids, string(a.DID())), append(ask.WantedRevs, string(a.Rev()))
	}
	if err := queries.New().QueueRepos(t.Context(), w.pool, ask); err != nil {
		t.Fatal(err)
	}
	w.until("all is read again", settled)
	compare(t, w, cat, n)
	stop()
	noFiles(t, cfg.Fetch.TempDir)
	if idle := n.Faults.Idle(); len(idle) > 0 {
		t.Errorf("never happened: %q", idle)
	}
	if n.Faults.Fired(testnet.RepoStale) == 0 {
		t.Error("no repository was stale")
	}
}

// compare compares the tables with the network.
func compare(t *testing.T, w *world, cat *schema.Catalog, n *testnet.Network) {
	t.Helper()
	type row struct {
		DID, RKey, CID, Rev string
		Record              []byte
	}
	got, want := map[string]row{}, map[string]testnet.Record{}
	for _, c := range cat.Collections {
		if c.NSID != status && c.NSID != recipe {
			continue
		}
		rows, err := w.pool.Query(t.Context(), `select did, rkey, cid, rev, record from `+pgx.Identifier{"records", c.Table}.Sanitize()+` where not hidden`)
		if err != nil {
			t.Fatal(err)
		}
		all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[row])
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range all {
			got[fmt.Sprintf("at://%s/%s/%s", r.DID, c.NSID, r.RKey)] = r
		}
	}
	for did, repo := range n.Truth() {
		r := w.row(did)
		if repo.Status != testnet.Active {
			if r.State != "gone" || r.Reason == "" {
				t.Errorf("%s is %s: %+v", did, repo.Status, r)
			}
			continue
		}
		if r.State != "done" || r.Rev != string(repo.Rev) || r.Coverage != stream.Coverage([]syntax.NSID{status, recipe}) {
			t.Errorf("%+v at %s", r, repo.Rev)
		}
		for path, rec := range repo.Records {
			if path.Collection == status || path.Collection == recipe {
				want[fmt.Sprintf("at://%s/%s/%s", did, path.Collection, path.RKey)] = rec
			}
		}
	}
	for uri, rec := range want {
		r, ok := got[uri]
		if !ok {
			t.Errorf("%s is missing", uri)
			continue
		}
		var a, b any
		if json.Unmarshal(r.Record, &a) != nil || json.Unmarshal(rec.JSON, &b) != nil || !reflect.DeepEqual(a, b) || r.CID != rec.CID {
			t.Errorf("%s: %s %s, want %s %s", uri, r.CID, r.Record, rec.CID, rec.JSON)
		}
	}
	for uri := range maps.Keys(got) {
		if _, ok := want[uri]; !ok {
			t.Errorf("%s is too much", uri)
		}
	}
	if len(want) < 500 {
		t.Errorf("only %d records were compared", len(want))
	}
}
