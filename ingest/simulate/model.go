package simulate

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atview/atview/ingest/stream"
	"github.com/atview/atview/schema"
)

// Config describes a network. The zero value is a hundred accounts that write
// all collections of the catalog.
type Config struct {
	// Seed makes the network what it is.
	Seed uint64
	// Accounts is how many take part; 0 means 100. They join one after the other.
	Accounts int
	// Weights says how often records of a collection are made, relative to the
	// others; 0 is never. A collection that is missing gets a weight by what its
	// lexicon looks like: likes are more frequent than what they like.
	Weights map[syntax.NSID]float64
	// Mix says what happens how often; its zero value is [DefaultMix].
	Mix Mix
	// Dangling is the share of links that point at what is not there; 0 means 0.1,
	// less than 0 none.
	Dangling float64
	// Odd is the share of records that break their lexicon (and not the data
	// model); 0 means none.
	Odd float64
	// MaxRecords is about how many records there are at a time: past it, as many
	// are deleted as created. 0 means 200,000, which take about 170 MB.
	MaxRecords int
	// Clock tells the time of the events. Nil is a clock of the model's own that
	// starts at Start and goes on by about Step with each event, so that two models
	// with one seed agree to the last byte.
	Clock func() time.Time
	// Start is 2026-01-01 by default. It is for a nil Clock.
	Start time.Time
	// Step is 100 ms by default. It is for a nil Clock.
	Step time.Duration
}

// Mix is the frequency of events, relative to one another.
type Mix struct {
	Create, Update, Delete float64
	// Identity is a change of handle, Account a change of an account's status:
	// deactivated, suspended, taken down, deleted, or back.
	Identity, Account float64
}

// DefaultMix is about that of the real network, with more account events, since
// they are what goes wrong.
var DefaultMix = Mix{Create: 80, Update: 9, Delete: 9, Identity: 1, Account: 1}

func (c Config) withDefaults() Config {
	if c.Accounts == 0 {
		c.Accounts = 100
	}
	if c.Mix == (Mix{}) {
		c.Mix = DefaultMix
	}
	if c.Dangling == 0 {
		c.Dangling = 0.1
	}
	if c.MaxRecords == 0 {
		c.MaxRecords = 200_000
	}
	if c.Start.IsZero() {
		c.Start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if c.Step == 0 {
		c.Step = 100 * time.Millisecond
	}
	return c
}

func (c Config) validate(cat *schema.Catalog) error {
	var faults []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(c.Accounts < 1, "accounts %d: at least 1", c.Accounts)
	fault(c.MaxRecords < 1, "maximum of %d records: at least 1", c.MaxRecords)
	fault(c.Dangling > 1, "dangling links %g: at most 1", c.Dangling)
	fault(c.Odd < 0 || c.Odd > 1, "odd records %g: from 0 to 1", c.Odd)
	fault(c.Step < 0, "step %s: not backwards", c.Step)
	mix := []float64{c.Mix.Create, c.Mix.Update, c.Mix.Delete, c.Mix.Identity, c.Mix.Account}
	fault(slices.Min(mix) < 0, "mix: none under 0")
	fault(c.Mix.Create <= 0, "mix: some records must be created")
	for _, nsid := range sortedKeys(c.Weights) {
		fault(cat.Collection(nsid) == nil, "weight of %s: no such collection in the catalog", nsid)
		fault(c.Weights[nsid] < 0, "weight of %s: not under 0", nsid)
	}
	fault(len(cat.Collections) == 0, "catalog: no record lexicons in it")
	written := slices.ContainsFunc(cat.Collections, func(col *schema.Collection) bool {
		weight, given := c.Weights[col.NSID]
		return !given || weight > 0
	})
	fault(len(cat.Collections) > 0 && !written, "weights: 0 for all collections")
	return errors.Join(faults...)
}

// Model is a network and its history. It is not safe for concurrent use.
type Model struct {
	cfg         Config
	rng         *rand.Rand
	feasible    feasibility
	collections []*collection
	weights     float64    // of all collections together
	accounts    []*account // all that have joined, in that order
	strangers   []*account // those that will
	active      []*account
	records     []*record // of active accounts
	byKey       map[recordKey]*record
	hidden      int // records of accounts that are not active

	clock  time.Time // of the last event
	seq    int64     // of the last event on the firehose that there could be
	events int64
	plan   []func() stream.Event // what happens next
	commit *commit               // with operations to come
	prob   []string

	scratch []byte // for records that are being encoded
}

// commit is one that has several operations.
type commit struct {
	author *account
	rev    syntax.TID
	timeUS int64
	left   int
}

type collection struct {
	*schema.Collection
	weight   float64
	reaction bool
	needs    []place
	records  []*record // of active accounts, about by age
	choices  map[string][]choice
}

type account struct {
	did     syntax.DID
	handle  syntax.Handle
	name    string // of the person
	status  string // "" for active
	records []*record
	clockID uint
	moment  int64 // of the last TID, in microseconds
	handles int
}

type recordKey struct {
	collection syntax.NSID
	did        syntax.DID
	rkey       syntax.RecordKey
}

type record struct {
	author *account
	col    *collection
	rkey   syntax.RecordKey
	rev    syntax.TID
	cid    string
	json   []byte
	odd    bool
	thread ref

	// Where the record stands in the lists that it is part of.
	inAll, inCollection, inAccount int
}

func (r *record) key() recordKey { return recordKey{r.col.NSID, r.author.did, r.rkey} }

func (r *record) ref() ref {
	return ref{"at://" + string(r.author.did) + "/" + string(r.col.NSID) + "/" + string(r.rkey), r.cid}
}

// New makes a network in which nothing has happened yet. The error is all
// faults of the configuration.
func New(cat *schema.Catalog, cfg Config) (*Model, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(cat); err != nil {
		return nil, err
	}
	m := &Model{
		cfg:      cfg,
		rng:      rand.New(rand.NewPCG(cfg.Seed, 0x61747669657721)),
		feasible: feasibility{},
		byKey:    map[recordKey]*record{},
		clock:    cfg.Start,
	}
	if cfg.Clock != nil {
		m.clock = cfg.Clock()
	}
	for _, c := range cat.Collections {
		m.feasible.learn(c.Object)
		col := &collection{
			Collection: c,
			reaction:   isReaction(c.Object),
			needs:      needs(c.Object),
			choices:    map[string][]choice{},
		}
		switch weight, given := cfg.Weights[c.NSID]; {
		case given:
			col.weight = weight
		case c.Singleton():
			col.weight = 0.1
		case col.reaction:
			col.weight = 6
		case len(col.needs) > 0:
			col.weight = 3
		default:
			col.weight = 2
		}
		m.collections = append(m.collections, col)
		m.weights += col.weight
		if m.feasible[c.Object] == impossible {
			m.prob = append(m.prob, fmt.Sprintf("%s: %s", c.NSID, m.feasible.explain(c.Object)))
		}
	}
	for i := range cfg.Accounts {
		m.strangers = append(m.strangers, &account{
			did:     randomDID(m.rng),
			handle:  handle(i, 0),
			name:    firstNames[i%len(firstNames)] + " " + pick(m.rng, lastNames),
			clockID: uint(m.rng.IntN(1024)),
		})
	}
	return m, nil
}

// Know tells the model of a record that is not of its own network, so that its
// records can point there. What is no create or update is ignored. It is not part
// of the [State]. A server's model is told before there is a server.
func (m *Model) Know(ev stream.Event) {
	if ev.Kind != stream.KindCommit || ev.Commit.CID == "" {
		return
	}
	for _, col := range m.collections {
		if col.NSID == ev.Commit.Collection {
			col.records = append(col.records, &record{
				author:       &account{did: ev.DID},
				col:          col,
				rkey:         ev.Commit.RKey,
				rev:          ev.Commit.Rev,
				cid:          ev.Commit.CID,
				inCollection: len(col.records),
			})
		}
	}
}

// Problems says which collections have no valid records, and why. Theirs are
// made nevertheless, as they are in the wild.
func (m *Model) Problems() []string { return m.prob }

// Events is how many there were.
func (m *Model) Events() int64 { return m.events }

// Next is what happens next.
func (m *Model) Next() stream.Event {
	m.events++
	m.seq++
	if c := m.commit; c != nil {
		if c.left--; c.left == 0 {
			m.commit = nil
		}
		// Only new keys, lest one commit has two operations on one record.
		if col := m.draw(func(col *collection) bool { return col.Key == "tid" }); col != nil {
			return m.create(c.author, col, c)
		}
		m.commit = nil
	}
	m.tick()
	if len(m.plan) > 0 {
		next := m.plan[0]
		m.plan = m.plan[1:]
		return next()
	}
	// Some accounts are there from the start, others come by and by.
	if joined := len(m.accounts); len(m.strangers) > 0 && (joined < 3 || m.rng.IntN(12) == 0) {
		return m.join()
	}
	return m.act()
}

// tick moves the clock forward, by a microsecond at least: revisions depend on
// it.
func (m *Model) tick() {
	at := m.clock.Add(m.cfg.Step/2 + time.Duration(m.rng.Float64()*float64(m.cfg.Step)))
	if m.cfg.Clock != nil {
		at = m.cfg.Clock()
	}
	at = at.Truncate(time.Microsecond)
	if !at.After(m.clock) {
		at = m.clock.Add(time.Microsecond)
	}
	m.clock = at
}

// join brings a new account: its identity, its status, and the records that an
// account has one of, such as its profile.
func (m *Model) join() stream.Event {
	a := m.strangers[0]
	m.strangers = m.strangers[1:]
	m.accounts = append(m.accounts, a)
	m.active = append(m.active, a)
	m.plan = append(m.plan, func() stream.Event { return m.accountEvent(a) })
	m.settle(a)
	return m.identityEvent(a)
}

func (m *Model) settle(a *account) {
	for _, col := range m.collections {
		if col.Singleton() && col.weight > 0 {
			m.plan = append(m.plan, func() stream.Event { return m.create(a, col, nil) })
		}
	}
}

func (m *Model) act() stream.Event {
	mix := m.cfg.Mix
	if len(m.records)+m.hidden >= m.cfg.MaxRecords {
		mix.Delete = max(mix.Create, mix.Delete)
	}
	switch at := m.rng.Float64() * (mix.Create + mix.Update + mix.Delete + mix.Identity + mix.Account); {
	case at < mix.Account:
		return m.changeStatus()
	case at < mix.Account+mix.Identity:
		return m.changeHandle()
	case at < mix.Account+mix.Identity+mix.Delete && len(m.records) > 0:
		return m.delete(pick(m.rng, m.records))
	case at < mix.Account+mix.Identity+mix.Delete+mix.Update && len(m.records) > 0:
		return m.update(pick(m.rng, m.records))
	}
	return m.create(m.someone(m.rng), m.draw(func(*collection) bool { return true }), nil)
}

// create makes a record of col; if the account has one under that key already,
// it is changed. As part of a commit the record shares its revision and moment
// with the commit's other operations.
func (m *Model) create(a *account, col *collection, in *commit) stream.Event {
	rkey := m.rkey(a, col)
	if r := m.byKey[recordKey{col.NSID, a.did, rkey}]; r != nil {
		return m.update(r)
	}
	if in == nil {
		in = &commit{author: a, timeUS: m.clock.UnixMicro(), rev: m.tid(a)}
		if m.rng.IntN(40) == 0 { // a client that writes several records at once
			in.left = 1 + m.rng.IntN(4)
			m.commit = in
		}
	}
	r := &record{author: a, col: col, rkey: rkey, rev: in.rev}
	m.write(r, func(c *composer) object { return c.record() })
	m.add(r)
	return m.commitEvent(r, stream.Create, in.timeUS)
}

// draw picks a collection by weight, of those that fit; nil if it finds none.
// Those whose records must point at others wait until there are others.
func (m *Model) draw(fits func(*collection) bool) *collection {
	var waiting *collection
	for range 20 {
		at := m.rng.Float64() * m.weights
		for _, col := range m.collections {
			if at -= col.weight; at >= 0 {
				continue
			}
			if fits(col) {
				if waiting = col; m.ready(col) {
					return col
				}
			}
			break
		}
	}
	return waiting
}

func (m *Model) ready(col *collection) bool {
	for _, at := range col.needs {
		possible := slices.ContainsFunc(m.choices(col, at), func(ch choice) bool { return len(ch.col.records) > 0 })
		if !possible {
			return false
		}
	}
	return true
}

// update changes some properties of a record, seldom where it points.
func (m *Model) update(r *record) stream.Event {
	was, err := readValue(r.json)
	if err != nil {
		panic(fmt.Sprintf("simulate: record %s: %v", r.ref().uri, err)) // we wrote it
	}
	old, _ := was.(object)
	r.rev = m.tid(r.author)
	m.write(r, func(c *composer) object {
		fresh := c.record()
		if r.odd || m.rng.IntN(3) == 0 {
			return fresh
		}
		c.thread = r.thread
		for _, f := range r.col.Object.Fields {
			if m.rewritten(f) {
				continue
			}
			if i, had := old.find(f.Name); had {
				fresh.set(f.Name, old[i].value)
			} else {
				fresh.unset(f.Name)
			}
		}
		settleFacets(fresh)
		return fresh
	})
	return m.commitEvent(r, stream.Update, m.clock.UnixMicro())
}

func (m *Model) rewritten(f *schema.Field) bool {
	if _, text := f.Type.(*schema.String); text && f.Name != "createdAt" {
		return m.rng.IntN(2) == 0
	}
	if _, number := f.Type.(*schema.Integer); number {
		return m.rng.IntN(2) == 0
	}
	return false
}

func (m *Model) delete(r *record) stream.Event {
	m.remove(r)
	r.rev = m.tid(r.author)
	r.cid, r.json = "", nil
	return m.commitEvent(r, stream.Delete, m.clock.UnixMicro())
}

// write fills in a record's content.
func (m *Model) write(r *record, compose func(*composer) object) {
	c := &composer{m: m, rng: m.rng, col: r.col, author: r.author}
	o := compose(c)
	r.thread = c.thread
	r.odd = m.rng.Float64() < m.cfg.Odd && c.spoil(&o)
	m.scratch = appendCBOR(m.scratch[:0], o)
	r.cid = recordCID(m.scratch)
	m.scratch = appendJSON(m.scratch[:0], o)
	r.json = bytes.Clone(m.scratch)
}

func (m *Model) changeHandle() stream.Event {
	a := m.someone(m.rng)
	a.handles++
	i := slices.Index(m.accounts, a)
	a.handle = handle(i, a.handles)
	return m.identityEvent(a)
}

// changeStatus takes an account away, or brings one back. Most are active at any
// time.
func (m *Model) changeStatus() stream.Event {
	inactive := len(m.accounts) - len(m.active)
	if inactive > 0 && (m.rng.IntN(2) == 0 || inactive*5 > len(m.accounts) || len(m.active) < 2) {
		var away []*account
		for _, a := range m.accounts {
			if a.status != "" {
				away = append(away, a)
			}
		}
		a := pick(m.rng, away)
		if a.status == "deleted" {
			m.settle(a)
		}
		a.status = ""
		m.active = append(m.active, a)
		m.hidden -= len(a.records)
		for _, r := range a.records {
			m.show(r)
		}
		return m.accountEvent(a)
	}
	if len(m.active) < 2 {
		return m.changeHandle()
	}
	a := pick(m.rng, m.active)
	a.status = pick(m.rng, []string{"deactivated", "deactivated", "takendown", "suspended", "deleted"})
	m.active = slices.DeleteFunc(m.active, func(other *account) bool { return other == a })
	for _, r := range a.records {
		m.hide(r)
	}
	if a.status == "deleted" {
		for _, r := range a.records {
			delete(m.byKey, r.key())
		}
		a.records = nil
	}
	m.hidden += len(a.records)
	return m.accountEvent(a)
}

func (m *Model) commitEvent(r *record, op stream.Operation, timeUS int64) stream.Event {
	return stream.Event{
		DID:    r.author.did,
		TimeUS: timeUS,
		Kind:   stream.KindCommit,
		Commit: &stream.Commit{
			Rev:        r.rev,
			Operation:  op,
			Collection: r.col.NSID,
			RKey:       r.rkey,
			CID:        r.cid,
			Record:     r.json,
		},
	}
}

func (m *Model) identityEvent(a *account) stream.Event {
	return stream.Event{
		DID:      a.did,
		TimeUS:   m.clock.UnixMicro(),
		Kind:     stream.KindIdentity,
		Identity: &stream.Identity{Handle: a.handle, Seq: m.seq, Time: m.clock},
	}
}

func (m *Model) accountEvent(a *account) stream.Event {
	return stream.Event{
		DID:     a.did,
		TimeUS:  m.clock.UnixMicro(),
		Kind:    stream.KindAccount,
		Account: &stream.Account{Active: a.status == "", Status: a.status, Seq: m.seq, Time: m.clock},
	}
}

// someone is an active account; some are more active than others.
func (m *Model) someone(rng *rand.Rand) *account {
	if rng.IntN(2) == 0 {
		return pick(rng, m.active)
	}
	return m.active[skewed(rng, len(m.active))]
}

func (m *Model) anyRecord(rng *rand.Rand) *record {
	if len(m.records) == 0 {
		return nil
	}
	return pick(rng, m.records)
}

// tid is newer than all that the account has made.
func (m *Model) tid(a *account) syntax.TID {
	a.moment = max(a.moment+1, m.clock.UnixMicro())
	return syntax.NewTID(a.moment, a.clockID)
}

func (m *Model) rkey(a *account, col *collection) syntax.RecordKey {
	switch {
	case col.Singleton():
		return syntax.RecordKey(strings.TrimPrefix(col.Key, "literal:"))
	case col.Key == "nsid":
		return syntax.RecordKey("com.example." + pick(m.rng, adjectives) + "." + pick(m.rng, nouns))
	case col.Key == "any":
		switch m.rng.IntN(3) {
		case 0:
			return syntax.RecordKey(pick(m.rng, adjectives) + "-" + pick(m.rng, nouns))
		case 1:
			return syntax.RecordKey(strconv.Itoa(m.rng.IntN(100_000)))
		}
	}
	return syntax.RecordKey(m.tid(a))
}

// add puts a record into the network, remove takes it out of it.
func (m *Model) add(r *record) {
	m.byKey[r.key()] = r
	r.inAccount = len(r.author.records)
	r.author.records = append(r.author.records, r)
	m.show(r)
}

func (m *Model) remove(r *record) {
	delete(m.byKey, r.key())
	r.author.records = without(r.author.records, r.inAccount, func(r *record) *int { return &r.inAccount })
	m.hide(r)
}

// show makes a record something to point at, to change and to delete; hide is
// its opposite.
func (m *Model) show(r *record) {
	r.inAll, r.inCollection = len(m.records), len(r.col.records)
	m.records = append(m.records, r)
	r.col.records = append(r.col.records, r)
}

func (m *Model) hide(r *record) {
	m.records = without(m.records, r.inAll, func(r *record) *int { return &r.inAll })
	r.col.records = without(r.col.records, r.inCollection, func(r *record) *int { return &r.inCollection })
}

// without drops element i and puts the last in its place.
func without(list []*record, i int, at func(*record) *int) []*record {
	last := len(list) - 1
	list[i] = list[last]
	*at(list[i]) = i
	list[last] = nil
	return list[:last]
}

func handle(account, changes int) syntax.Handle {
	name := ascii(firstNames[account%len(firstNames)])
	if account >= len(firstNames) {
		name += "-" + strconv.Itoa(account/len(firstNames)+1)
	}
	if changes > 0 {
		name += "-" + adjectives[changes%len(adjectives)] + strconv.Itoa(changes)
	}
	return syntax.Handle(name + ".test")
}

// ascii makes a host name's label of a word.
func ascii(word string) string {
	return strings.Map(func(r rune) rune {
		if r < 'a' || r > 'z' {
			return -1
		}
		return r
	}, strings.ToLower(word))
}

// randomDID has the form of https://web.plc.directory/spec/v0.1/did-plc.
func randomDID(rng *rand.Rand) syntax.DID {
	const alphabet = "abcdefghijklmnopqrstuvwxyz234567"
	var id [24]byte
	for i := range id {
		id[i] = alphabet[rng.IntN(len(alphabet))]
	}
	return syntax.DID("did:plc:" + string(id[:]))
}

func sortMembers(o object) {
	slices.SortFunc(o, func(a, b member) int { return cmp.Compare(a.key, b.key) })
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
