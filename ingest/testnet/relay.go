package testnet

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/bluesky-social/indigo/atproto/repo/mst"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/coder/websocket"
	"github.com/ipfs/go-cid"
)

var (
	errAgain = errors.New("numbering began anew")
	errFault = errors.New("connection ended by a fault")
)

// relay stands in front of the PDSes. It passes their frames on under its own
// sequence numbers, without handles.
type relay struct {
	n       *Network
	server  *server
	stream  *firehose
	garbage int // so far
}

// take passes an event on; under the network's lock.
func (r *relay) take(ev *event) {
	faults := r.n.Faults
	if ev.kind != kindCommit {
		r.stream.append(ev, nil)
		return
	}
	if len(ev.diff.changes) > 0 {
		if faults.hit(RelayDrop, ev.did) {
			return
		}
		if faults.hit(RelayTamper, ev.did) {
			bad := *ev
			bad.diff.car = slices.Clone(ev.diff.car)
			bad.diff.car[len(bad.diff.car)-1] ^= 1
			r.stream.append(&bad, nil)
			return
		}
	}
	if r.n.accounts[ev.did].repo.before != nil && faults.hit(RelayForge, ev.did) {
		r.stream.append(r.n.forged(ev), nil)
	}
	r.stream.append(ev, nil)
}

// Forged is where the records of RelayForge are.
const Forged = syntax.NSID("com.example.forged")

// forged is a commit that its author never made, on top of the one before ev. All is
// in order with it but the signature.
func (n *Network) forged(ev *event) *event {
	fake := n.accounts[ev.did].repo.older()
	rev := syntax.NewTIDFromInteger(ev.rev.Integer() - 1)
	changes := encodeAll([]Op{Create(Forged, syntax.RecordKey(rev), `{"text":"nobody wrote this"}`)})
	d, err := fake.commit(changes, rev, n.forger())
	if err != nil {
		panic(fmt.Sprintf("testnet: forge: %v", err))
	}
	return &event{kind: kindCommit, did: ev.did, at: ev.at, rev: rev, commit: fake.head.cid, diff: d}
}

// forger is a key that is nobody's.
func (n *Network) forger() *signer { return newSigner(false, n.cfg.Seed, "forger", 0) }

// sendFaulty sends an entry, with what goes wrong. It returns the sequence number
// to go on behind.
func (s *subscriber) sendFaulty(ctx context.Context, e, following *entry) (int64, error) {
	faults, did := s.n.Faults, e.ev.did
	if faults.hit(RelaySlow, did) && !s.n.wait(ctx, s.n.cfg.Slow) {
		return 0, ctx.Err()
	}
	if faults.hit(RelayCut, did) {
		if w, err := s.conn.Writer(ctx, websocket.MessageBinary); err == nil {
			_, _ = w.Write([]byte("\xa2\x61t")) // how each frame begins
		}
		return 0, errFault
	}
	if faults.hit(RelayError, did) {
		_ = s.write(ctx, errorFrame("ConsumerTooSlow", "Stream consumer too slow"))
		_ = s.conn.Close(websocket.StatusPolicyViolation, "ConsumerTooSlow")
		return 0, errFault
	}
	if faults.hit(RelayGarbage, did) {
		if err := s.sendGarbage(ctx, e); err != nil {
			return 0, err
		}
	}
	if e.seq > 1 && faults.hit(RelayRegress, did) {
		return e.seq, s.send(ctx, e, 1+e.seq/1000)
	}
	if following != nil && following.ev.did != did && faults.hit(RelayReorder, did) {
		if err := s.send(ctx, following, following.seq); err != nil {
			return 0, err
		}
		return following.seq, s.send(ctx, e, e.seq)
	}
	if err := s.send(ctx, e, e.seq); err != nil {
		return 0, err
	}
	if faults.hit(RelayDuplicate, did) {
		if err := s.send(ctx, e, e.seq); err != nil {
			return 0, err
		}
	}
	if e.seq > 1 && faults.hit(RelayReplay, did) {
		return max(e.seq-int64(s.n.cfg.ReplayFrames), 0), nil
	}
	return e.seq, nil
}

// sendGarbage sends one kind of nonsense after the other.
func (s *subscriber) sendGarbage(ctx context.Context, e *entry) error {
	s.n.mu.Lock()
	turn := s.n.relay.garbage
	s.n.relay.garbage++
	s.n.mu.Unlock()
	switch turn % 7 {
	case 0: // no CBOR
		return s.write(ctx, []byte("\xff\xfe\xfd this is no frame"))
	case 1: // nothing at all
		return s.write(ctx, nil)
	case 2: // a text frame
		return s.conn.Write(ctx, websocket.MessageText, []byte(`{"op":1}`))
	case 3: // a body that ends early
		whole := s.frame(e, e.seq)
		return s.write(ctx, whole[:len(whole)/2])
	case 4: // a type of the future
		return s.write(ctx, []byte("\xa2\x61t\x67#future\x62op\x01\xa1\x63seq\x01"))
	case 5: // a header that claims to have 2^40 keys
		return s.write(ctx, []byte("\xbb\x00\x00\x01\x00\x00\x00\x00\x00\x61t"))
	}
	// A body that is no map, and an op that nobody knows.
	return s.write(ctx, []byte("\xa1\x62op\x18\x63\x83\x01\x02\x03"))
}

func (r *relay) serve(w http.ResponseWriter, req *http.Request) {
	q := req.URL.Query()
	switch method := strings.TrimPrefix(req.URL.Path, "/xrpc/"); method {
	case "com.atproto.sync.subscribeRepos":
		r.n.stream(w, req, r.stream, r.n.cfg.KeepHandles, true)
	case "com.atproto.sync.listReposByCollection":
		r.listReposByCollection(w, req)
	case "com.atproto.sync.listRepos":
		r.n.listRepos(w, q, func(a *Account) bool { return a.status != Deleted })
	case "com.atproto.sync.listHosts":
		r.listHosts(w)
	case "com.atproto.sync.getRepo", "com.atproto.sync.getLatestCommit", "com.atproto.sync.getRepoStatus":
		r.n.mu.RLock()
		a := r.n.accounts[syntax.DID(q.Get("did"))]
		var to string
		if a != nil {
			to = r.n.PDS(a.pds) + req.URL.RequestURI()
		}
		r.n.mu.RUnlock()
		if a == nil {
			xrpcError(w, http.StatusNotFound, "RepoNotFound", "account not found")
			return
		}
		http.Redirect(w, req, to, http.StatusFound)
	case "_health":
		writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	default:
		xrpcError(w, http.StatusNotFound, "MethodNotImplemented", method)
	}
}

// listHosts lists the PDSes, on one page.
func (r *relay) listHosts(w http.ResponseWriter) {
	type host struct {
		Hostname string `json:"hostname"`
		Seq      int64  `json:"seq"`
		Accounts int    `json:"accountCount"`
		Status   string `json:"status"`
	}
	hosts := make([]host, len(r.n.pdses))
	r.n.mu.RLock()
	for i, p := range r.n.pdses {
		hosts[i] = host{Hostname: strings.TrimPrefix(p.server.url(), "http://"), Seq: p.stream.tip(), Status: "active"}
	}
	for _, a := range r.n.inOrder {
		if a.status != Deleted {
			hosts[a.pds].Accounts++
		}
	}
	r.n.mu.RUnlock()
	writeJSON(w, http.StatusOK, map[string]any{"hosts": hosts})
}

// listReposByCollection lists who has, or once had, records of a collection; a
// directory of collections does not learn of deletions.
func (r *relay) listReposByCollection(w http.ResponseWriter, req *http.Request) {
	q := req.URL.Query()
	collection, err := syntax.ParseNSID(q.Get("collection"))
	size, ok := limit(q, 500, 2000)
	if err != nil || !ok {
		xrpcError(w, http.StatusBadRequest, "InvalidRequest", "collection or limit")
		return
	}
	if r.n.Faults.hit(ListFail, "") {
		xrpcError(w, http.StatusServiceUnavailable, "ServiceUnavailable", "try again")
		return
	}
	r.n.mu.RLock()
	var dids []string
	for _, a := range r.n.inOrder {
		if a.seen[collection] && a.status != Deleted && string(a.did) > q.Get("cursor") {
			dids = append(dids, string(a.did))
		}
	}
	r.n.mu.RUnlock()
	slices.Sort(dids)
	type did struct {
		DID string `json:"did"`
	}
	page := struct {
		Repos  []did  `json:"repos"`
		Cursor string `json:"cursor,omitempty"`
	}{Repos: []did{}}
	for _, d := range dids[:min(size, len(dids))] {
		page.Repos = append(page.Repos, did{d})
	}
	if len(dids) > size {
		page.Cursor = dids[size-1]
	}
	switch {
	case q.Get("cursor") != "" && r.n.Faults.hit(ListRepeat, ""):
		page.Cursor = q.Get("cursor")
	case r.n.Faults.hit(ListBroken, ""):
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(`{"repos":[{"did":"did:plc:`))
		return
	}
	writeJSON(w, http.StatusOK, page)
}

// listRepos pages by the order in which accounts came, and returns a cursor on the
// last page, too, as the reference PDS does.
func (n *Network) listRepos(w http.ResponseWriter, q map[string][]string, has func(*Account) bool) {
	size, ok := limit(q, 500, 1000)
	from := 0
	if c := q["cursor"]; len(c) > 0 && c[0] != "" {
		var err error
		if from, err = strconv.Atoi(c[0]); err != nil || from < 0 {
			ok = false
		}
	}
	if !ok {
		xrpcError(w, http.StatusBadRequest, "InvalidRequest", "limit or cursor")
		return
	}
	type repoInfo struct {
		DID    syntax.DID `json:"did"`
		Head   string     `json:"head"`
		Rev    syntax.TID `json:"rev"`
		Active bool       `json:"active"`
		Status string     `json:"status,omitempty"`
	}
	page := struct {
		Repos  []repoInfo `json:"repos"`
		Cursor string     `json:"cursor,omitempty"`
	}{Repos: []repoInfo{}}
	n.mu.RLock()
	for _, a := range n.inOrder[min(from, len(n.inOrder)):] {
		if len(page.Repos) == size {
			break
		}
		if !has(a) {
			continue
		}
		info := repoInfo{DID: a.did, Head: a.repo.head.cid.String(), Rev: a.repo.rev, Active: a.status == Active}
		if !info.Active {
			info.Status = a.status
		}
		page.Repos = append(page.Repos, info)
		page.Cursor = strconv.Itoa(a.index + 1)
	}
	n.mu.RUnlock()
	writeJSON(w, http.StatusOK, page)
}

// Trees that no honest PDS makes.

// withPrefix is a tree whose first key claims to share bytes with the one before.
func withPrefix(path string, value cid.Cid) block {
	return rawNode(mst.EntryData{PrefixLen: 50, KeySuffix: []byte(path), Value: value})
}

// outOfOrder is a tree with its two keys the wrong way round.
func outOfOrder(path string, value cid.Cid) block {
	height := mst.HeightForKey([]byte(path))
	earlier := path
	for i := 0; earlier == path || mst.HeightForKey([]byte(earlier)) != height; i++ {
		earlier = "a.a.a/" + strconv.Itoa(i)
	}
	return rawNode(
		mst.EntryData{KeySuffix: []byte(path), Value: value},
		mst.EntryData{KeySuffix: []byte(earlier), Value: value},
	)
}

func rawNode(entries ...mst.EntryData) block {
	d := mst.NodeData{Entries: entries}
	data, c, err := d.Bytes()
	if err != nil {
		panic(fmt.Sprintf("testnet: encode node: %v", err))
	}
	return block{cid: *c, data: data}
}
