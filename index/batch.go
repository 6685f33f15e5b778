package index

import (
	"crypto/sha256"
	"errors"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atview/atview/ingest/stream"
	"github.com/atview/atview/schema"
)

// batch is what a run of messages of one partition asks for. It is made without
// I/O (decode) and written in one transaction (fold).
type batch struct {
	segments []segment
	dead     []deadLetter
	resyncs  []resync
	events   int
	last     uint64    // sequence number of the last message
	lastAt   time.Time // when the log stored it
}

// segment is a stretch of a batch in which only the newest state of each record
// and account matters. It ends after an account's deletion: what comes before
// goes with the account, what comes after stays.
type segment struct {
	changes  map[*schema.Collection]map[key]change
	accounts []stream.Event   // account and identity events, in order
	deletion bool             // the last of accounts is a deletion
	read     map[string]whole // by DID
}

// key names a record in its collection.
type key struct{ rkey, did string }

// change is a record's newest state in a segment.
type change struct {
	rev      syntax.TID
	gone     bool
	snapshot bool   // what the record is at rev, whenever it came to be that
	cid      string // "" for unknown
	at       time.Time
	row      schema.Row
}

// whole says that a repository has been read to its end at a rev: what it has of
// the collections of the coverage stands before this.
type whole struct {
	rev      syntax.TID
	coverage string
	claim    int64     // of atview.repo, by which it was read
	asked    time.Time // when the PDS was asked for it
}

type resync struct {
	did syntax.DID
	rev syntax.TID
}

// deadLetter is a message that cannot be stored, and why.
type deadLetter struct {
	at     time.Time
	source string
	reason string
	bytes  []byte
	full   int // bytes before they were cut
}

func (d deadLetter) digest() []byte {
	sum := sha256.Sum256(d.bytes)
	return sum[:]
}

// decode reads messages of one partition, oldest first.
func decode(cat *schema.Catalog, messages []stream.Message) batch {
	b := batch{segments: []segment{{}}}
	for _, m := range messages {
		b.add(cat, m)
	}
	return b
}

func (b *batch) add(cat *schema.Catalog, m stream.Message) {
	b.last, b.lastAt = m.Seq, m.Time
	b.events++
	if m.Reject != nil {
		reason := string(m.Reject.Reason)
		if m.Reject.Detail != "" {
			reason += ": " + m.Reject.Detail
		}
		b.dead = append(b.dead, deadLetter{m.Time, m.Reject.Source, reason, m.Data, m.Reject.Length})
		return
	}
	ev, err := stream.Parse(m.Data)
	if errors.Is(err, stream.ErrUnknownKind) {
		return // of the future: nothing in it is known to be worth keeping
	}
	if err != nil {
		b.bury(m, err)
		return
	}
	s := &b.segments[len(b.segments)-1]
	switch ev.Kind {
	case stream.KindCommit:
		col := cat.Collection(ev.Commit.Collection)
		if col == nil {
			return // not indexed
		}
		if err := s.commit(col, ev); err != nil {
			b.bury(m, err)
		}
	case stream.KindAccount, stream.KindIdentity:
		s.accounts = append(s.accounts, ev)
		if isDeletion(ev) {
			s.deletion = true
			b.segments = append(b.segments, segment{})
		}
	case stream.KindSync:
		if !ev.Sync.Complete {
			b.resyncs = append(b.resyncs, resync{ev.DID, ev.Sync.Rev})
			return
		}
		if s.read == nil {
			s.read = map[string]whole{}
		}
		if did := string(ev.DID); ev.Sync.Rev >= s.read[did].rev {
			s.read[did] = whole{ev.Sync.Rev, ev.Sync.Coverage, ev.Sync.Seq, ev.Sync.Time}
		}
	}
}

func (b *batch) bury(m stream.Message, err error) {
	b.dead = append(b.dead, deadLetter{m.Time, "log", err.Error(), m.Data, len(m.Data)})
}

// commit takes the change if it is the newest of its record. Of two with one rev
// the first stays, as it does between batches, unless the second is the repository
// itself.
func (s *segment) commit(col *schema.Collection, ev stream.Event) error {
	c := ev.Commit
	k := key{rkey: string(c.RKey), did: string(ev.DID)}
	if held, ok := s.changes[col][k]; ok && (c.Rev < held.rev || c.Rev == held.rev && (held.snapshot || !c.Snapshot)) {
		return nil
	}
	ch := change{rev: c.Rev, gone: c.Operation == stream.Delete, snapshot: c.Snapshot, cid: c.CID, at: eventTime(ev)}
	if !ch.gone {
		row, err := col.Row(c.Record)
		if err != nil {
			return err
		}
		ch.row = row
	}
	if s.changes == nil {
		s.changes = map[*schema.Collection]map[key]change{}
	}
	if s.changes[col] == nil {
		s.changes[col] = map[key]change{}
	}
	s.changes[col][k] = ch
	return nil
}

func isDeletion(ev stream.Event) bool {
	return ev.Kind == stream.KindAccount && !ev.Account.Active && ev.Account.Status == statusDeleted
}

// eventTime is when the source saw the event. It, and never this machine's
// clock, becomes indexed_at: folding the same events again gives the same rows.
func eventTime(ev stream.Event) time.Time { return time.UnixMicro(ev.TimeUS).UTC() }
