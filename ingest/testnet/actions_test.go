package testnet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/repo"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"golang.org/x/sync/errgroup"

	"github.com/atview/atview/ingest/simulate"
	"github.com/atview/atview/ingest/stream"
	"github.com/atview/atview/schema"
)

// say is a frame in short.
func (m message) say() string {
	switch {
	case m.commit != nil:
		var ops []string
		for _, op := range m.commit.Ops {
			ops = append(ops, op.Action)
		}
		s := "#commit[" + strings.Join(ops, " ") + "]"
		if m.commit.Since == nil {
			s += " first"
		}
		return s
	case m.identity != nil && m.identity.Handle != nil:
		return "#identity " + *m.identity.Handle
	case m.account != nil && m.account.Status != nil:
		return "#account " + *m.account.Status
	case m.account != nil && m.account.Active:
		return "#account active"
	}
	return m.t
}

func said(ms []message) string {
	var out []string
	for _, m := range ms {
		out = append(out, m.say())
	}
	return strings.Join(out, ", ")
}

// TestActions holds what is emitted against what the reference PDS (0.5) and the
// indigo relay emit.
func TestActions(t *testing.T) {
	t.Parallel()
	create := Create(posts, "a", `{"text":"x"}`)
	for _, tc := range []struct {
		name       string
		before, do func(a *Account)
		pds, relay string
	}{
		{
			name: "create", do: func(a *Account) { a.Commit(Create(posts, "b", `{}`)) },
			pds: "#commit[create]", relay: "#commit[create]",
		},
		{
			name: "several operations", do: func(a *Account) {
				a.Commit(Update(posts, "a", `{"text":"y"}`), Create(posts, "b", `{}`), Create(likes, "", `{}`))
			},
			pds: "#commit[update create create]", relay: "#commit[update create create]",
		},
		{name: "put of the same", do: func(a *Account) { a.Commit(Update(posts, "a", `{"text":"x"}`)) }},
		{name: "delete", do: func(a *Account) { a.Commit(Delete(posts, "a")) }, pds: "#commit[delete]", relay: "#commit[delete]"},
		{name: "no operations", do: func(a *Account) { a.Commit() }, pds: "#commit[]", relay: "#commit[]"},
		{name: "handle", do: func(a *Account) { a.ChangeHandle("other.test") }, pds: "#identity other.test", relay: "#identity"},
		{name: "key", do: func(a *Account) { a.RotateKey() }, pds: "#identity", relay: "#identity"},
		{name: "deactivate", do: func(a *Account) { a.Deactivate() }, pds: "#account deactivated", relay: "#account deactivated"},
		{
			name: "activate", before: func(a *Account) { a.Deactivate() }, do: func(a *Account) { a.Activate() },
			pds: "#account active, #identity user-0.test, #sync", relay: "#account active, #identity, #sync",
		},
		{name: "takedown", do: func(a *Account) { a.Takedown() }, pds: "#account takendown", relay: "#account takendown"},
		{
			name: "end of a takedown", before: func(a *Account) { a.Takedown() }, do: func(a *Account) { a.Activate() },
			pds: "#account active", relay: "#account active",
		},
		{name: "delete the account", do: func(a *Account) { a.Delete() }, pds: "#account deleted", relay: "#account deleted"},
		{
			name: "come back from deletion", before: func(a *Account) { a.Delete() }, do: func(a *Account) { a.Activate() },
			pds:   "#identity user-0.test, #account active, #commit[] first, #sync",
			relay: "#identity, #account active, #commit[] first, #sync",
		},
		{name: "resync", do: func(a *Account) { a.Resync(Delete(posts, "a")) }, pds: "#sync", relay: "#sync"},
		{
			name: "migrate", do: func(a *Account) { a.Migrate(1) },
			pds: "#account deactivated", relay: "#identity, #account active, #identity",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			n := start(t, Config{PDSes: 2})
			a := n.NewAccount(0)
			a.Commit(create)
			if tc.before != nil {
				tc.before(a)
			}
			relayAt, pdsAt := n.RelaySeq(), n.pdses[0].stream.tip()
			tc.do(a)
			end := n.NewAccount(0) // so that there is something to read up to
			ms := dial(t, fmt.Sprintf("%s?cursor=%d", n.Firehose(), relayAt)).until(n.RelaySeq())
			if got := said(ms[:len(ms)-4]); got != tc.relay {
				t.Errorf("relay: %s, want %s", got, tc.relay)
			}
			ms = dial(t, fmt.Sprintf("%s?cursor=%d", n.PDSFirehose(0), pdsAt)).until(n.pdses[0].stream.tip())
			if got := said(ms[:len(ms)-4]); got != tc.pds {
				t.Errorf("PDS: %s, want %s", got, tc.pds)
			}
			if got, want := said(ms[len(ms)-4:]), "#identity user-1.test, #account active, #commit[] first, #sync"; got != want {
				t.Errorf("new account %s: %s, want %s", end.DID(), got, want)
			}
		})
	}
}

// TestMigration: until the first new commit, the repository is signed with the old
// key, and the new host's #sync does not hold together.
func TestMigration(t *testing.T) {
	t.Parallel()
	n := start(t, Config{PDSes: 2})
	a := n.NewAccount(0)
	a.Commit(Create(posts, "a", `{}`))
	a.Migrate(1)
	ms := dial(t, n.PDSFirehose(1)+"?cursor=0").until(n.pdses[1].stream.tip())
	if got, want := said(ms), "#identity, #account active, #identity user-0.test, #sync"; got != want {
		t.Fatalf("new PDS: %s, want %s", got, want)
	}
	last := ms[len(ms)-1].sync
	c, _, err := repo.LoadCommitFromCAR(t.Context(), bytes.NewReader(last.Blocks))
	if err != nil || c.Rev == last.Rev {
		t.Fatalf("#sync at %s of commit %v: %v", last.Rev, c, err)
	}
	if _, err := repo.VerifySyncMessage(t.Context(), directory(n), last); err == nil {
		t.Fatal("the #sync is signed with the new key")
	}
	if _, err := verifyRepo(t, n, a, a.CAR()); err == nil {
		t.Fatal("the repository is signed with the new key")
	}
	a.Commit(Create(posts, "b", `{}`))
	records, err := verifyRepo(t, n, a, a.CAR())
	if err != nil || len(records) != 2 {
		t.Fatalf("after a commit: %v, %v", records, err)
	}
	code, body, err := get(t, n.PDS(0)+"/xrpc/com.atproto.sync.getRepo?did="+string(a.DID()))
	if err != nil || code != http.StatusBadRequest || !strings.Contains(string(body), "RepoDeactivated") {
		t.Fatalf("old PDS: %d %s %v", code, body, err)
	}
}

// TestSeed: the same seed gives the same bytes, another one others.
func TestSeed(t *testing.T) {
	t.Parallel()
	frames := func(seed uint64) [][]byte {
		n := start(t, Config{Seed: seed, PDSes: 2})
		drive(n, 1, 6, 200)
		var out [][]byte
		for _, e := range n.relay.stream.entries {
			out = append(out, e.ev.frame(e.seq, true))
		}
		return append(out, n.Accounts()[1].CAR())
	}
	a, b, other := frames(7), frames(7), frames(8)
	if !slices.EqualFunc(a, b, bytes.Equal) {
		t.Error("two networks of one seed differ")
	}
	if slices.EqualFunc(a, other, bytes.Equal) {
		t.Error("the seed makes no difference")
	}
}

// TestSignatures verifies with indigo's own resolver, for both curves and both forms
// of DID documents.
func TestSignatures(t *testing.T) {
	t.Parallel()
	for _, old := range []bool{false, true} {
		n := start(t, Config{K256Every: 2, OldDocs: old})
		for range 4 {
			n.NewAccount(0).Commit(Create(posts, "a", `{}`))
		}
		for _, m := range dial(t, n.Firehose()+"?cursor=0").until(n.RelaySeq()) {
			if m.commit != nil {
				if err := repo.VerifyCommitSignature(t.Context(), directory(n), m.commit); err != nil {
					t.Errorf("old documents %t: %s: %v", old, m.commit.Repo, err)
				}
			}
			if m.sync != nil {
				if _, err := repo.VerifySyncMessage(t.Context(), directory(n), m.sync); err != nil {
					t.Errorf("old documents %t: %s: %v", old, m.sync.Did, err)
				}
			}
		}
	}
}

// TestIdentity resolves handles in both ways, and did:web.
func TestIdentity(t *testing.T) {
	t.Parallel()
	n := start(t, Config{PDSes: 2})
	n.NewAccount(0)
	plain := n.AddAccount(Spec{PDS: 1, Handle: "alice.test"})
	dns := n.AddAccount(Spec{Handle: "bob.test", DNS: true})
	web := n.AddAccount(Spec{DID: "did:web:carol.test", Handle: "carol.test"})
	client := &http.Client{Transport: n.Transport()}
	for _, a := range []*Account{plain, dns, web} {
		res, err := client.Get("https://" + string(a.Handle()) + "/.well-known/atproto-did")
		if err != nil {
			t.Fatal(err)
		}
		var body bytes.Buffer
		_, err = body.ReadFrom(res.Body)
		res.Body.Close()
		if err != nil || body.String() != string(a.DID()) {
			t.Errorf("%s leads to %s, want %s (%v)", a.Handle(), body.String(), a.DID(), err)
		}
	}
	if txt, err := n.LookupTXT(t.Context(), "_atproto.bob.test"); err != nil || !slices.Equal(txt, []string{"did=" + string(dns.DID())}) {
		t.Errorf("TXT of bob.test: %v, %v", txt, err)
	}
	if txt, err := n.LookupTXT(t.Context(), "_atproto.alice.test"); err == nil {
		t.Errorf("TXT of alice.test: %v", txt)
	}
	res, err := client.Get("https://carol.test/.well-known/did.json")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var doc identity.DIDDocument
	if err := json.NewDecoder(res.Body).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	ident := identity.ParseIdentity(&doc)
	key, err := ident.PublicKey()
	if err != nil || !key.Equal(web.Key()) || ident.PDSEndpoint() != n.PDS(0) {
		t.Errorf("did:web: %v, %v", ident, err)
	}

	web.Tombstone()
	plain.Tombstone()
	for url, want := range map[string]int{
		n.PLC() + "/" + string(dns.DID()):             http.StatusOK,
		n.PLC() + "/" + string(plain.DID()):           http.StatusGone,
		n.PLC() + "/did:plc:aaaaaaaaaaaaaaaaaaaaaaaa": http.StatusNotFound,
		n.PLC() + "/" + string(web.DID()):             http.StatusNotFound,
	} {
		if code, body, err := get(t, url); err != nil || code != want {
			t.Errorf("%s: %d %s %v, want %d", url, code, body, err, want)
		}
	}
}

// TestReads is what else a PDS and the relay answer.
func TestReads(t *testing.T) {
	t.Parallel()
	n := start(t, Config{PDSes: 2})
	var ops []Op
	for i := range 120 {
		ops = append(ops, Create(posts, syntax.RecordKey(fmt.Sprintf("k%03d", i)), fmt.Sprintf(`{"n":%d}`, i)))
	}
	a := n.AddAccount(Spec{PDS: 1, Records: append(ops, Create(likes, "l", `{}`))})
	b := n.NewAccount(1)
	ask := func(base, method string, want int, into any) {
		t.Helper()
		code, body, err := get(t, base+"/xrpc/"+method)
		if err != nil || code != want {
			t.Fatalf("%s: %d %s %v", method, code, body, err)
		}
		if err := json.Unmarshal(body, into); err != nil {
			t.Fatalf("%s: %s: %v", method, body, err)
		}
	}
	pds, did := n.PDS(1), string(a.DID())

	var page struct {
		Cursor  string
		Records []struct {
			URI, CID string
			Value    json.RawMessage
		}
	}
	seen := map[string]string{}
	for {
		ask(pds, "com.atproto.repo.listRecords?repo="+did+"&collection="+string(posts)+"&limit=50&cursor="+page.Cursor, 200, &page)
		for _, r := range page.Records {
			seen[r.URI] = r.CID
		}
		if len(page.Records) < 50 {
			break
		}
	}
	for path, rec := range a.Truth().Records {
		if uri := fmt.Sprintf("at://%s/%s/%s", did, path.Collection, path.RKey); path.Collection == posts && seen[uri] != rec.CID {
			t.Errorf("%s: %q, want %s", uri, seen[uri], rec.CID)
		}
	}
	if len(seen) != 120 {
		t.Errorf("%d records listed", len(seen))
	}

	var described struct{ Collections []string }
	ask(pds, "com.atproto.repo.describeRepo?repo="+string(a.Handle()), 200, &described)
	if !slices.Equal(described.Collections, []string{string(likes), string(posts)}) {
		t.Errorf("collections %v", described.Collections)
	}
	var rec struct {
		CID   string
		Value struct{ N int }
	}
	ask(pds, "com.atproto.repo.getRecord?repo="+did+"&collection="+string(posts)+"&rkey=k007", 200, &rec)
	if rec.Value.N != 7 {
		t.Errorf("record %v", rec)
	}
	var fault struct{ Error string }
	ask(pds, "com.atproto.repo.getRecord?repo="+did+"&collection="+string(posts)+"&rkey=k7", 400, &fault)
	if fault.Error != "RecordNotFound" {
		t.Errorf("error %v", fault)
	}
	var latest struct{ CID, Rev string }
	ask(pds, "com.atproto.sync.getLatestCommit?did="+did, 200, &latest)
	if latest.Rev != string(a.Rev()) {
		t.Errorf("latest %v", latest)
	}
	b.Takedown()
	var status struct {
		Active bool
		Status string
	}
	ask(pds, "com.atproto.sync.getRepoStatus?did="+string(b.DID()), 200, &status)
	if status.Active || status.Status != "takendown" {
		t.Errorf("status %v", status)
	}
	var repos struct {
		Repos []struct {
			DID, Rev, Status string
			Active           bool
		}
		Cursor string
	}
	ask(pds, "com.atproto.sync.listRepos", 200, &repos)
	if len(repos.Repos) != 2 || repos.Repos[0].DID != did || repos.Repos[1].Status != "takendown" || repos.Cursor == "" {
		t.Errorf("repositories %v", repos)
	}
	var none struct{ Repos []any }
	ask(n.PDS(0), "com.atproto.sync.listRepos", 200, &none)
	if len(none.Repos) != 0 {
		t.Errorf("repositories of the other PDS: %v", none)
	}

	var hosts struct {
		Hosts []struct {
			Hostname     string
			AccountCount int
		}
	}
	ask(n.Relay(), "com.atproto.sync.listHosts", 200, &hosts)
	if len(hosts.Hosts) != 2 || "http://"+hosts.Hosts[1].Hostname != pds || hosts.Hosts[1].AccountCount != 2 {
		t.Errorf("hosts %v", hosts)
	}

	// A proof that a record is there has its block; one that it is not is a path to
	// where it would be.
	for rkey, want := range map[string]bool{"k042": true, "k042x": false} {
		_, car, err := get(t, pds+"/xrpc/com.atproto.sync.getRecord?did="+did+"&collection="+string(posts)+"&rkey="+rkey)
		if err != nil {
			t.Fatal(err)
		}
		_, r, err := repo.LoadRepoFromCAR(t.Context(), bytes.NewReader(car))
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = r.GetRecordBytes(t.Context(), posts, syntax.RecordKey(rkey))
		if found := err == nil; found != want || len(car) > 10_000 {
			t.Errorf("proof of %s: %v, %d bytes", rkey, err, len(car))
		}
	}

	// The relay knows where a repository is.
	code, car, err := get(t, n.Relay()+"/xrpc/com.atproto.sync.getRepo?did="+did)
	if err != nil || code != 200 || !bytes.Equal(car, a.CAR()) {
		t.Errorf("getRepo through the relay: %d, %d bytes, %v", code, len(car), err)
	}
}

// TestListReposByCollection pages through all that have a collection.
func TestListReposByCollection(t *testing.T) {
	t.Parallel()
	n := start(t, Config{})
	want := map[string]bool{}
	for i := range 25 {
		a := n.NewAccount(0)
		if i%2 == 0 {
			a.Commit(Create(posts, "a", `{}`))
			want[string(a.DID())] = true
		}
	}
	gone := n.NewAccount(0)
	gone.Commit(Create(posts, "a", `{}`))
	gone.Delete()
	list := func(cursor string) (repos []string, next string, code int, err error) {
		code, body, err := get(t, n.Relay()+"/xrpc/com.atproto.sync.listReposByCollection?limit=5&collection="+string(posts)+"&cursor="+cursor)
		if err != nil || code != 200 {
			return nil, "", code, err
		}
		var page struct {
			Repos  []struct{ DID string }
			Cursor string
		}
		err = json.Unmarshal(body, &page)
		for _, r := range page.Repos {
			repos = append(repos, r.DID)
		}
		return repos, page.Cursor, code, err
	}
	got := map[string]bool{}
	for cursor := ""; ; {
		repos, next, _, err := list(cursor)
		if err != nil {
			t.Fatal(err)
		}
		for _, did := range repos {
			got[did] = true
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("%d repositories, want %d", len(got), len(want))
	}

	n.Faults.FailNext(ListFail, 1)
	if _, _, code, _ := list(""); code != 503 {
		t.Errorf("%s: %d", ListFail, code)
	}
	n.Faults.FailNext(ListBroken, 1)
	if _, _, _, err := list(""); err == nil {
		t.Errorf("%s: no error", ListBroken)
	}
	_, first, _, _ := list("")
	n.Faults.FailNext(ListRepeat, 1)
	if _, next, _, _ := list(first); next != first {
		t.Errorf("%s: got on from %s to %s", ListRepeat, first, next)
	}
	for _, f := range []Fault{ListFail, ListBroken, ListRepeat} {
		if n.Faults.Fired(f) != 1 {
			t.Errorf("%s: %d times", f, n.Faults.Fired(f))
		}
	}
}

// TestPlay has the network do what a model of valid records does.
func TestPlay(t *testing.T) {
	t.Parallel()
	cat, err := schema.Load("../../lexicons")
	if err != nil {
		t.Fatal(err)
	}
	m, err := simulate.New(cat, simulate.Config{Seed: 3, Accounts: 30, Mix: simulate.Mix{Create: 60, Update: 15, Delete: 15, Identity: 5, Account: 5}})
	if err != nil {
		t.Fatal(err)
	}
	n := start(t, Config{PDSes: 3})
	events := make([]stream.Event, 3000)
	for i := range events {
		events[i] = m.Next()
	}
	n.Play(events...)
	state, truth, records := m.State(), n.Truth(), 0
	for did, r := range truth {
		want := state.Accounts[did]
		if r.Handle != want.Handle || r.Status != want.Status {
			t.Errorf("%s is %s, %s, want %v", did, r.Handle, r.Status, want)
		}
		for path, rec := range r.Records {
			records++
			want := state.Records[simulate.RecordKey{Collection: path.Collection, DID: did, RKey: path.RKey}]
			if rec.CID != want.CID {
				t.Errorf("%s %v: %s %s, want %s %s", did, path, rec.CID, rec.JSON, want.CID, want.JSON)
			}
		}
	}
	if records != len(state.Records) || records < 500 || len(truth) != len(state.Accounts) {
		t.Errorf("%d records of %d accounts, want %d of %d", records, len(truth), len(state.Records), len(state.Accounts))
	}
}

// TestMistakes: what a PDS would refuse is the test's mistake.
func TestMistakes(t *testing.T) {
	t.Parallel()
	n := start(t, Config{})
	a := n.NewAccount(0)
	a.Commit(Create(posts, "a", `{}`))
	away := n.NewAccount(0)
	away.Deactivate()
	for name, do := range map[string]func(){
		"create of what is":     func() { a.Commit(Create(posts, "a", `{}`)) },
		"update of nothing":     func() { a.Commit(Update(posts, "b", `{}`)) },
		"delete of nothing":     func() { a.Commit(Delete(posts, "b")) },
		"one record twice":      func() { a.Commit(Update(posts, "a", `{"n":1}`), Delete(posts, "a")) },
		"no record":             func() { a.Commit(Create(posts, "c", `[]`)) },
		"commit while inactive": func() { away.Commit() },
		"handle of another":     func() { a.ChangeHandle(away.Handle()) },
		"migration to the same": func() { a.Migrate(0) },
		"the same account":      func() { n.AddAccount(Spec{DID: a.DID()}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s passes", name)
				}
			}()
			do()
		}()
	}
	if got := a.Truth(); len(got.Records) != 1 || len(n.Truth()) != 2 {
		t.Errorf("mistakes leave traces: %v", got)
	}
}

// TestConcurrent: actions, streams and reads at the same time.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	n := start(t, Config{PDSes: 2})
	const writers, commits = 4, 30
	r := dial(t, n.Firehose()+"?cursor=0")
	var g errgroup.Group
	for w := range writers {
		a := n.NewAccount(w % 2)
		g.Go(func() error {
			for i := range commits {
				a.Commit(Create(posts, syntax.RecordKey(fmt.Sprint(i)), `{}`))
			}
			return nil
		})
		g.Go(func() error {
			for range 5 {
				rev := a.Rev()
				_, car, err := get(t, n.PDS(w%2)+"/xrpc/com.atproto.sync.getRepo?did="+string(a.DID()))
				if err != nil {
					return err
				}
				c, repository, err := repo.LoadRepoFromCAR(t.Context(), bytes.NewReader(car))
				if err != nil {
					return err
				}
				if err := repository.MST.Verify(); err != nil || c.Rev < string(rev) {
					return fmt.Errorf("%s at %s: %w", a.DID(), c.Rev, err)
				}
			}
			return nil
		})
	}
	for seq := range int64(writers * (4 + commits)) {
		if m := r.next(); m.seq != seq+1 {
			t.Fatalf("seq %d, want %d", m.seq, seq+1)
		}
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

// TestRaw: a record's block can be anything.
func TestRaw(t *testing.T) {
	t.Parallel()
	n := start(t, Config{})
	a := n.NewAccount(0)
	float := []byte("\xa2\x61n\xfb\x3f\xf8\x00\x00\x00\x00\x00\x00\x65$type\x70com.example.post")
	a.Commit(CreateRaw(posts, "float", float), CreateRaw(posts, "number", []byte{0x07}))
	records, err := verifyRepo(t, n, a, a.CAR())
	if err != nil || len(records) != 2 {
		t.Fatalf("%v, %v", records, err)
	}
	if rec := a.Truth().Records[Path{posts, "float"}]; rec.JSON != nil || !bytes.Equal(rec.CBOR, float) {
		t.Errorf("%v", rec)
	}
}

// TestRecordEncoding pins the data model's forms; a CID says that the block is the
// canonical one.
func TestRecordEncoding(t *testing.T) {
	t.Parallel()
	const in = `{"z":null,"text":"a\u0000\"<ä","aa":[true,-1,9223372036854775807,{"$bytes":"AQI="}],"link":{"$link":"bafyreiaync3gnhdbuflvcqx3i3eabjwezozf4ydbmrihkelwn6dkxyvx2y"}}`
	rec, err := Create(posts, "a", in).encode()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"$type":"com.example.post","aa":[true,-1,9223372036854775807,{"$bytes":"AQI"}],"link":{"$link":"bafyreiaync3gnhdbuflvcqx3i3eabjwezozf4ydbmrihkelwn6dkxyvx2y"},"text":"a\u0000\"<ä","z":null}`
	if string(rec.json) != want {
		t.Errorf("%s\nwant %s", rec.json, want)
	}
	for _, bad := range []string{`1`, `null`, `{"n":1.5}`, `{"l":{"$link":"x"}}`, `{`} {
		if _, err := Create(posts, "a", bad).encode(); err == nil {
			t.Errorf("%s is a record", bad)
		}
	}
}
