package index_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atview/atview/index"
)

var errTorn = errors.New("torn archive")

// repository is what a script has put into one.
func (s *script) repository(did string, alter func(records []index.RepoRecord) []index.RepoRecord) index.RepoState {
	s.t.Helper()
	state := index.RepoState{DID: syntax.DID(did)}
	var records []index.RepoRecord
	for key, m := range s.made {
		if strings.HasPrefix(key, did) {
			records = append(records, index.RepoRecord{Collection: syntax.NSID(m.collection), RKey: syntax.RecordKey(m.rkey), CID: m.cid, JSON: []byte(m.record)})
			state.Rev = max(state.Rev, syntax.TID(m.rev))
		}
	}
	if alter != nil {
		records = alter(records)
	}
	state.Records = func(yield func(index.RepoRecord, error) bool) {
		for _, r := range records {
			err := error(nil)
			if r.RKey == "torn" {
				err = errTorn
			}
			if !yield(r, err) {
				return
			}
		}
	}
	return state
}

//nolint:tparallel // each part goes on with the tables of the one before
func TestCompare(t *testing.T) {
	t.Parallel()
	w, s := newSmallWorld(t)
	w.stop()
	compare := func(t *testing.T, state index.RepoState, cfg index.CompareConfig) index.CompareReport {
		t.Helper()
		report, err := index.Compare(t.Context(), w.pool, w.cat, state, cfg)
		if err != nil {
			t.Fatal(err)
		}
		return report
	}
	expect := func(t *testing.T, report index.CompareReport, newer int64, want ...string) {
		t.Helper()
		if got := toldAll(report.Differences); !slices.Equal(got, want) || report.Newer != newer {
			t.Errorf("%d newer, found\n%s\nwant %d newer,\n%s", report.Newer, strings.Join(got, "\n"), newer, strings.Join(want, "\n"))
		}
	}
	t.Run("FindsNothing", func(t *testing.T) {
		for _, did := range []string{dora, emil, fred, "did:web:nobody.example"} {
			report := compare(t, s.repository(did, nil), index.CompareConfig{})
			expect(t, report, 0)
			if report.Rows != report.Records {
				t.Errorf("%s: %+v", did, report)
			}
		}
	})
	t.Run("FindsWhatIsMissingExtraAndDifferent", func(t *testing.T) {
		state := s.repository(emil, func(records []index.RepoRecord) []index.RepoRecord {
			out := []index.RepoRecord{
				{Collection: "no.such.thing", RKey: "x", CID: "bafy", JSON: []byte(`{}`)},
				{Collection: "com.myrecipes.like", RKey: "l9", CID: "bafynew", JSON: []byte(`{}`)},
			}
			for _, r := range records {
				switch r.RKey {
				case "v1":
					r.CID = "bafyother"
				case "c1":
					continue
				}
				out = append(out, r)
			}
			return out
		})
		c1, v1 := s.made[emil+"c1"], s.made[emil+"v1"]
		expect(t, compare(t, state, index.CompareConfig{}), 0,
			"cid review emil v1: want bafyother, have "+v1.cid,
			"extra collection emil c1: want , have rev "+c1.rev,
			"missing like emil l9: want bafynew, have ")
		expect(t, compare(t, state, index.CompareConfig{Collections: []syntax.NSID{"com.myrecipes.collection"}}), 0,
			"extra collection emil c1: want , have rev "+c1.rev)
		found := 0
		report := compare(t, state, index.CompareConfig{MaxDifferences: 1, Found: func(index.Difference) { found++ }})
		if len(report.Differences) != 1 || found != 3 || report.Clean() {
			t.Errorf("%d found, %+v", found, report)
		}
	})
	t.Run("LeavesOutWhatIsNewer", func(t *testing.T) {
		state := s.repository(emil, func(records []index.RepoRecord) []index.RepoRecord {
			return slices.DeleteFunc(records, func(r index.RepoRecord) bool { return r.RKey != "l1" && r.RKey != "v1" })
		})
		state.Rev = syntax.TID(s.made[emil+"l2"].rev)
		// v1 has changed since, v2, v3 and c1 have come since; l2 was there and is not.
		expect(t, compare(t, state, index.CompareConfig{}), 4, "extra like emil l2: want , have rev "+string(state.Rev))
	})
	t.Run("LeavesOutWhatWasDeletedSince", func(t *testing.T) {
		state := s.repository(emil, func(records []index.RepoRecord) []index.RepoRecord {
			return append(records, index.RepoRecord{Collection: "com.myrecipes.like", RKey: "l9", CID: "bafy", JSON: []byte(`{}`)})
		})
		w.mustExec(t, `insert into atview.tombstone values ('com.myrecipes.like', 'l9', '`+emil+`', '3zzzzzzzzzzzz')`)
		expect(t, compare(t, state, index.CompareConfig{}), 1)
		gone := s.repository(dora, func(records []index.RepoRecord) []index.RepoRecord {
			return append(records, index.RepoRecord{Collection: "com.myrecipes.like", RKey: "l9", CID: "bafy", JSON: []byte(`{}`)})
		})
		w.mustExec(t, `insert into atview.actor (did, purged_rev) values ('`+dora+`', '`+string(gone.Rev)+`') on conflict (did) do update set purged_rev = excluded.purged_rev`)
		expect(t, compare(t, gone, index.CompareConfig{}), 1)
	})
	t.Run("LooksAtRecordsAndNotOnlyAtCIDs", func(t *testing.T) {
		state := s.repository(emil, nil)
		w.mustExec(t, `update records.com_myrecipes_review set cid = null where rkey in ('v1', 'v3')`)
		expect(t, compare(t, state, index.CompareConfig{}), 0)
		w.mustExec(t, `update records.com_myrecipes_review set record = record || '{"text": "Bad."}' where rkey in ('v1', 'v2')`)
		report := compare(t, state, index.CompareConfig{})
		if len(report.Found) != 1 || report.Found[index.DiffRecord] != 2 {
			t.Errorf("%+v", report)
		}
	})
	t.Run("EndsWithTheArchive", func(t *testing.T) {
		state := s.repository(emil, func(records []index.RepoRecord) []index.RepoRecord {
			return append(records, index.RepoRecord{RKey: "torn"})
		})
		if _, err := index.Compare(t.Context(), w.pool, w.cat, state, index.CompareConfig{}); !errors.Is(err, errTorn) {
			t.Errorf("got %v", err)
		}
	})
}
