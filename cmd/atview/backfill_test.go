package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atview/atview/ingest/simulate"
	"github.com/atview/atview/ingest/stream"
	"github.com/atview/atview/ingest/testnet"
	"github.com/atview/atview/schema"
)

// repos is how many repositories the network has whose history is to be read.
const repos = 2000

// signed is a network of signed repositories whose history is in its PDSes only,
// and which goes on writing.
type signed struct {
	*testnet.Network
	cat     *schema.Catalog
	model   *simulate.Model
	written atomic.Int64
}

func startSigned(t *testing.T, seed uint64, accounts, history int) *signed {
	t.Helper()
	cat, err := schema.Load(exampleLexiconDir(t))
	if err != nil {
		t.Fatal(err)
	}
	model, err := simulate.New(cat, simulate.Config{Seed: seed, Accounts: accounts, Clock: time.Now, Odd: 0.01,
		Mix: simulate.Mix{Create: 75, Update: 10, Delete: 13, Identity: 1, Account: 1}})
	if err != nil {
		t.Fatal(err)
	}
	network, err := testnet.Start(testnet.Config{Seed: seed, PDSes: 4, Clock: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(network.Close)
	n := &signed{Network: network, cat: cat, model: model}
	for len(network.Accounts()) < accounts || model.Events() < int64(history) {
		n.write(1000)
	}
	network.Forget()
	return n
}

func (n *signed) write(events int) {
	batch := make([]stream.Event, events)
	for i := range batch {
		batch[i] = n.model.Next()
	}
	n.Play(batch...)
	n.written.Add(int64(events))
}

// writing goes on writing until the test stops it, some 500 events a second, as
// the whole network does.
func (n *signed) writing(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				n.write(10)
			case <-ctx.Done():
				return
			}
		}
	}()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			<-done
		}
	}
	t.Cleanup(stop)
	return stop
}

// truth is what the PDSes have of the collections of the catalog, as lines.
func (n *signed) truth() []string {
	var out []string
	for did, r := range n.Truth() {
		if r.Status == testnet.Deleted {
			continue
		}
		for p, rec := range r.Records {
			if n.cat.Collection(p.Collection) != nil {
				out = append(out, fmt.Sprintf("%s %s %s %s hidden=%t", p.Collection, did, p.RKey, rec.CID, r.Status != testnet.Active))
			}
		}
	}
	slices.Sort(out)
	return out
}

func (n *signed) tables(ctx context.Context, database string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var out []string
	for _, c := range n.cat.Collections {
		rows, err := psql(ctx, database, fmt.Sprintf("select concat_ws(' ', '%s', did, rkey, cid, 'hidden=' || hidden::text) from records.%s", c.NSID, schema.Quote(c.Table)))
		if err != nil {
			return nil, err
		}
		out = append(out, rows...)
	}
	slices.Sort(out)
	return out, nil
}

// expect waits until the tables are what the PDSes have.
func (n *signed) expect(t *testing.T, p *process, within time.Duration) {
	t.Helper()
	eventually(t, within, "tables equal the repositories", func() (bool, string) {
		got, err := n.tables(t.Context(), p.Database)
		if err != nil {
			return false, err.Error()
		}
		want := n.truth()
		if slices.Equal(want, got) {
			return true, ""
		}
		states, err := psql(t.Context(), p.Database, "select state || ' ' || why || ' ' || coalesce(split_part(reason, ':', 1), '') || ' ' || count(*) from atview.repo group by state, why, split_part(reason, ':', 1), reason is null order by 1")
		return false, difference(want, got) + n.explain(t, p, want, got) + strings.Join(states, "\n") + fmt.Sprint(err) + "\n" + lastLines(p.log(), 30)
	})
	t.Logf("%d records agree", len(n.truth()))
}

// explain says what is known of the first few repositories that differ.
func (n *signed) explain(t *testing.T, p *process, want, got []string) string {
	differ := map[string]int{}
	for _, pair := range [][2][]string{{want, got}, {got, want}} {
		for _, line := range pair[0] {
			if _, found := slices.BinarySearch(pair[1], line); !found {
				differ[strings.Fields(line)[1]]++
			}
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d repositories differ\n", len(differ))
	shown := 0
	for did, lines := range differ {
		if shown++; shown > 5 {
			break
		}
		rows, err := psql(t.Context(), p.Database, fmt.Sprintf(`select concat_ws(' ', r.state, r.why, 'wanted', r.wanted_rev, 'read', r.rev, 'due', r.due_at - now(), r.reason, 'synced', a.synced_rev, a.status)
			from (select '%s' as did) k left join atview.repo r using (did) left join atview.actor a using (did)`, did))
		truth := n.Account(syntax.DID(did)).Truth()
		fmt.Fprintf(&b, "%s: %d lines; %s at %s, at %s; here %v %v\n", did, lines, truth.Status, truth.PDS, truth.Rev, rows, err)
	}
	return b.String()
}

// faults are all that a network does to those who read it, with how often.
var faults = map[testnet.Fault]float64{
	testnet.RelayDuplicate: 0.01, testnet.RelayReorder: 0.01, testnet.RelayReplay: 0.002, testnet.RelayRegress: 0.001,
	testnet.RelayGarbage: 0.002, testnet.RelayCut: 0.0005, testnet.RelayError: 0.0003, testnet.RelayRefuse: 0.2,
	testnet.ListFail: 0.3, testnet.ListBroken: 0.3,
	testnet.PDSRateLimit: 0.01, testnet.PDSBusy: 0.02, testnet.PDSError: 0.03, testnet.PDSSlow: 0.03, testnet.PDSCut: 0.03,
	testnet.RepoHuge: 0.03, testnet.RepoTruncated: 0.03, testnet.RepoNoNode: 0.03, testnet.RepoNoRecord: 0.03, testnet.RepoFlip: 0.03,
	testnet.RepoPrefix: 0.03, testnet.RepoOrder: 0.03, testnet.RepoWrongKey: 0.03, testnet.RepoOther: 0.03, testnet.RepoCut: 0.03,
	testnet.PLCFail: 0.02, testnet.PLCSlow: 0.01,
}

// gaps are what the relay loses or has spoilt on its way in: no cursor brings it
// back.
var gaps = map[testnet.Fault]float64{testnet.RelayDrop: 0.01, testnet.RelayTamper: 0.005, testnet.RelayForge: 0.005}

func (n *signed) set(rates map[testnet.Fault]float64) {
	for fault, rate := range rates {
		n.Faults.Set(fault, testnet.Rule{Rate: rate})
	}
}

// TestBackfillOfAHostileNetwork reads the history of a network that goes on
// writing, whose relay and PDSes misbehave in every way, while atview is killed
// again and again. In the end the tables are what the PDSes have.
func TestBackfillOfAHostileNetwork(t *testing.T) {
	t.Parallel()
	n := startSigned(t, 1, repos, 30_000)
	args := []string{"dev", "--lexicons", exampleLexiconDir(t), "--data", sharedDir(t), "--listen", "127.0.0.1:0",
		"--source", n.Firehose(), "--relay", n.Relay(), "--plc-url", n.PLC(), "--allow-private-hosts", "--backfill-host-rate", "1000"}
	p := launch(t, args...)
	n.set(faults)
	n.set(gaps)
	stop := n.writing(t)
	rng := rand.New(rand.NewPCG(1, 5))
	for range kills {
		goal := n.written.Load() + 50 + rng.Int64N(800)
		eventually(t, time.Minute, "the network goes on", func() (bool, string) { return n.written.Load() >= goal, "" })
		p.Kill()
		p = launch(t, args...)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for fault := range gaps {
		if err := n.Faults.Wait(ctx, fault, 20); err != nil {
			t.Fatalf("%s: %v", fault, err)
		}
	}
	for fault := range faults {
		if err := n.Faults.Wait(ctx, fault, 1); err != nil {
			t.Errorf("%s: it has not happened", fault)
		}
	}
	stop()
	n.Faults.Off()
	t.Logf("%d events in all, %d of them live", n.model.Events(), n.written.Load())

	// The next commit shows that one before it is missing.
	for _, a := range n.Accounts() {
		if a.Status() == testnet.Deleted {
			continue
		}
		if a.Status() != testnet.Active {
			a.Activate()
		}
		a.Commit(testnet.Create("app.bsky.graph.follow", "", map[string]any{"subject": a.DID(), "createdAt": "2026-01-01T00:00:00Z"}))
	}
	if _, errs, code := atview(t, "backfill", "--retry", "--database-url", p.Database); code != 0 {
		t.Errorf("backfill --retry: %s", errs)
	}
	n.expect(t, p, 4*time.Minute)
	for i, a := range n.Accounts() {
		if i%50 == 0 && a.Status() == testnet.Active {
			a.Deactivate()
		}
	}
	n.expect(t, p, time.Minute)
	if out, errs, code := atview(t, "verify", "--lexicons", exampleLexiconDir(t), "--database-url", p.Database); code != 0 {
		t.Errorf("verify: %s\n%s", out, errs)
	}
}
