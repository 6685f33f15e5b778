package simulate

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atview/atview/schema"
)

// State is what a reader should have after the first Events events of a model.
type State struct {
	Events   int64
	Accounts map[syntax.DID]Account // those that were heard of
	Records  map[RecordKey]Record   // those that exist, hidden ones included
	catalog  map[syntax.NSID]*schema.Collection
}

// Account is one account.
type Account struct {
	Handle syntax.Handle
	// Status is `active`, or what the last account event said.
	Status string
}

// RecordKey says where a record is.
type RecordKey struct {
	Collection syntax.NSID
	DID        syntax.DID
	RKey       syntax.RecordKey
}

// Record is one record.
type Record struct {
	Rev syntax.TID
	CID string
	// JSON is the record as it was emitted. It must not be changed.
	JSON []byte
	// Hidden says that the record's account is not active.
	Hidden bool
	// Odd says that the record breaks its lexicon because it was asked to.
	Odd bool
}

// LinkKey says what is counted: the records of a collection that link to a
// target from a path, written as in backlink sources:
// `facets[].features[app.bsky.richtext.facet#mention].did`.
type LinkKey struct {
	Target     string // AT-URI, DID or URL
	Collection syntax.NSID
	Path       string
}

// LinkCount is how many visible records link to a target, and how many accounts
// wrote them.
type LinkCount struct{ Records, DIDs int }

// State is what a reader should have by now.
func (m *Model) State() *State {
	s := &State{
		Events:   m.events,
		Accounts: make(map[syntax.DID]Account, len(m.accounts)),
		Records:  make(map[RecordKey]Record, len(m.byKey)),
		catalog:  make(map[syntax.NSID]*schema.Collection, len(m.collections)),
	}
	for _, col := range m.collections {
		s.catalog[col.NSID] = col.Collection
	}
	for _, a := range m.accounts {
		s.Accounts[a.did] = Account{Handle: a.handle, Status: cmp.Or(a.status, "active")}
		for _, r := range a.records {
			s.Records[RecordKey{r.col.NSID, a.did, r.rkey}] = Record{
				Rev: r.rev, CID: r.cid, JSON: r.json, Hidden: a.status != "", Odd: r.odd,
			}
		}
	}
	return s
}

// Counts counts the links of all visible records, from the records.
func (s *State) Counts() map[LinkKey]LinkCount {
	records := map[LinkKey]int{}
	authors := map[LinkKey]map[syntax.DID]bool{}
	for key, r := range s.Records {
		if r.Hidden {
			continue
		}
		for _, l := range linksOf(s.catalog[key.Collection], r.JSON) {
			k := LinkKey{l.target, key.Collection, l.path}
			records[k]++
			if authors[k] == nil {
				authors[k] = map[syntax.DID]bool{}
			}
			authors[k][key.DID] = true
		}
	}
	counts := make(map[LinkKey]LinkCount, len(records))
	for k, n := range records {
		counts[k] = LinkCount{Records: n, DIDs: len(authors[k])}
	}
	return counts
}

// Write writes the state as JSON lines, sorted, each with its `type`: one
// `state`, then each `account`, `record` and `count`.
func (s *State) Write(w io.Writer, withRecords bool) error {
	out := bufio.NewWriterSize(w, 64<<10)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	line := func(v any) {
		// An error stays in out, and Flush returns it.
		_ = encoder.Encode(v)
	}
	line(struct {
		Type     string `json:"type"`
		Events   int64  `json:"events"`
		Accounts int    `json:"accounts"`
		Records  int    `json:"records"`
	}{"state", s.Events, len(s.Accounts), len(s.Records)})
	for _, did := range sortedKeys(s.Accounts) {
		a := s.Accounts[did]
		line(struct {
			Type   string        `json:"type"`
			DID    syntax.DID    `json:"did"`
			Handle syntax.Handle `json:"handle"`
			Status string        `json:"status"`
		}{"account", did, a.Handle, a.Status})
	}
	for _, key := range sortedBy(s.Records, RecordKey.compare) {
		r := s.Records[key]
		body := json.RawMessage(nil)
		if withRecords {
			body = r.JSON
		}
		line(struct {
			Type       string           `json:"type"`
			Collection syntax.NSID      `json:"collection"`
			DID        syntax.DID       `json:"did"`
			RKey       syntax.RecordKey `json:"rkey"`
			Rev        syntax.TID       `json:"rev"`
			CID        string           `json:"cid"`
			Visible    bool             `json:"visible"`
			Odd        bool             `json:"odd,omitempty"`
			Record     json.RawMessage  `json:"record,omitempty"`
		}{"record", key.Collection, key.DID, key.RKey, r.Rev, r.CID, !r.Hidden, r.Odd, body})
	}
	counts := s.Counts()
	for _, key := range sortedBy(counts, LinkKey.compare) {
		line(struct {
			Type       string      `json:"type"`
			Target     string      `json:"target"`
			Collection syntax.NSID `json:"collection"`
			Path       string      `json:"path"`
			Records    int         `json:"records"`
			DIDs       int         `json:"dids"`
		}{"count", key.Target, key.Collection, key.Path, counts[key].Records, counts[key].DIDs})
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}

func (k RecordKey) compare(o RecordKey) int {
	return cmp.Or(cmp.Compare(k.Collection, o.Collection), cmp.Compare(k.DID, o.DID), cmp.Compare(k.RKey, o.RKey))
}

func (k LinkKey) compare(o LinkKey) int {
	return cmp.Or(cmp.Compare(k.Target, o.Target), cmp.Compare(k.Collection, o.Collection), cmp.Compare(k.Path, o.Path))
}

func sortedBy[K comparable, V any](m map[K]V, compare func(a, b K) int) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, compare)
	return keys
}
