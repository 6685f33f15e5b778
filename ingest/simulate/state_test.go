package simulate_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atview/atview/ingest/simulate"
	"github.com/atview/atview/ingest/stream"
	"github.com/atview/atview/schema"
)

// reader folds events as a reader of the network would, by what they say and
// nothing else.
type reader struct {
	t        *testing.T
	records  map[simulate.RecordKey]simulate.Record
	revs     map[syntax.DID]syntax.TID
	lastUS   int64
	status   map[syntax.DID]string
	handles  map[syntax.DID]syntax.Handle
	touched  map[string]bool // records in the current commit
	kinds    map[string]int
	multiple int // commits of several operations
}

func newReader(t *testing.T) *reader {
	t.Helper()
	return &reader{
		t:       t,
		records: map[simulate.RecordKey]simulate.Record{},
		revs:    map[syntax.DID]syntax.TID{},
		status:  map[syntax.DID]string{},
		handles: map[syntax.DID]syntax.Handle{},
		touched: map[string]bool{},
		kinds:   map[string]int{},
	}
}

func (r *reader) fold(ev stream.Event) {
	r.t.Helper()
	if ev.TimeUS < r.lastUS {
		r.t.Errorf("time_us went back from %d to %d", r.lastUS, ev.TimeUS)
	}
	sameTime := ev.TimeUS == r.lastUS
	r.lastUS = ev.TimeUS
	switch ev.Kind {
	case stream.KindIdentity:
		r.kinds["identity"]++
		r.handles[ev.DID] = ev.Identity.Handle
	case stream.KindAccount:
		status := ev.Account.Status
		if ev.Account.Active {
			status = "active"
		}
		r.kinds[status]++
		if was := r.status[ev.DID]; status == "active" && was != "" {
			r.kinds["back from "+was]++
		}
		r.status[ev.DID] = status
		if status == "deleted" {
			maps.DeleteFunc(r.records, func(k simulate.RecordKey, _ simulate.Record) bool { return k.DID == ev.DID })
		}
	case stream.KindCommit:
		c := ev.Commit
		r.kinds[string(c.Operation)]++
		key := simulate.RecordKey{Collection: c.Collection, DID: ev.DID, RKey: c.RKey}
		was, existed := r.records[key]
		if existed == (c.Operation == stream.Create) {
			r.t.Errorf("%s of %v, which exists: %t", c.Operation, key, existed)
		}
		if existed && was.Rev >= c.Rev {
			r.t.Errorf("rev %s of %v is not after %s", c.Rev, key, was.Rev)
		}
		switch rev := r.revs[ev.DID]; {
		case rev < c.Rev:
			clear(r.touched)
		case rev > c.Rev:
			r.t.Errorf("rev of %s went back from %s to %s", ev.DID, rev, c.Rev)
		case !sameTime:
			r.t.Errorf("rev %s of %s has two times", rev, ev.DID)
		default:
			r.multiple++
		}
		if r.touched[fmt.Sprint(key)] {
			r.t.Errorf("commit %s has two operations on %v", c.Rev, key)
		}
		r.touched[fmt.Sprint(key)] = true
		r.revs[ev.DID] = c.Rev
		if s := r.status[ev.DID]; s != "active" {
			r.t.Errorf("account %s writes and is %q", ev.DID, s)
		}
		if c.Operation == stream.Delete {
			delete(r.records, key)
		} else {
			r.records[key] = simulate.Record{Rev: c.Rev, CID: c.CID, JSON: c.Record}
		}
	}
}

// TestStateIsWhatAReaderHas folds the model's events by hand, and counts links
// with package schema.
func TestStateIsWhatAReaderHas(t *testing.T) {
	t.Parallel()
	cat := examples(t)
	m := newModel(t, cat, simulate.Config{
		Seed:     11,
		Accounts: 40,
		Odd:      0.1,
		Mix:      simulate.Mix{Create: 70, Update: 10, Delete: 10, Identity: 3, Account: 3},
	})
	r := newReader(t)
	const events = 12_000
	for range events {
		r.fold(m.Next())
	}
	for _, kind := range []string{"create", "update", "delete", "identity", "active", "deactivated", "takendown",
		"suspended", "deleted", "back from deleted", "back from deactivated"} {
		if r.kinds[kind] == 0 {
			t.Errorf("nothing was %s: %v", kind, r.kinds)
		}
	}
	if r.multiple == 0 {
		t.Error("no commit had several operations")
	}

	s := m.State()
	handles := map[syntax.Handle]bool{}
	for _, a := range s.Accounts {
		handles[a.Handle] = true
	}
	if len(handles) != len(s.Accounts) {
		t.Errorf("%d accounts have %d handles", len(s.Accounts), len(handles))
	}
	if s.Events != events {
		t.Errorf("state after %d events, want %d", s.Events, events)
	}
	for did, a := range s.Accounts {
		// An account whose first event was the last has no status yet.
		if status := r.status[did]; a.Handle != r.handles[did] || a.Status != status && status != "" {
			t.Errorf("account %s is %v, want %s and %s", did, a, r.handles[did], status)
		}
	}
	if len(s.Records) != len(r.records) {
		t.Errorf("%d records, want %d", len(s.Records), len(r.records))
	}
	odd := 0
	counts := map[simulate.LinkKey]simulate.LinkCount{}
	authors := map[string]bool{}
	for key, want := range r.records {
		got := s.Records[key]
		if got.Rev != want.Rev || got.CID != want.CID || !bytes.Equal(got.JSON, want.JSON) {
			t.Errorf("record %v is %v, want %v", key, got, want)
		}
		hidden := r.status[key.DID] != "active"
		if got.Hidden != hidden {
			t.Errorf("record %v is hidden: %t, want %t", key, got.Hidden, hidden)
		}
		row, err := cat.Collection(key.Collection).Row(want.JSON)
		if err != nil {
			t.Fatal(err)
		}
		if got.Odd != (len(row.Flags) > 0) {
			t.Errorf("record %v is odd: %t, and has flags %v\n%s", key, got.Odd, row.Flags, want.JSON)
		}
		if got.Odd {
			odd++
		}
		if hidden {
			continue
		}
		for _, edge := range row.Links {
			k := simulate.LinkKey{Target: edge.Target, Collection: key.Collection, Path: edge.Path}
			n := counts[k]
			n.Records++
			if author := fmt.Sprint(k, key.DID); !authors[author] {
				authors[author] = true
				n.DIDs++
			}
			counts[k] = n
		}
	}
	if share := float64(odd) / float64(len(r.records)); share < 0.05 || share > 0.15 {
		t.Errorf("%.2f of the records are odd, want about 0.1", share)
	}
	got := s.Counts()
	for k, want := range counts {
		if got[k] != want {
			t.Errorf("count of %v is %v, want %v", k, got[k], want)
		}
	}
	if len(got) != len(counts) {
		t.Errorf("%d counts, want %d", len(got), len(counts))
	}
}

// TestLinksOfTheCorpus finds links in records of every real lexicon, with unions
// in arrays and parts that no lexicon describes.
func TestLinksOfTheCorpus(t *testing.T) {
	t.Parallel()
	cat := load(t, shared(t, "lexicons"))
	m := newModel(t, cat, simulate.Config{Seed: 2, Odd: 0.05})
	for range 5_000 {
		m.Next()
	}
	s := m.State()
	got := s.Counts()
	want := map[simulate.LinkKey]int{}
	for key, r := range s.Records {
		if r.Hidden {
			continue
		}
		row, err := cat.Collection(key.Collection).Row(r.JSON)
		if err != nil {
			t.Fatal(err)
		}
		for _, edge := range row.Links {
			want[simulate.LinkKey{Target: edge.Target, Collection: key.Collection, Path: edge.Path}]++
		}
	}
	for k, n := range want {
		if got[k].Records != n {
			t.Errorf("count of %v is %v, want %d", k, got[k], n)
		}
	}
	for k := range got {
		if want[k] == 0 {
			t.Errorf("count of %v is %v, want none", k, got[k])
		}
	}
}

func TestStateAsJSONLines(t *testing.T) {
	t.Parallel()
	m := newModel(t, examples(t), simulate.Config{Seed: 5})
	for range 2000 {
		m.Next()
	}
	s := m.State()
	var out bytes.Buffer
	if err := s.Write(&out, true); err != nil {
		t.Fatal(err)
	}
	types := map[string]int{}
	for line := range strings.Lines(out.String()) {
		var v struct {
			Type   string
			Record json.RawMessage
		}
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%v\n%s", err, line)
		}
		if (v.Type == "record") != (v.Record != nil) {
			t.Errorf("line without record, or the other way around: %s", line)
		}
		types[v.Type]++
	}
	want := map[string]int{"state": 1, "account": len(s.Accounts), "record": len(s.Records), "count": len(s.Counts())}
	if !maps.Equal(types, want) {
		t.Errorf("lines %v, want %v", types, want)
	}
}

// TestMostLinksLeadSomewhere is what makes joins and counts worth a look.
func TestMostLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	cat := examples(t)
	m := newModel(t, cat, simulate.Config{Seed: 1, Mix: simulate.Mix{Create: 1}})
	for range 10_000 {
		m.Next()
	}
	s := m.State()
	there := map[string]simulate.Record{}
	for key, r := range s.Records {
		there[fmt.Sprintf("at://%s/%s/%s", key.DID, key.Collection, key.RKey)] = r
	}
	perTarget := map[string]int{}
	total, found := 0, 0
	for key, r := range s.Records {
		if key.Collection != "com.myrecipes.review" {
			continue
		}
		var review struct {
			Subject struct{ URI, CID string }
			Rating  int
		}
		if err := json.Unmarshal(r.JSON, &review); err != nil {
			t.Fatal(err)
		}
		total++
		if target, ok := there[review.Subject.URI]; ok {
			found++
			if target.CID != review.Subject.CID {
				t.Errorf("review pins %s of %s, which is %s", review.Subject.CID, review.Subject.URI, target.CID)
			}
			if uri := syntax.ATURI(review.Subject.URI); uri.Collection() != "com.myrecipes.recipe" {
				t.Errorf("review of a %s", uri.Collection())
			}
		}
		perTarget[review.Subject.URI]++
	}
	if share := float64(found) / float64(total); share < 0.8 || share > 0.97 {
		t.Errorf("%.2f of the links of %d reviews lead somewhere, want about 0.9", share, total)
	}
	most := slices.Max(slices.Collect(maps.Values(perTarget)))
	if most < 10*total/len(perTarget) {
		t.Errorf("the most popular recipe has %d of %d reviews of %d recipes: not skewed", most, total, len(perTarget))
	}
}

func TestNewSaysAllFaults(t *testing.T) {
	t.Parallel()
	cat := examples(t)
	none := *cat
	none.Collections = nil
	cases := []struct {
		name string
		cat  *schema.Catalog
		cfg  simulate.Config
		want []string
	}{
		{"negative", cat, simulate.Config{Accounts: -1, Odd: 2}, []string{"accounts -1", "odd records 2"}},
		{"unknown collection", cat, simulate.Config{Weights: map[syntax.NSID]float64{"com.example.nothing": 1}},
			[]string{"weight of com.example.nothing"}},
		{"empty catalog", &none, simulate.Config{}, []string{"no record lexicons"}},
		{"nothing created", cat, simulate.Config{Mix: simulate.Mix{Delete: 1}}, []string{"some records must be created"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := simulate.New(c.cat, c.cfg)
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want %q in it", err, want)
				}
			}
		})
	}
}
