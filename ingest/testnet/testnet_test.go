package testnet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	comatproto "github.com/bluesky-social/indigo/api/atproto"
	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/repo"
	"github.com/bluesky-social/indigo/atproto/repo/mst"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/coder/websocket"
	"github.com/ipfs/go-cid"
	cbg "github.com/whyrusleeping/cbor-gen"
)

const (
	posts = syntax.NSID("com.example.post")
	likes = syntax.NSID("com.example.like")
)

func start(t testing.TB, cfg Config) *Network {
	t.Helper()
	n, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

// directory resolves DIDs by asking the network's PLC, as indigo does.
func directory(n *Network) identity.Directory {
	return &identity.BaseDirectory{
		PLCURL:                 n.PLC(),
		HTTPClient:             http.Client{Transport: n.Transport()},
		SkipHandleVerification: true,
	}
}

// message is a frame as a consumer sees it.
type message struct {
	t        string // "" for an error frame
	seq      int64
	commit   *comatproto.SyncSubscribeRepos_Commit
	sync     *comatproto.SyncSubscribeRepos_Sync
	identity *comatproto.SyncSubscribeRepos_Identity
	account  *comatproto.SyncSubscribeRepos_Account
	info     *comatproto.SyncSubscribeRepos_Info
	bytes    []byte
}

func parseFrame(data []byte) (message, error) {
	m := message{bytes: data}
	r := bytes.NewReader(data)
	cr := cbg.NewCborReader(r)
	maj, n, err := cr.ReadHeader()
	if err != nil || maj != cbg.MajMap || n > 2 {
		return m, fmt.Errorf("header: %d %d %w", maj, n, err)
	}
	op := int64(0)
	for range n {
		key, err := cbg.ReadString(cr)
		if err != nil {
			return m, err
		}
		switch key {
		case "t":
			if m.t, err = cbg.ReadString(cr); err != nil {
				return m, err
			}
		case "op":
			maj, extra, err := cr.ReadHeader()
			if err != nil {
				return m, err
			}
			if op = int64(extra); maj == cbg.MajNegativeInt {
				op = -1 - op
			}
		}
	}
	if op == -1 {
		return m, nil
	}
	if op != 1 {
		return m, fmt.Errorf("op %d", op)
	}
	switch m.t {
	case "#commit":
		m.commit = new(comatproto.SyncSubscribeRepos_Commit)
		err = m.commit.UnmarshalCBOR(cr)
		m.seq = m.commit.Seq
	case "#sync":
		m.sync = new(comatproto.SyncSubscribeRepos_Sync)
		err = m.sync.UnmarshalCBOR(cr)
		m.seq = m.sync.Seq
	case "#identity":
		m.identity = new(comatproto.SyncSubscribeRepos_Identity)
		err = m.identity.UnmarshalCBOR(cr)
		m.seq = m.identity.Seq
	case "#account":
		m.account = new(comatproto.SyncSubscribeRepos_Account)
		err = m.account.UnmarshalCBOR(cr)
		m.seq = m.account.Seq
	case "#info":
		m.info = new(comatproto.SyncSubscribeRepos_Info)
		err = m.info.UnmarshalCBOR(cr)
	default:
		err = fmt.Errorf("type %q", m.t)
	}
	if err == nil && r.Len() > 0 {
		err = errors.New("bytes behind the frame")
	}
	return m, err
}

// reader is a connection to a stream.
type reader struct {
	t    testing.TB
	conn *websocket.Conn
}

func dial(t testing.TB, url string) *reader {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(32 << 20)
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &reader{t, conn}
}

// within bounds what should take no time at all.
const within = time.Minute

func (r *reader) raw() ([]byte, error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), within)
	defer cancel()
	_, data, err := r.conn.Read(ctx)
	return data, err
}

func (r *reader) next() message {
	r.t.Helper()
	data, err := r.raw()
	if err != nil {
		r.t.Fatal(err)
	}
	m, err := parseFrame(data)
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}

// until reads frames up to a sequence number.
func (r *reader) until(seq int64) []message {
	r.t.Helper()
	var out []message
	for {
		m := r.next()
		out = append(out, m)
		if m.seq >= seq {
			return out
		}
	}
}

// drive lets accounts do random things.
func drive(n *Network, seed uint64, accounts, actions int) {
	rng := rand.New(rand.NewPCG(seed, 1))
	for i := range accounts {
		n.NewAccount(i % n.cfg.PDSes)
	}
	for i := range actions {
		all := n.Accounts()
		a := all[rng.IntN(len(all))]
		if s := a.Status(); s != Active {
			if rng.IntN(3) == 0 {
				a.Activate()
			}
			continue
		}
		switch rng.IntN(60) {
		case 0:
			a.Deactivate()
		case 1:
			a.Takedown()
		case 2:
			a.Delete()
		case 3:
			a.ChangeHandle(syntax.Handle(fmt.Sprintf("renamed-%d.test", i)))
		case 4:
			a.RotateKey()
		case 5:
			if n.cfg.PDSes > 1 {
				a.Migrate((a.PDS() + 1) % n.cfg.PDSes)
			}
		case 6:
			a.Resync(Create(posts, "", `{"text":"unseen"}`))
		case 7:
			a.Commit()
		default:
			a.Commit(randomOps(rng, a)...)
		}
	}
}

func randomOps(rng *rand.Rand, a *Account) []Op {
	var ops []Op
	paths := slices.SortedFunc(maps.Keys(a.Truth().Records), func(p, q Path) int {
		return strings.Compare(string(p.Collection)+"/"+string(p.RKey), string(q.Collection)+"/"+string(q.RKey))
	})
	rng.Shuffle(len(paths), func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })
	for range 1 + rng.IntN(4) {
		text := map[string]any{"text": fmt.Sprintf("text %d <&> ä", rng.IntN(1000)), "n": rng.IntN(1 << 40)}
		switch {
		case len(paths) > 0 && rng.IntN(3) == 0:
			ops = append(ops, Delete(paths[0].Collection, paths[0].RKey))
			paths = paths[1:]
		case len(paths) > 0 && rng.IntN(3) == 0:
			ops = append(ops, Update(paths[0].Collection, paths[0].RKey, text))
			paths = paths[1:]
		default:
			ops = append(ops, Create([]syntax.NSID{posts, likes}[rng.IntN(2)], "", text))
		}
	}
	return ops
}

// TestHonest: what is emitted without faults passes indigo's verification, and
// folding it gives the truth.
func TestHonest(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			n := start(t, Config{Seed: seed, PDSes: 2})
			drive(n, seed, 12, 400)
			ms := dial(t, n.Firehose()+"?cursor=0").until(n.RelaySeq())
			if len(ms) != int(n.RelaySeq()) {
				t.Fatalf("%d frames of %d", len(ms), n.RelaySeq())
			}
			f := &frameView{view: newView(), n: n, chain: map[syntax.DID]*comatproto.SyncSubscribeRepos_Commit{}, read: map[syntax.DID]string{}}
			for i, m := range ms {
				if m.seq != int64(i)+1 {
					t.Fatalf("frame %d has seq %d", i, m.seq)
				}
				f.frame(t, m)
			}
			truth := n.Truth()
			f.diff(t, truth, true)
			checkRepos(t, n, truth)
		})
	}
}

// frameView folds a firehose, as https://atproto.com/specs/sync has it.
type frameView struct {
	*view
	n     *Network
	chain map[syntax.DID]*comatproto.SyncSubscribeRepos_Commit // the last commits
	read  map[syntax.DID]string                                // revisions at which repositories were read whole
}

func (f *frameView) frame(t *testing.T, m message) {
	t.Helper()
	switch {
	case m.commit != nil:
		did := syntax.DID(m.commit.Repo)
		checkCommit(t, m.commit, f.chain[did])
		f.chain[did] = m.commit
		if m.commit.Rev > f.read[did] {
			f.commit(m.commit)
		}
	case m.sync != nil:
		did := syntax.DID(m.sync.Did)
		c, _, err := repo.LoadCommitFromCAR(t.Context(), bytes.NewReader(m.sync.Blocks))
		if err != nil || c.DID != m.sync.Did || c.Rev != m.sync.Rev {
			t.Fatalf("sync %v: %v, %v", m.sync.Rev, c, err)
		}
		if f.chain[did] == nil || f.chain[did].Rev != m.sync.Rev {
			f.chain[did] = nil
			f.repository(t, did)
		}
	case m.identity != nil && m.identity.Handle != nil:
		t.Fatal("the relay passes a handle on")
	case m.account != nil:
		did := syntax.DID(m.account.Did)
		f.status[did] = Active
		if !m.account.Active {
			f.status[did] = *m.account.Status
		}
		if f.status[did] == Deleted {
			f.chain[did] = nil
			// What was read may be of the account that came back after this.
			at, err := time.Parse(time.RFC3339, m.account.Time)
			if err != nil {
				t.Fatal(err)
			}
			if !syntax.TID(f.read[did]).Time().After(at) {
				delete(f.records, did)
			}
		}
	}
}

// repository reads a repository as it is now, which may be ahead of the frames.
func (f *frameView) repository(t *testing.T, did syntax.DID) {
	t.Helper()
	if f.n.Account(did).Status() == Deleted {
		return
	}
	c, r, err := repo.LoadRepoFromCAR(t.Context(), bytes.NewReader(f.n.Account(did).CAR()))
	if err != nil {
		t.Fatal(err)
	}
	f.records[did], f.read[did] = map[Path]string{}, c.Rev
	err = r.MST.Walk(func(key []byte, val cid.Cid) error {
		f.records[did][pathOf(string(key))] = val.String()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (f *frameView) commit(c *comatproto.SyncSubscribeRepos_Commit) {
	did := syntax.DID(c.Repo)
	if f.records[did] == nil {
		f.records[did] = map[Path]string{}
	}
	for _, op := range c.Ops {
		if op.Cid == nil {
			delete(f.records[did], pathOf(op.Path))
		} else {
			f.records[did][pathOf(op.Path)] = op.Cid.String()
		}
	}
}

func pathOf(s string) Path {
	collection, rkey, _ := strings.Cut(s, "/")
	return Path{syntax.NSID(collection), syntax.RecordKey(rkey)}
}

// checkCommit verifies a commit as https://atproto.com/specs/sync#commit-validation
// has it, but for the signature: keys rotate.
func checkCommit(t *testing.T, c, prev *comatproto.SyncSubscribeRepos_Commit) {
	t.Helper()
	if _, err := repo.VerifyCommitMessage(t.Context(), c); err != nil && !emptied(t, c) {
		t.Fatalf("commit %s of %s: %v", c.Rev, c.Repo, err)
	}
	if prev == nil {
		return
	}
	if c.Since == nil || *c.Since != prev.Rev || c.Rev <= prev.Rev {
		t.Fatalf("commit %s since %v follows %s", c.Rev, c.Since, prev.Rev)
	}
	before, _, err := repo.LoadCommitFromCAR(t.Context(), bytes.NewReader(prev.Blocks))
	if err != nil {
		t.Fatal(err)
	}
	if c.PrevData == nil || cid.Cid(*c.PrevData) != before.Data {
		t.Fatalf("commit %s of %s: prevData %v, want %s", c.Rev, c.Repo, c.PrevData, before.Data)
	}
}

// emptied inverts a commit that replaces all records by others, which indigo gets
// wrong: its tree, once empty, remembers how high it was.
func emptied(t *testing.T, c *comatproto.SyncSubscribeRepos_Commit) bool {
	t.Helper()
	_, r, err := repo.LoadRepoFromCAR(t.Context(), bytes.NewReader(c.Blocks))
	if err != nil || c.PrevData == nil {
		return false
	}
	tree := r.MST.Copy()
	for _, op := range slices.Backward(c.Ops) {
		inverse := repo.Operation{Path: op.Path, Value: (*cid.Cid)(op.Cid), Prev: (*cid.Cid)(op.Prev)}
		if err := repo.InvertOp(&tree, &inverse); err != nil {
			return false
		}
		if tree.IsEmpty() {
			tree = mst.NewEmptyTree()
		}
	}
	root, err := tree.RootCID()
	return err == nil && *root == cid.Cid(*c.PrevData)
}

func get(t testing.TB, url string) (int, []byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{DisableKeepAlives: true}
	res, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 4<<20))
	return res.StatusCode, body, err
}

// verifyRepo checks a repository as a careful reader does.
func verifyRepo(t testing.TB, n *Network, a *Account, car []byte) (records map[Path]string, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	ctx := t.Context()
	commit, r, err := repo.LoadRepoFromCAR(ctx, bytes.NewReader(car))
	if err != nil {
		return nil, err
	}
	if commit.DID != string(a.DID()) {
		return nil, fmt.Errorf("repository of %s", commit.DID)
	}
	if commit.Rev < string(a.Rev()) {
		return nil, fmt.Errorf("stale at %s", commit.Rev)
	}
	ident, err := directory(n).LookupDID(ctx, a.DID())
	if err != nil {
		return nil, err
	}
	key, err := ident.PublicKey()
	if err != nil {
		return nil, err
	}
	if err := commit.VerifySignature(key); err != nil {
		return nil, err
	}
	if r.MST.IsPartial() {
		return nil, errors.New("tree is partial")
	}
	if err := r.MST.Verify(); err != nil {
		return nil, err
	}
	records = map[Path]string{}
	err = r.MST.Walk(func(key []byte, val cid.Cid) error {
		if _, err := r.RecordStore.Get(ctx, val); err != nil {
			return err
		}
		records[pathOf(string(key))] = val.String()
		return nil
	})
	return records, err
}

// checkRepos reads all repositories from their PDSes.
func checkRepos(t *testing.T, n *Network, truth map[syntax.DID]Repo) {
	t.Helper()
	errs := map[string]string{Deactivated: "RepoDeactivated", Takendown: "RepoTakendown", Deleted: "RepoNotFound"}
	for did, r := range truth {
		a := n.Account(did)
		if r.Status == Active {
			a.Commit() // signed with the newest key
		}
		code, body, err := get(t, r.PDS+"/xrpc/com.atproto.sync.getRepo?did="+string(did))
		if err != nil {
			t.Fatal(err)
		}
		if r.Status != Active {
			if code != http.StatusBadRequest || !strings.Contains(string(body), `"error":"`+errs[r.Status]+`"`) {
				t.Errorf("%s repository: %d %s", r.Status, code, body)
			}
			continue
		}
		records, err := verifyRepo(t, n, a, body)
		if err != nil {
			t.Fatalf("%s: %v", did, err)
		}
		if len(records) != len(r.Records) {
			t.Errorf("%s: %d records, want %d", did, len(records), len(r.Records))
		}
		for path, rec := range r.Records {
			if records[path] != rec.CID {
				t.Errorf("%s %v: %s, want %s", did, path, records[path], rec.CID)
			}
		}
	}
}
