package index_test

import (
	"encoding/json"
	"fmt"
	"sort"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atview/atview/schema"
)

// model folds events by hand, in plain maps, one after the other: what the
// tables must come to. It shares with the index only the reading of a record.
type model struct {
	cat      *schema.Catalog
	records  map[modelKey]modelRecord
	tombs    map[modelKey]string
	accounts map[string]modelAccount
	handles  map[string]string
	floors   map[string]string // of deleted accounts: what is not newer is gone for good
	highest  map[string]string // rev by DID
}

type modelKey struct{ collection, did, rkey string }

type modelRecord struct {
	rev, cid string
	row      schema.Row
}

type modelAccount struct {
	status string
	at     string
	seq    int64
}

func newModel(cat *schema.Catalog) *model {
	return &model{cat, map[modelKey]modelRecord{}, map[modelKey]string{}, map[string]modelAccount{}, map[string]string{}, map[string]string{}, map[string]string{}}
}

func (m *model) fold(t testing.TB, line []byte) {
	t.Helper()
	var ev struct {
		DID    string
		Kind   string
		Commit struct {
			Rev, Operation, Collection, RKey, CID string
			Record                                json.RawMessage
		}
		Account struct {
			Active bool
			Status string
			Seq    int64
			Time   string
		}
		Identity struct{ Handle string }
	}
	if err := json.Unmarshal(line, &ev); err != nil {
		t.Fatal(err)
	}
	switch ev.Kind {
	case "commit":
		col := m.cat.Collection(syntax.NSID(ev.Commit.Collection))
		if col == nil {
			return
		}
		k := modelKey{ev.Commit.Collection, ev.DID, ev.Commit.RKey}
		if ev.Commit.Rev <= m.records[k].rev || ev.Commit.Rev <= m.tombs[k] || ev.Commit.Rev <= m.floors[ev.DID] {
			return
		}
		m.highest[ev.DID] = max(m.highest[ev.DID], ev.Commit.Rev)
		delete(m.records, k)
		delete(m.tombs, k)
		if ev.Commit.Operation == "delete" {
			m.tombs[k] = ev.Commit.Rev
			return
		}
		row, err := col.Row(ev.Commit.Record)
		if err != nil {
			t.Fatal(err)
		}
		m.records[k] = modelRecord{ev.Commit.Rev, ev.Commit.CID, row}
	case "identity":
		if ev.Identity.Handle != "" {
			m.handles[ev.DID] = ev.Identity.Handle
		}
	case "account":
		held := m.accounts[ev.DID]
		if ev.Account.Time < held.at || ev.Account.Time == held.at && ev.Account.Seq <= held.seq {
			return
		}
		status := "active"
		if !ev.Account.Active {
			status = ev.Account.Status
		}
		m.accounts[ev.DID] = modelAccount{status, ev.Account.Time, ev.Account.Seq}
		if status == "deleted" {
			m.floors[ev.DID] = m.highest[ev.DID]
			for k := range m.records {
				if k.did == ev.DID {
					delete(m.records, k)
				}
			}
			for k := range m.tombs {
				if k.did == ev.DID {
					delete(m.tombs, k)
				}
			}
		}
	}
}

func (m *model) hidden(did string) bool {
	a, known := m.accounts[did]
	return known && a.status != "active"
}

// lines is the model as text: records, flags, links, counts, tombstones.
func (m *model) lines() string {
	var out []string
	type targetKey struct{ target, collection, path string }
	records := map[targetKey]int{}
	dids := map[targetKey]map[string]bool{}
	for k, r := range m.records {
		out = append(out, fmt.Sprintf("record %s %s %s rev=%s cid=%s hidden=%t flagged=%t %s",
			k.collection, k.did, k.rkey, r.rev, r.cid, m.hidden(k.did), len(r.row.Flags) > 0, canonical(r.row.Record)))
		for i, f := range r.row.Flags {
			out = append(out, fmt.Sprintf("flag %s %s %s %d %s %s", k.collection, k.did, k.rkey, i, f.Path, f.Reason))
		}
		for _, l := range r.row.Links {
			if l.Column < 0 {
				out = append(out, fmt.Sprintf("link %s %s %s %s %s hidden=%t", l.Target, k.collection, l.Path, k.did, k.rkey, m.hidden(k.did)))
			}
			if !m.hidden(k.did) {
				tk := targetKey{l.Target, k.collection, l.Path}
				records[tk]++
				if dids[tk] == nil {
					dids[tk] = map[string]bool{}
				}
				dids[tk][k.did] = true
			}
		}
	}
	for k, n := range records {
		out = append(out, fmt.Sprintf("count %s %s %s records=%d dids=%d", k.target, k.collection, k.path, n, len(dids[k])))
	}
	for k, rev := range m.tombs {
		out = append(out, fmt.Sprintf("tombstone %s %s %s %s", k.collection, k.did, k.rkey, rev))
	}
	sort.Strings(out)
	return strings.Join(out, "\n")
}

// modelLines is what the tables say, in the words of model.lines.
func (w *world) modelLines() string {
	w.t.Helper()
	var b strings.Builder
	for _, c := range w.cat.Collections {
		w.rows(&b, "record", fmt.Sprintf(`select concat(%s, ' ', did, ' ', rkey, ' rev=', rev, ' cid=', cid, ' hidden=', hidden::text, ' flagged=', flagged::text, ' ', record::text)
			from records.%s`, "'"+string(c.NSID)+"'", schema.Quote(c.Table)))
	}
	w.rows(&b, "flag", `select concat_ws(' ', collection, did, rkey, ordinal, path, reason) from atview.flag`)
	w.rows(&b, "link", `select concat_ws(' ', target, collection, path, did, rkey, 'hidden=' || hidden::text) from atview.link`)
	w.rows(&b, "count", `select concat_ws(' ', target, collection, path, 'records=' || records, 'dids=' || dids) from atview.link_count`)
	w.rows(&b, "tombstone", `select concat_ws(' ', collection, did, rkey, rev) from atview.tombstone`)
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	for i, line := range lines {
		if at := strings.Index(line, " {"); strings.HasPrefix(line, "record ") && at > 0 {
			lines[i] = line[:at+1] + canonical([]byte(line[at+1:]))
		}
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

// canonical writes JSON in one way: keys sorted, numbers as they are.
func canonical(record []byte) string {
	d := json.NewDecoder(strings.NewReader(string(record)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return "no JSON: " + err.Error()
	}
	out, err := json.Marshal(v)
	if err != nil {
		return "no JSON: " + err.Error()
	}
	return string(out)
}
