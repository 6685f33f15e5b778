package testnet

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// pds is a host of repositories.
type pds struct {
	n      *Network
	index  int
	server *server
	stream *firehose
}

const forever = 1 << 40 // bytes

func (p *pds) serve(w http.ResponseWriter, r *http.Request) {
	n, q := p.n, r.URL.Query()
	method, isXRPC := strings.CutPrefix(r.URL.Path, "/xrpc/")
	if method == "com.atproto.sync.subscribeRepos" {
		n.stream(w, r, p.stream, true, false)
		return
	}
	did := syntax.DID(q.Get("did") + q.Get("repo"))
	switch faults := n.Faults; {
	case faults.hit(PDSRateLimit, did):
		w.Header().Set("Retry-After", strconv.Itoa(int(max(n.cfg.RetryAfter.Seconds(), 1))))
		xrpcError(w, http.StatusTooManyRequests, "RateLimitExceeded", "Rate Limit Exceeded")
		return
	case faults.hit(PDSBusy, did):
		http.Error(w, "upstream connect error", http.StatusServiceUnavailable) // a proxy's answer
		return
	case faults.hit(PDSError, did):
		xrpcError(w, http.StatusInternalServerError, "InternalServerError", "Internal Server Error")
		return
	case faults.hit(PDSCut, did):
		cut()
	case faults.hit(PDSSlow, did):
		if !n.wait(r.Context(), n.cfg.Slow) {
			return
		}
	}
	if !isXRPC {
		p.wellKnown(w, r)
		return
	}
	switch method {
	case "com.atproto.sync.getRepo":
		p.getRepo(r.Context(), w, q)
	case "com.atproto.sync.getRecord":
		p.getRecordProof(w, q)
	case "com.atproto.sync.getRepoStatus":
		p.getRepoStatus(w, q)
	case "com.atproto.sync.getLatestCommit":
		n.mu.RLock()
		defer n.mu.RUnlock()
		if a := p.served(w, q.Get("did")); a != nil {
			writeJSON(w, http.StatusOK, map[string]string{"cid": a.repo.head.cid.String(), "rev": string(a.repo.rev)})
		}
	case "com.atproto.sync.listRepos":
		n.listRepos(w, q, func(a *Account) bool { return a.pds == p.index && a.status != Deleted })
	case "com.atproto.repo.describeRepo":
		p.describeRepo(w, q)
	case "com.atproto.repo.listRecords":
		p.listRecords(w, q)
	case "com.atproto.repo.getRecord":
		p.getRecord(w, q)
	case "com.atproto.identity.resolveHandle":
		n.mu.RLock()
		a := n.handles[syntax.Handle(q.Get("handle"))]
		n.mu.RUnlock()
		if a == nil {
			xrpcError(w, http.StatusBadRequest, "HandleNotFound", "Unable to resolve handle")
			return
		}
		writeJSON(w, http.StatusOK, map[string]syntax.DID{"did": a.did})
	case "com.atproto.server.describeServer":
		writeJSON(w, http.StatusOK, map[string]any{
			"did": "did:web:" + url.QueryEscape(r.Host), "availableUserDomains": []string{".test"},
		})
	case "_health":
		writeJSON(w, http.StatusOK, map[string]string{"version": "testnet"})
	default: // as its proxy answers without a session
		xrpcError(w, http.StatusUnauthorized, "AuthMissing", "Authentication Required")
	}
}

// wellKnown answers by the host that is asked.
func (p *pds) wellKnown(w http.ResponseWriter, r *http.Request) {
	host, _, _ := strings.Cut(r.Host, ":")
	p.n.mu.RLock()
	defer p.n.mu.RUnlock()
	a := p.n.handles[syntax.Handle(host)]
	switch {
	case a != nil && a.pds == p.index && r.URL.Path == "/.well-known/atproto-did":
		w.Header().Set("Content-Type", "text/plain")
		w.Write([]byte(a.did))
	case a != nil && r.URL.Path == "/.well-known/did.json" && a.did.Method() == "web" && !a.tombstoned:
		w.Header().Set("Content-Type", "application/json")
		w.Write(a.doc)
	default:
		http.Error(w, "User not found", http.StatusNotFound)
	}
}

// known finds an account that this host has, or had; under the network's lock.
func (p *pds) known(w http.ResponseWriter, did string) *Account {
	a := p.n.accounts[syntax.DID(did)]
	if a == nil || a.pds != p.index && !a.left[p.index] || a.status == Deleted {
		xrpcError(w, http.StatusBadRequest, "RepoNotFound", "Could not find repo for DID: "+did)
		return nil
	}
	return a
}

// state is what the account is on this host.
func (p *pds) state(a *Account) string {
	if a.pds != p.index {
		return Deactivated
	}
	return a.status
}

// served is known, if the repository may be read.
func (p *pds) served(w http.ResponseWriter, did string) *Account {
	a := p.known(w, did)
	if a == nil {
		return nil
	}
	switch p.state(a) {
	case Active:
		return a
	case Takendown:
		xrpcError(w, http.StatusBadRequest, "RepoTakendown", "Repo has been takendown: "+did)
	case Suspended:
		xrpcError(w, http.StatusBadRequest, "RepoSuspended", "Repo has been suspended: "+did)
	default:
		xrpcError(w, http.StatusBadRequest, "RepoDeactivated", "Repo has been deactivated: "+did)
	}
	return nil
}

// export is a repository on its way, with what goes wrong with it.
type export struct {
	car      []byte
	half     bool // the connection ends in the middle
	length   int64
	unending bool
	trickle  bool
}

func (p *pds) getRepo(ctx context.Context, w http.ResponseWriter, q url.Values) {
	p.n.mu.RLock()
	a := p.served(w, q.Get("did"))
	var e export
	if a != nil {
		e = p.export(a)
	}
	p.n.mu.RUnlock()
	if a == nil {
		return
	}
	w.Header().Set("Content-Type", "application/vnd.ipld.car")
	switch {
	case e.unending:
		w.Write(e.car)
		filler := newBlock(make([]byte, 64<<10))
		more := appendBlock(nil, filler)
		for sent := int64(0); sent < forever; sent += int64(len(more)) {
			if _, err := w.Write(more); err != nil {
				return
			}
		}
	case e.trickle:
		w.Header().Set("Content-Length", strconv.Itoa(len(e.car)))
		flush := http.NewResponseController(w).Flush
		for i := range e.car {
			w.Write(e.car[i : i+1])
			if flush() != nil || !p.n.wait(ctx, p.n.cfg.Slow) {
				return
			}
		}
		return
	case e.half || e.length > int64(len(e.car)):
		w.Header().Set("Content-Length", strconv.FormatInt(e.length, 10))
		if e.half {
			e.car = e.car[:len(e.car)/2]
		}
		w.Write(e.car)
		_ = http.NewResponseController(w).Flush() // what there is arrives
		cut()
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(e.car)))
	w.Write(e.car)
}

// export makes the answer to getRepo; under the network's lock.
func (p *pds) export(a *Account) export {
	if a.served != nil {
		return export{car: a.served}
	}
	faults, r := p.n.Faults, a.repo
	if old := r.older(); old != nil && faults.hit(RepoStale, a.did) {
		r = old
	}
	if other := p.n.neighbour(a); other != nil && faults.hit(RepoOther, a.did) {
		r = other.repo
	}
	parts := r.parts()
	records := slices.IndexFunc(parts, func(p part) bool { return p.record })
	resign := func(root block, key *signer) {
		head, err := signed(r.did, r.rev, root.cid, key)
		if err != nil {
			panic("testnet: " + err.Error())
		}
		parts[0].block = head
	}
	switch {
	case faults.hit(RepoWrongKey, a.did):
		resign(block{cid: r.data}, p.n.forger())
	case records >= 0 && faults.hit(RepoPrefix, a.did):
		rec := parts[records]
		node := withPrefix("com.example.any/key", rec.cid)
		resign(node, a.key)
		parts = []part{parts[0], {block: node, node: true}, rec}
	case records >= 0 && faults.hit(RepoOrder, a.did):
		rec := parts[records]
		node := outOfOrder("com.example.any/key", rec.cid)
		resign(node, a.key)
		parts = []part{parts[0], {block: node, node: true}, rec}
	case records >= 0 && faults.hit(RepoNoRecord, a.did):
		parts = slices.Delete(parts, records, records+1)
	case faults.hit(RepoFlip, a.did):
		last := &parts[len(parts)-1]
		last.data = slices.Clone(last.data)
		last.data[len(last.data)/2] ^= 4
	}
	// The root is the second part; a tree of one node has none to leave out.
	if i := slices.IndexFunc(parts[2:], func(p part) bool { return p.node }); i >= 0 && faults.hit(RepoNoNode, a.did) {
		parts = slices.Delete(parts, 2+i, 3+i)
	}
	e := export{car: carOf(parts[0].cid, parts)}
	e.length = int64(len(e.car))
	switch {
	case faults.hit(RepoTruncated, a.did):
		e.car = e.car[:len(e.car)-len(parts[len(parts)-1].data)/2-1]
		e.length = int64(len(e.car))
	case faults.hit(RepoCut, a.did):
		e.half = true
	case faults.hit(RepoHuge, a.did):
		e.length = forever
	case faults.hit(RepoTrickle, a.did):
		e.trickle = true
	case faults.hit(RepoEndless, a.did):
		e.unending = true
	}
	return e
}

// neighbour is another account that has a repository; nil if there is none.
func (n *Network) neighbour(a *Account) *Account {
	for i := 1; i < len(n.inOrder); i++ {
		if other := n.inOrder[(a.index+i)%len(n.inOrder)]; other.status == Active {
			return other
		}
	}
	return nil
}

// getRecordProof is com.atproto.sync.getRecord: the blocks that prove that a record is
// there, or is not.
func (p *pds) getRecordProof(w http.ResponseWriter, q url.Values) {
	p.n.mu.RLock()
	defer p.n.mu.RUnlock()
	a := p.served(w, q.Get("did"))
	if a == nil {
		return
	}
	w.Header().Set("Content-Type", "application/vnd.ipld.car")
	w.Write(appendCAR(nil, a.repo.head.cid, a.repo.proof(q.Get("collection")+"/"+q.Get("rkey"))...))
}

func (p *pds) getRepoStatus(w http.ResponseWriter, q url.Values) {
	p.n.mu.RLock()
	defer p.n.mu.RUnlock()
	a := p.known(w, q.Get("did"))
	if a == nil {
		return
	}
	answer := map[string]any{"did": a.did, "active": true}
	if state := p.state(a); state != Active {
		answer["active"], answer["status"] = false, state
	} else {
		answer["rev"] = a.repo.rev
	}
	writeJSON(w, http.StatusOK, answer)
}

func (p *pds) describeRepo(w http.ResponseWriter, q url.Values) {
	p.n.mu.RLock()
	defer p.n.mu.RUnlock()
	a := p.find(w, q)
	if a == nil {
		return
	}
	collections := []string{}
	for path := range a.repo.records {
		collection, _, _ := strings.Cut(path, "/")
		if !slices.Contains(collections, collection) {
			collections = append(collections, collection)
		}
	}
	slices.Sort(collections)
	writeJSON(w, http.StatusOK, map[string]any{
		"did": a.did, "handle": a.handle, "handleIsCorrect": true,
		"didDoc": json.RawMessage(a.doc), "collections": collections,
	})
}

// find takes a DID or a handle.
func (p *pds) find(w http.ResponseWriter, q url.Values) *Account {
	repo := q.Get("repo")
	if a := p.n.handles[syntax.Handle(repo)]; a != nil {
		repo = string(a.did)
	}
	return p.served(w, repo)
}

// listed is a record as com.atproto.repo answers with it.
type listed struct {
	URI   string          `json:"uri"`
	CID   string          `json:"cid"`
	Value json.RawMessage `json:"value"`
}

func (a *Account) listed(path string, r *record) listed {
	value := r.json
	if value == nil {
		value = []byte("null") // a raw one has no JSON
	}
	return listed{URI: "at://" + string(a.did) + "/" + path, CID: r.block.cid.String(), Value: value}
}

// listRecords lists the newest keys first, unless asked to reverse.
func (p *pds) listRecords(w http.ResponseWriter, q url.Values) {
	size, ok := limit(q, 50, 100)
	if !ok {
		xrpcError(w, http.StatusBadRequest, "InvalidRequest", "limit must be from 1 to 100")
		return
	}
	p.n.mu.RLock()
	defer p.n.mu.RUnlock()
	a := p.find(w, q)
	if a == nil {
		return
	}
	prefix, cursor, reverse := q.Get("collection")+"/", q.Get("cursor"), q.Get("reverse") == "true"
	var keys []string
	for path := range a.repo.records {
		key, ok := strings.CutPrefix(path, prefix)
		if ok && (cursor == "" || key < cursor && !reverse || key > cursor && reverse) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	if !reverse {
		slices.Reverse(keys)
	}
	page := struct {
		Records []listed `json:"records"`
		Cursor  string   `json:"cursor,omitempty"`
	}{Records: []listed{}}
	for _, key := range keys[:min(size, len(keys))] {
		page.Records = append(page.Records, a.listed(prefix+key, a.repo.records[prefix+key]))
		page.Cursor = key
	}
	writeJSON(w, http.StatusOK, page)
}

func (p *pds) getRecord(w http.ResponseWriter, q url.Values) {
	p.n.mu.RLock()
	defer p.n.mu.RUnlock()
	a := p.find(w, q)
	if a == nil {
		return
	}
	path := q.Get("collection") + "/" + q.Get("rkey")
	r := a.repo.records[path]
	if r == nil || q.Get("cid") != "" && q.Get("cid") != r.block.cid.String() {
		xrpcError(w, http.StatusBadRequest, "RecordNotFound", "Could not locate record: at://"+string(a.did)+"/"+path)
		return
	}
	writeJSON(w, http.StatusOK, a.listed(path, r))
}
