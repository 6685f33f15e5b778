package testnet

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/syntax"
)

// States of an account; see https://atproto.com/specs/account.
const (
	Active      = "active"
	Deactivated = "deactivated"
	Suspended   = "suspended"
	Takendown   = "takendown"
	Deleted     = "deleted"
)

// Spec describes a new account.
type Spec struct {
	// PDS is its host's index.
	PDS int
	// DID is made up if empty. One of the method web must be that of the handle's
	// host.
	DID syntax.DID
	// Handle is made up if empty.
	Handle syntax.Handle
	// DNS has the handle lead to the DID by a TXT record ([Network.LookupTXT])
	// besides /.well-known/atproto-did.
	DNS bool
	// Records makes the account one that was imported: no #commit tells of its
	// records.
	Records []Op
}

// Account is somebody on the network. Its methods are what they do, or what is done
// to them; what a PDS would refuse (a commit while inactive, an update of nothing)
// panics, as a test that does it is wrong.
type Account struct {
	n       *Network
	index   int // in the order of all accounts
	did     syntax.DID
	dns     bool
	clockID uint

	// Under the network's lock.
	handle     syntax.Handle
	pds        int
	status     string
	key        *signer
	keys       int // generations so far
	moment     int64
	repo       *repository
	seen       map[syntax.NSID]bool // collections it ever had
	left       map[int]bool         // former PDSes
	doc        []byte               // DID document
	oldDoc     []byte               // before its last change
	tombstoned bool
	served     []byte // in place of the repository
}

// NewAccount makes an account with an empty repository. It emits, as the PDS does:
// #identity, #account, an empty #commit, #sync.
func (n *Network) NewAccount(pds int) *Account { return n.AddAccount(Spec{PDS: pds}) }

// AddAccount makes an account. One with records emits what ends an import:
// #identity, #account, #sync; the records have to be read from its PDS.
func (n *Network) AddAccount(spec Spec) *Account {
	changes := encodeAll(spec.Records) // the costly part, without the lock
	n.mu.Lock()
	defer n.mu.Unlock()
	i := len(n.inOrder)
	if spec.DID == "" {
		spec.DID = n.madeUp(i)
	}
	if spec.Handle == "" {
		spec.Handle = syntax.Handle(fmt.Sprintf("user-%d.test", i))
	}
	if n.accounts[spec.DID] != nil || n.handles[spec.Handle] != nil {
		panic(fmt.Sprintf("testnet: %s or %s exists", spec.DID, spec.Handle))
	}
	a := &Account{
		n: n, index: i, did: spec.DID, dns: spec.DNS, clockID: uint(i) % 1024,
		handle: spec.Handle, pds: spec.PDS, status: Active,
		seen: map[syntax.NSID]bool{}, left: map[int]bool{},
	}
	n.accounts[a.did] = a
	n.inOrder = append(n.inOrder, a)
	n.handles[a.handle] = a
	a.newKey()
	a.writeDoc()
	a.begin(changes)
	return a
}

func (n *Network) madeUp(i int) syntax.DID {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d/did/%d", n.cfg.Seed, i))
	return syntax.DID("did:plc:" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:15])))
}

// begin makes the repository and emits what a new account emits.
func (a *Account) begin(changes []change) {
	at := a.n.tick()
	a.repo = newRepository(a.did)
	a.identity(at, a.handle)
	a.account(at)
	d := a.apply(at, a.effective(changes))
	if len(changes) == 0 {
		a.emitCommit(at, d)
	}
	a.sync(at)
}

// DID is the account's identifier.
func (a *Account) DID() syntax.DID { return a.did }

// Handle is the account's handle at present.
func (a *Account) Handle() syntax.Handle {
	a.n.mu.RLock()
	defer a.n.mu.RUnlock()
	return a.handle
}

// PDS is the index of its host.
func (a *Account) PDS() int {
	a.n.mu.RLock()
	defer a.n.mu.RUnlock()
	return a.pds
}

// Status is [Active] or why it is not.
func (a *Account) Status() string {
	a.n.mu.RLock()
	defer a.n.mu.RUnlock()
	return a.status
}

// Key is what its next commit will be signed with.
func (a *Account) Key() atcrypto.PublicKey {
	a.n.mu.RLock()
	defer a.n.mu.RUnlock()
	return a.key.public
}

// Rev is the revision of its repository.
func (a *Account) Rev() syntax.TID {
	a.n.mu.RLock()
	defer a.n.mu.RUnlock()
	return a.repo.rev
}

// Has reports whether a record exists.
func (a *Account) Has(collection syntax.NSID, rkey syntax.RecordKey) bool {
	a.n.mu.RLock()
	defer a.n.mu.RUnlock()
	return a.repo.records[string(collection)+"/"+string(rkey)] != nil
}

// CAR is the repository as its PDS exports it.
func (a *Account) CAR() []byte {
	a.n.mu.RLock()
	defer a.n.mu.RUnlock()
	return carOf(a.repo.head.cid, a.repo.parts())
}

// ServeCAR has the PDS answer getRepo with something else; nil ends that.
func (a *Account) ServeCAR(car []byte) {
	a.n.mu.Lock()
	defer a.n.mu.Unlock()
	a.served = car
}

// Commit writes operations, all in one commit, and returns its revision. No
// operations are an empty commit; operations that change nothing are none.
func (a *Account) Commit(ops ...Op) syntax.TID {
	changes := encodeAll(ops)
	a.n.mu.Lock()
	defer a.n.mu.Unlock()
	at := a.n.tick()
	a.mustBe(Active)
	changes = a.effective(changes)
	if len(changes) == 0 && len(ops) > 0 {
		return a.repo.rev
	}
	a.emitCommit(at, a.apply(at, changes))
	return a.repo.rev
}

// Resync writes operations that nobody is told of, and emits the #sync of a
// repository that has been repaired: its revision jumps, and what has changed must be
// read from its PDS.
func (a *Account) Resync(ops ...Op) syntax.TID {
	changes := encodeAll(ops)
	a.n.mu.Lock()
	defer a.n.mu.Unlock()
	at := a.n.tick()
	a.mustBe(Active)
	a.apply(at, a.effective(changes))
	a.sync(at)
	return a.repo.rev
}

// Deactivate is the owner's.
func (a *Account) Deactivate() { a.SetStatus(Deactivated) }

// Takedown is the PDS's.
func (a *Account) Takedown() { a.SetStatus(Takendown) }

// Delete removes the account with its records. Its DID document stays, and its
// PDS no longer replays what it emitted.
func (a *Account) Delete() { a.SetStatus(Deleted) }

// Activate brings an account back; see [Account.SetStatus].
func (a *Account) Activate() { a.SetStatus(Active) }

// SetStatus changes the account's state and emits #account. Coming back from
// deactivation emits #identity and #sync besides, from a deletion it is a new account
// with the old DID, and the end of a takedown or suspension is not followed by
// anything. The same state once more is no change.
func (a *Account) SetStatus(status string) {
	a.n.mu.Lock()
	defer a.n.mu.Unlock()
	was := a.status
	if was == status {
		return
	}
	if was == Deleted && status != Active {
		panic(fmt.Sprintf("testnet: %s is deleted; it cannot be %s", a.did, status))
	}
	a.status = status
	if was == Deleted {
		a.begin(nil)
		return
	}
	at := a.n.tick()
	if status == Deleted {
		rev := a.repo.rev
		a.repo = newRepository(a.did)
		a.repo.rev = rev
		a.n.pdses[a.pds].stream.purge(a.did)
	}
	a.account(at)
	if was == Deactivated && status == Active {
		a.identity(at, a.handle)
		a.sync(at)
	}
}

// ChangeHandle emits #identity.
func (a *Account) ChangeHandle(handle syntax.Handle) {
	a.n.mu.Lock()
	defer a.n.mu.Unlock()
	if other := a.n.handles[handle]; other != nil && other != a {
		panic(fmt.Sprintf("testnet: handle %s is %s's", handle, other.did))
	}
	delete(a.n.handles, a.handle)
	a.handle = handle
	a.n.handles[handle] = a
	a.writeDoc()
	a.identity(a.n.tick(), handle)
}

// RotateKey gives the account another key, and emits #identity. The repository stays
// signed with the old one until the next commit.
func (a *Account) RotateKey() {
	a.n.mu.Lock()
	defer a.n.mu.Unlock()
	a.newKey()
	a.writeDoc()
	a.identity(a.n.tick(), "")
}

// Migrate moves the account to another PDS, with a new key. As with the reference
// PDS, the repository stays signed with the old key until the next commit, and the
// #sync that says so, under a revision that is not the commit's, is dropped by the
// relay; the old PDS says `deactivated` after the new one has said active, which
// the relay drops, too.
func (a *Account) Migrate(pds int) {
	a.n.mu.Lock()
	defer a.n.mu.Unlock()
	a.mustBe(Active)
	if pds == a.pds {
		panic(fmt.Sprintf("testnet: %s is on PDS %d", a.did, pds))
	}
	at := a.n.tick()
	from := a.pds
	a.pds = pds
	a.left[from] = true
	delete(a.left, pds)
	a.newKey()
	a.writeDoc()
	a.identity(at, "")
	a.account(at)
	a.identity(at, a.handle)
	a.n.pdses[pds].stream.append(a.syncEvent(at, a.tid(at)), nil)
	a.n.pdses[from].stream.append(&event{kind: kindAccount, did: a.did, at: at, status: Deactivated}, nil)
}

// Tombstone gives the DID up: the directory no longer has it. Nobody is told.
func (a *Account) Tombstone() {
	a.n.mu.Lock()
	defer a.n.mu.Unlock()
	a.tombstoned = true
}

func (a *Account) mustBe(status string) {
	if a.status != status {
		panic(fmt.Sprintf("testnet: %s is %s, not %s", a.did, a.status, status))
	}
}

func encodeAll(ops []Op) []change {
	changes := make([]change, len(ops))
	for i, op := range ops {
		changes[i].op = op
		if op.action == "delete" {
			continue
		}
		rec, err := op.encode()
		if err != nil {
			panic(fmt.Sprintf("testnet: %s %s: %v", op.action, op.path(), err))
		}
		changes[i].is = rec
	}
	return changes
}

// effective are the changes that change something, with what they replace.
func (a *Account) effective(changes []change) []change {
	out := changes[:0]
	seen := make(map[string]bool, len(changes))
	for _, c := range changes {
		if c.op.rkey == "" {
			c.op.rkey = syntax.RecordKey(a.tid(a.n.clock))
		}
		path := c.op.path()
		if seen[path] {
			panic(fmt.Sprintf("testnet: two operations on %s in one commit", path))
		}
		seen[path] = true
		c.was = a.repo.records[path]
		if (c.was == nil) != (c.op.action == "create") {
			panic(fmt.Sprintf("testnet: %s %s of %s: it exists, or it does not", c.op.action, path, a.did))
		}
		if c.was != nil && c.is != nil && c.was.block.cid == c.is.block.cid {
			continue
		}
		out = append(out, c)
	}
	return out
}

// apply commits changes to the repository.
func (a *Account) apply(at time.Time, changes []change) diff {
	for _, c := range changes {
		a.seen[c.op.collection] = true
	}
	d, err := a.repo.commit(changes, a.tid(at), a.key)
	if err != nil {
		panic(fmt.Sprintf("testnet: %v", err))
	}
	return d
}

// tid is newer than all that the account has made.
func (a *Account) tid(at time.Time) syntax.TID {
	a.moment = max(a.moment+1, at.UnixMicro())
	return syntax.NewTID(a.moment, a.clockID)
}

func (a *Account) newKey() {
	every := a.n.cfg.K256Every
	k256 := every > 0 && a.index%every == 0
	a.key = newSigner(k256, a.n.cfg.Seed, string(a.did), a.keys)
	a.keys++
}
