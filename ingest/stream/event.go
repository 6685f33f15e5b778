package stream

import (
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// Kind says which of an event's bodies is set.
type Kind string

// The kinds of event. Anything else is [ErrUnknownKind].
const (
	KindCommit   Kind = "commit"
	KindIdentity Kind = "identity"
	KindAccount  Kind = "account"
	KindSync     Kind = "sync"
)

// Operation is what a commit did to a record.
type Operation string

// The operations. Create and update mean the same to a reader: the record now
// is as given. Neither says whether the record was there before.
const (
	Create Operation = "create"
	Update Operation = "update"
	Delete Operation = "delete"
)

// Event is one change on the network: of a record, an identity, an account or a
// whole repository. Exactly the body that Kind names is not nil.
type Event struct {
	// DID is the repository that changed.
	DID syntax.DID
	// TimeUS is when the source witnessed the event, in microseconds since the
	// Unix epoch. It may go backwards between events and is not a sequence.
	TimeUS int64
	Kind   Kind

	Commit   *Commit
	Identity *Identity
	Account  *Account
	Sync     *Sync
}

// Commit is a change of one record, or what one was at a revision.
type Commit struct {
	// Rev is the repo revision (a TID, sorts by time); see
	// https://atproto.com/specs/repository. A snapshot's records carry the revision
	// at which the repository was read, not that of their last change.
	Rev        syntax.TID
	Operation  Operation
	Collection syntax.NSID
	RKey       syntax.RecordKey
	// CID is what the source claims; empty if it claims nothing or no CID.
	CID string
	// Record is the record's JSON object as the source sent it, byte for byte:
	// escapes and big integers are as they were. Nil for a delete. After [Parse]
	// it shares memory with the parsed line.
	Record json.RawMessage
	// Snapshot says that this is no change: the record is a part of the repository
	// as read whole at Rev. A [Sync] that is complete follows the last part.
	Snapshot bool
}

// Identity says that a DID document or a handle may have changed.
type Identity struct {
	// Handle is empty if the source gave none or one that is no handle: the DID
	// document knows.
	Handle syntax.Handle
	// Seq is the sequence number on the firehose of the source's upstream; 0 if
	// unknown.
	Seq int64
	// Time is when the upstream emitted the event; zero if unknown.
	Time time.Time
}

// Account says whether an account's data may be shown.
type Account struct {
	Active bool
	// Status says why an account is not active: deleted, deactivated, suspended,
	// takendown, desynchronized, throttled, or a word of the future. Empty if the
	// source gives no reason.
	Status string
	// Seq is as in [Identity.Seq]; the higher of two account events is the newer.
	Seq int64
	// Time is as in [Identity.Time].
	Time time.Time
}

// Sync says that a repository's state has been declared anew: what is known of
// it has to be reconciled with the repository itself. If it is complete, that is
// done by what precedes it: the repository's snapshot.
type Sync struct {
	// Rev is empty if the source gives none that is a TID.
	Rev syntax.TID
	// Complete says that every record that the repository had at Rev, of the
	// collections of Coverage, stands before this on the log as a snapshot's part.
	// Others, last changed at or before Rev, are no more.
	Complete bool
	// Coverage says of which collections; see [Coverage].
	Coverage string
	// Seq is as in [Identity.Seq]; of a complete one it is the number of the claim by
	// which the repository was read.
	Seq int64
	// Time is as in [Identity.Time]; of a complete one it is when the PDS was asked for
	// the repository, zero if that is unknown.
	Time time.Time
}

// AppendJSON appends the event in the shape of the log's messages, without a
// line end, and returns the extended buffer. Keys stand in the order in which
// Jetstream writes them. [Parse] of the result gives the same event.
func (ev *Event) AppendJSON(b []byte) []byte {
	b = append(b, `{"did":`...)
	b = appendString(b, string(ev.DID))
	b = append(b, `,"time_us":`...)
	b = strconv.AppendInt(b, ev.TimeUS, 10)
	b = append(b, `,"kind":`...)
	b = appendString(b, string(ev.Kind))
	switch {
	case ev.Kind == KindCommit && ev.Commit != nil:
		c := ev.Commit
		b = append(b, `,"commit":{"rev":`...)
		b = appendString(b, string(c.Rev))
		b = append(b, `,"operation":`...)
		b = appendString(b, string(c.Operation))
		b = append(b, `,"collection":`...)
		b = appendString(b, string(c.Collection))
		b = append(b, `,"rkey":`...)
		b = appendString(b, string(c.RKey))
		if c.Record != nil {
			b = append(b, `,"record":`...)
			b = append(b, c.Record...)
		}
		if c.CID != "" {
			b = append(b, `,"cid":`...)
			b = appendString(b, c.CID)
		}
		if c.Snapshot {
			b = append(b, `,"snapshot":true`...)
		}
		b = append(b, '}')
	case ev.Kind == KindIdentity && ev.Identity != nil:
		b = append(b, `,"identity":{"did":`...)
		b = appendString(b, string(ev.DID))
		if ev.Identity.Handle != "" {
			b = append(b, `,"handle":`...)
			b = appendString(b, string(ev.Identity.Handle))
		}
		b = appendSeqTime(b, ev.Identity.Seq, ev.Identity.Time)
		b = append(b, '}')
	case ev.Kind == KindAccount && ev.Account != nil:
		b = append(b, `,"account":{"active":`...)
		b = strconv.AppendBool(b, ev.Account.Active)
		b = append(b, `,"did":`...)
		b = appendString(b, string(ev.DID))
		if ev.Account.Status != "" {
			b = append(b, `,"status":`...)
			b = appendString(b, ev.Account.Status)
		}
		b = appendSeqTime(b, ev.Account.Seq, ev.Account.Time)
		b = append(b, '}')
	case ev.Kind == KindSync && ev.Sync != nil:
		b = append(b, `,"sync":{"did":`...)
		b = appendString(b, string(ev.DID))
		b = append(b, `,"rev":`...)
		b = appendString(b, string(ev.Sync.Rev))
		b = appendSeqTime(b, ev.Sync.Seq, ev.Sync.Time)
		if ev.Sync.Complete {
			b = append(b, `,"complete":true,"coverage":`...)
			b = appendString(b, ev.Sync.Coverage)
		}
		b = append(b, '}')
	}
	return append(b, '}')
}

func appendSeqTime(b []byte, seq int64, t time.Time) []byte {
	b = append(b, `,"seq":`...)
	b = strconv.AppendInt(b, seq, 10)
	if !t.IsZero() {
		b = append(b, `,"time":"`...)
		b = t.UTC().AppendFormat(b, time.RFC3339Nano)
		b = append(b, '"')
	}
	return b
}

// appendString writes s as a JSON string. Identifiers need no escape and take
// the short way.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			quoted, _ := json.Marshal(s) // a string always marshals
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
