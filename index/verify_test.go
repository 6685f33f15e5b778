package index_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atview/atview/index"
	"github.com/atview/atview/ingest/stream"
	"github.com/atview/atview/schema"
)

// verify looks at everything, in parts that are as small as can be.
func (w *world) verify() index.VerifyReport {
	w.t.Helper()
	report, err := index.Verify(w.t.Context(), w.pool, w.cat, index.VerifyConfig{Connections: 2, PartBlocks: 1})
	if err != nil {
		w.t.Fatal(err)
	}
	return report
}

func (w *world) mustBeClean() index.VerifyReport {
	w.t.Helper()
	report := w.verify()
	for i, d := range report.Differences {
		if i == 10 {
			break
		}
		w.t.Errorf("unexpected difference: %+v", d)
	}
	if !report.Clean() {
		w.t.Errorf("found %v", report.Found)
	}
	return report
}

// withCIDs gives the records of made-up events the CIDs that they have.
func withCIDs(t testing.TB, lines [][]byte) [][]byte {
	t.Helper()
	out := make([][]byte, len(lines))
	for i, line := range lines {
		var ev struct {
			Commit struct {
				CID    string
				Record json.RawMessage
			}
		}
		if err := json.Unmarshal(line, &ev); err != nil {
			t.Fatal(err)
		}
		out[i] = line
		if ev.Commit.CID == "" {
			continue
		}
		cid, err := schema.CID(ev.Commit.Record)
		if err != nil {
			t.Fatal(err)
		}
		// The commit's own CID is its first property; others are of its links.
		out[i] = bytes.Replace(line, []byte(`"commit":{"cid":"`+ev.Commit.CID+`"`), []byte(`"commit":{"cid":"`+cid+`"`), 1)
		if cid != ev.Commit.CID && bytes.Equal(out[i], line) {
			t.Fatalf("no CID in %s", line)
		}
	}
	return out
}

func TestVerifyFindsNothing(t *testing.T) {
	t.Parallel()
	t.Run("InCapturedEvents", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, load(t, shared(t, "lexicons")))
		for _, file := range captures(t) {
			// The golden lines have made-up CIDs; the odd events are below.
			if strings.Contains(file, "golden") || strings.Contains(file, "edge") {
				continue
			}
			w.feed(readLines(t, file)...)
		}
		w.settle()
		report := w.mustBeClean()
		if report.Rows < 3000 || report.CIDs < 3000 || report.Counts < 3000 {
			t.Errorf("too little was looked at: %+v", report)
		}
	})
	t.Run("InOddEvents", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, load(t, shared(t, "lexicons")))
		for _, file := range captures(t) {
			if strings.Contains(file, "edge") {
				w.feed(readLines(t, file)...)
			}
		}
		w.settle()
		if report := w.mustBeClean(); report.Rows == 0 || report.Repaired == 0 {
			t.Errorf("too little was looked at: %+v", report)
		}
	})
	for seed := range uint64(3) {
		t.Run(fmt.Sprintf("InRandomHistory%d", seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, load(t, "../lexicons"))
			h := history{rng: rand.New(rand.NewPCG(seed, 7)), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
			for range 5 {
				w.feed(withCIDs(t, h.lines(150))...)
				w.settle()
				w.mustBeClean()
			}
		})
	}
}

// TestVerifyBesideTheFold verifies while the index writes: what it reads is one
// snapshot, so it finds nothing.
func TestVerifyBesideTheFold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, load(t, "../lexicons"))
	h := history{rng: rand.New(rand.NewPCG(11, 7)), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	lines := withCIDs(t, h.lines(6000))
	rows := int64(0)
	for len(lines) > 0 {
		w.feed(lines[:600]...)
		lines = lines[600:]
		rows += w.mustBeClean().Rows
	}
	w.settle()
	w.mustBeClean()
	if rows == 0 {
		t.Error("nothing was looked at")
	}
}

// The accounts of a small world that is known in detail.
const (
	dora = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
	emil = "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"
	fred = "did:plc:cccccccccccccccccccccccc" // deactivated
	soup = "at://" + dora + "/com.myrecipes.recipe/soup"
	cake = "at://" + dora + "/com.myrecipes.recipe/cake"
)

// script makes events, each a second after the one before.
type script struct {
	t     testing.TB
	now   time.Time
	lines [][]byte
	made  map[string]made // by DID and rkey
}

type made struct{ collection, rkey, rev, cid, record string }

func (s *script) event(kind, did string, body map[string]any) {
	s.t.Helper()
	s.now = s.now.Add(time.Second)
	line, err := json.Marshal(map[string]any{"did": did, "kind": kind, "time_us": s.now.UnixMicro(), kind: body})
	if err != nil {
		s.t.Fatal(err)
	}
	s.lines = append(s.lines, line)
}

func (s *script) put(did, collection, rkey, record string) {
	s.t.Helper()
	record = fmt.Sprintf(`{"$type":%q,"createdAt":"2026-01-01T00:00:00.123456789Z",%s}`, collection, record)
	cid, err := schema.CID([]byte(record))
	if err != nil {
		s.t.Fatal(err)
	}
	rev := syntax.NewTIDFromTime(s.now, 0).String()
	s.made[did+rkey] = made{collection, rkey, rev, cid, record}
	s.event("commit", did, map[string]any{"rev": rev, "operation": "create", "collection": collection, "rkey": rkey,
		"cid": cid, "record": json.RawMessage(record)})
}

func ref(uri string) string {
	return fmt.Sprintf(`{"uri":%q,"cid":"bafyreiaf34mqoh542pew3wktsyiv4ebuaqdyxazxcxtkgq62acviktomt4"}`, uri)
}

// newSmallWorld has at least one row of each kind that verifying tells apart, and
// its index at rest.
func newSmallWorld(t testing.TB) (*world, *script) {
	t.Helper()
	w := newWorld(t, load(t, "../lexicons"))
	s := &script{t: t, now: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), made: map[string]made{}}
	s.put(dora, "com.myrecipes.recipe", "soup", `"title":"Soup","ingredients":["water","salt"],"steps":["Boil."],"tags":[],"servings":4`)
	s.put(dora, "com.myrecipes.like", "l1", `"subject":`+ref(soup))
	s.put(dora, "com.myrecipes.like", "l2", `"subject":`+ref(soup))
	s.put(emil, "com.myrecipes.like", "l1", `"subject":`+ref(soup))
	s.put(emil, "com.myrecipes.like", "l2", `"subject":`+ref(cake))
	s.put(emil, "com.myrecipes.review", "v1", `"subject":`+ref(soup)+`,"rating":5,"text":"Good."`)
	s.put(emil, "com.myrecipes.review", "v2", `"subject":`+ref(soup)+`,"rating":9,"text":"Odd."`)         // flagged
	s.put(emil, "com.myrecipes.review", "v3", `"subject":`+ref(soup)+`,"rating":3,"text":"Null \u0000."`) // repaired
	s.put(emil, "com.myrecipes.collection", "c1", `"name":"Best","items":[`+ref(soup)+`,`+ref(cake)+`]`)
	s.put(dora, "com.myrecipes.collection", "c1", `"name":"Mine","items":[`+ref(soup)+`]`)
	s.put(fred, "com.myrecipes.like", "l1", `"subject":`+ref(soup))
	s.put(fred, "com.myrecipes.collection", "c1", `"name":"Hidden","items":[`+ref(cake)+`]`)
	s.put(dora, "app.bsky.graph.follow", "f1", `"subject":"`+emil+`"`)
	s.event("account", fred, map[string]any{"did": fred, "seq": 1, "time": s.now.Format(time.RFC3339), "active": false, "status": "deactivated"})
	w.feed(s.lines...)
	w.settle()
	w.mustBeClean()
	return w, s
}

var names = strings.NewReplacer(dora, "dora", emil, "emil", fred, "fred")

// told is a difference in short.
func told(d index.Difference) string {
	parts := []string{string(d.Kind), strings.TrimPrefix(string(d.Collection), "com.myrecipes."), string(d.DID), string(d.RKey), d.Path, d.Target}
	return names.Replace(strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " ") +
		": want " + d.Want + ", have " + d.Have)
}

func toldAll(found []index.Difference) []string {
	var out []string
	for _, d := range found {
		out = append(out, told(d))
	}
	slices.Sort(out)
	return out
}

// TestVerifyFindsAndRepairs spoils the tables in one way at a time, has exactly
// that found, and has it repaired.
//
//nolint:tparallel // each part goes on with the tables of the one before
func TestVerifyFindsAndRepairs(t *testing.T) {
	t.Parallel()
	w, s := newSmallWorld(t)
	ctx := t.Context()
	if _, err := index.RepairLocal(ctx, w.pool, w.cat, index.RepairConfig{}); !errors.Is(err, index.ErrBusy) {
		t.Errorf("repaired beside an index at work: %v", err)
	}
	w.stop()

	const link = "insert into atview.link (target, collection, path, did, rkey, sort_at, hidden)"
	const soupLikes = "at://dora/com.myrecipes.recipe/soup: "
	tests := []struct {
		name, sql string
		want      []string
	}{
		{"Text", `update records.com_myrecipes_review set text = 'Bad.' where rkey = 'v1'`,
			[]string{`column review emil v1 text: want "Good.", have "Bad."`}},
		{"RepairedRow", `update records.com_myrecipes_review set text = null where rkey = 'v3'`,
			[]string{`column review emil v3 text: want "Null ` + "\uFFFD" + `.", have `}},
		{"Integer", `update records.com_myrecipes_review set rating = null where rkey = 'v1'`,
			[]string{`column review emil v1 rating: want 5, have `}},
		{"Array", `update records.com_myrecipes_recipe set ingredients = '{water,null}', tags = null`,
			[]string{`column recipe dora soup ingredients: want ["water", "salt"], have ["water", null]`, `column recipe dora soup tags: want [], have `}},
		{"Time", `update records.com_myrecipes_review set created_at = 'infinity' where rkey = 'v1'`,
			[]string{`column review emil v1 created_at: want 2026-01-01T00:00:00.123456Z, have infinity`}},
		{"SortAt", `update records.com_myrecipes_like set sort_at = '2020-01-01 00:00:00Z' where rkey = 'l2' and did = '` + emil + `'`,
			[]string{`column like emil l2 sort_at: want 2026-01-01T00:00:00.123456Z, have 2020-01-01T00:00:00Z`}},
		{"SortAtOfLinks", `update atview.link set sort_at = '2020-01-01 00:00:00Z' where did = '` + dora + `'`,
			[]string{`link collection dora c1 items[].uri at://dora/com.myrecipes.recipe/soup: want sort_at and hidden of its record, have others`}},
		{"LinkColumn", `update records.com_myrecipes_like set subject_uri = 'at://x' where rkey = 'l1' and did = '` + emil + `'`,
			[]string{`column like emil l1 subject_uri: want "` + soup + `", have "at://x"`,
				`count like subject.uri ` + soupLikes + `want 2 records of 1 accounts, have 3 records of 2 accounts`,
				`count like subject.uri at://x: want 1 records of 1 accounts, have `}},
		{"Hidden", `update records.com_myrecipes_like set hidden = true where rkey = 'l1' and did = '` + dora + `'`,
			[]string{`column like dora l1 hidden: want false, have true`,
				`count like subject.uri ` + soupLikes + `want 2 records of 2 accounts, have 3 records of 2 accounts`}},
		{"Shown", `update records.com_myrecipes_like set hidden = false where did = '` + fred + `'`,
			[]string{`column like fred l1 hidden: want true, have false`,
				`count like subject.uri ` + soupLikes + `want 4 records of 3 accounts, have 3 records of 2 accounts`}},
		{"Flagged", `update records.com_myrecipes_review set flagged = not flagged where rkey in ('v1', 'v2')`,
			[]string{`column review emil v1 flagged: want false, have true`, `column review emil v2 flagged: want true, have false`}},
		{"FlagMissing", `delete from atview.flag where rkey = 'v2'`,
			[]string{`flag review emil v2 rating: want integer is over the maximum of 5, have `}},
		{"FlagExtra", `insert into atview.flag values ('com.myrecipes.review', 'v1', '` + emil + `', 3, 'text', 'dislike')`,
			[]string{`flag review emil v1 text: want , have dislike`}},
		{"FlagAltered", `update atview.flag set reason = 'dislike' where rkey = 'v2'`,
			[]string{`flag review emil v2 rating: want , have dislike`, `flag review emil v2 rating: want integer is over the maximum of 5, have `}},
		{"LinkMissing", `delete from atview.link where did = '` + emil + `' and target = '` + cake + `'`,
			[]string{`link collection emil c1 items[].uri at://dora/com.myrecipes.recipe/cake: want a row, have `,
				`count collection items[].uri at://dora/com.myrecipes.recipe/cake: want , have 1 records of 1 accounts`}},
		{"LinkTwice", `insert into atview.link select * from atview.link where did = '` + emil + `' and target = '` + cake + `'`,
			[]string{`link collection emil c1 items[].uri at://dora/com.myrecipes.recipe/cake: want , have a row`,
				`count collection items[].uri at://dora/com.myrecipes.recipe/cake: want 2 records of 1 accounts, have 1 records of 1 accounts`}},
		{"LinkShown", `update atview.link set hidden = false where did = '` + fred + `'`,
			[]string{`link collection fred c1 items[].uri at://dora/com.myrecipes.recipe/cake: want sort_at and hidden of its record, have others`,
				`count collection items[].uri at://dora/com.myrecipes.recipe/cake: want 2 records of 2 accounts, have 1 records of 1 accounts`}},
		{"CountWrong", `update atview.link_count set records = records + 1 where collection = 'com.myrecipes.review' and target = '` + soup + `'`,
			[]string{`count review subject.uri ` + soupLikes + `want 3 records of 1 accounts, have 4 records of 1 accounts`}},
		{"CountMissing", `delete from atview.link_count where collection = 'app.bsky.graph.follow'`,
			[]string{`count app.bsky.graph.follow subject emil: want 1 records of 1 accounts, have `}},
		{"CountExtra", `insert into atview.link_count values ('at://x', 'app.bsky.feed.like', 'subject.uri', 1, 1), ('at://x', 'com.myrecipes.like', 'subject.uri', 0, 0)`,
			[]string{`count app.bsky.feed.like subject.uri at://x: want , have 1 records of 1 accounts`, `count like subject.uri at://x: want , have 0 records of 0 accounts`}},
		{"Orphans", link + ` values ('at://x', 'com.myrecipes.like', 'p', 'did:web:a', 'k', now(), true);
			insert into atview.flag values ('com.myrecipes.like', 'k', 'did:web:a', 0, 'p', 'r')`,
			[]string{`orphan like did:web:a k atview.flag: want , have p r`, `orphan like did:web:a k atview.link: want , have p at://x`}},
		{"OrphansOfNoTable", link + ` values ('at://x', 'no.such.thing', 'p', 'did:web:a', 'k', now(), false);
			insert into atview.flag values ('no.such.thing', 'k', 'did:web:a', 0, 'p', 'r');
			insert into atview.link_count values ('at://x', 'no.such.thing', 'p', 2, 1)`,
			[]string{`count no.such.thing p at://x: want 1 records of 1 accounts, have 2 records of 1 accounts`,
				`orphan no.such.thing did:web:a k atview.flag: want , have p r`, `orphan no.such.thing did:web:a k atview.link: want , have p at://x`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before := w.dump()
			w.spoil(t, test.sql, test.want)
			report := w.repair(t)
			if len(report.Reconcile) > 0 || report.Left > 0 {
				t.Errorf("not repaired here: %+v", report)
			}
			sameText(t, "repaired", before, w.dump())
			w.mustBeClean()
		})
	}

	// What the tables alone cannot tell is left to the repository.
	t.Run("Record", func(t *testing.T) {
		had := s.made[emil+"v1"]
		has, err := schema.CID([]byte(strings.Replace(had.record, "Good.", "Bad.", 1)))
		if err != nil {
			t.Fatal(err)
		}
		w.spoil(t, `update records.com_myrecipes_review set record = record || '{"text": "Bad."}' where rkey = 'v1'`,
			[]string{`column review emil v1 text: want "Bad.", have "Good."`,
				`cid review emil v1: want ` + has + `, have ` + had.cid})
		report := w.repair(t)
		if report.Unproven != 1 || !slices.Equal(report.Reconcile, []syntax.DID{emil}) {
			t.Errorf("%+v", report)
		}
		if n := w.mustBeClean().NoCID; n != 1 {
			t.Errorf("%d rows have no CID", n)
		}
		var why string
		if err := w.pool.QueryRow(ctx, "select why from atview.repo where did = $1 and state = 'queued'", emil).Scan(&why); err != nil || why != "asked" {
			t.Errorf("the repository is queued: %q, %v", why, err)
		}
	})
	t.Run("NoRecord", func(t *testing.T) {
		w.spoil(t, `update records.com_myrecipes_review set record = '[]' where rkey = 'v2'`,
			[]string{`record review emil v2: want a record, have not a record: JSON array in place of an object`})
		if report := w.repair(t); report.Unproven != 1 || !slices.Equal(report.Reconcile, []syntax.DID{emil}) {
			t.Errorf("%+v", report)
		}
		w.mustExec(t, `delete from records.com_myrecipes_review where rkey = 'v2'; delete from atview.flag where rkey = 'v2'`)
		w.repair(t)
		w.mustBeClean()
	})
	t.Run("Tombstone", func(t *testing.T) {
		w.spoil(t, `insert into atview.tombstone select 'com.myrecipes.like', rkey, did, rev from records.com_myrecipes_like where did = '`+emil+`' and rkey = 'l2'`,
			[]string{`tombstone like emil l2: want deleted at ` + s.made[emil+"l2"].rev + `, have ` + s.made[emil+"l2"].rev})
		if report := w.repair(t); report.Removed != 1 || !slices.Equal(report.Reconcile, []syntax.DID{emil}) {
			t.Errorf("%+v", report)
		}
		w.mustBeClean()
	})
	t.Run("Deleted", func(t *testing.T) {
		w.spoil(t, `insert into atview.actor (did, purged_rev) values ('`+dora+`', '`+s.made[dora+"l2"].rev+`')
			on conflict (did) do update set purged_rev = excluded.purged_rev`, []string{
			`deleted like dora l1: want nothing up to ` + s.made[dora+"l2"].rev + `, have ` + s.made[dora+"l1"].rev,
			`deleted like dora l2: want nothing up to ` + s.made[dora+"l2"].rev + `, have ` + s.made[dora+"l2"].rev,
			`deleted recipe dora soup: want nothing up to ` + s.made[dora+"l2"].rev + `, have ` + s.made[dora+"soup"].rev,
		})
		if report := w.repair(t); report.Removed != 3 || len(report.Reconcile) != 0 {
			t.Errorf("%+v", report)
		}
		w.mustBeClean()
	})
	t.Run("NoMoreThanAsked", func(t *testing.T) {
		w.mustExec(t, `update records.com_myrecipes_collection set name = 'x'`)
		for left := 2; left >= 0; left-- {
			report, err := index.RepairLocal(ctx, w.pool, w.cat, index.RepairConfig{MaxRows: 1})
			if err != nil || report.Rederived != 1 || report.Left != int64(left) {
				t.Errorf("want %d left: %+v %v", left, report, err)
			}
		}
		w.mustBeClean()
	})
}

// spoil changes the tables by hand, and has exactly want found.
func (w *world) spoil(t *testing.T, sql string, want []string) {
	t.Helper()
	w.mustExec(t, sql)
	report := w.verify()
	for i := range want {
		want[i] = names.Replace(want[i])
	}
	slices.Sort(want)
	if got := toldAll(report.Differences); !slices.Equal(got, want) {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func (w *world) repair(t *testing.T) index.RepairReport {
	t.Helper()
	report, err := index.RepairLocal(t.Context(), w.pool, w.cat, index.RepairConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func (w *world) mustExec(t *testing.T, sql string) {
	t.Helper()
	if _, err := w.pool.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

// TestVerifyPastTheBounds verifies records with more faults and links than are
// kept, written in another order than jsonb gives them back.
func TestVerifyPastTheBounds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, load(t, "../lexicons"))
	s := &script{t: t, now: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), made: map[string]made{}}
	properties := func(n int, value func(i int) string) string {
		var out []string
		for i := n; i > 0; i-- {
			out = append(out, fmt.Sprintf(`"k%d":%s`, i, value(i)))
		}
		return "{" + strings.Join(out, ",") + "}"
	}
	fault := func(int) string { return `{"$type":"blob"}` }
	url := func(i int) string { return fmt.Sprintf(`"https://example.com/%d"`, i) }
	s.put(dora, "com.myrecipes.collection", "flags", `"name":"a","items":[],"x":`+properties(schema.MaxFlags+4, fault))
	s.put(dora, "com.myrecipes.collection", "full", `"name":"a","items":[],"x":`+properties(schema.MaxFlags, fault))
	s.put(dora, "com.myrecipes.collection", "mended", `"name":"a","items":[],"n":"\u0000","x":`+properties(schema.MaxFlags+4, fault))
	s.put(dora, "com.myrecipes.collection", "links", `"name":"a","items":[],"x":`+properties(schema.MaxLinks+100, url))
	s.put(dora, "com.myrecipes.like", "column", `"pushesTheSubjectOut":`+properties(schema.MaxLinks+100, url)+`,"subject":`+ref(soup))
	w.feed(s.lines...)
	w.settle()
	w.mustBeClean()
	w.stop()
	w.mustExec(t, `update records.com_myrecipes_collection set name = 'b'; update records.com_myrecipes_like set created_at = null`)
	if report := w.repair(t); report.Rederived != 5 {
		t.Errorf("%+v", report)
	}
	w.mustBeClean()
}

//nolint:tparallel // the last part spoils what the others look at
func TestVerifyLooksWhereItIsTold(t *testing.T) {
	t.Parallel()
	w, _ := newSmallWorld(t)
	w.mustExec(t, `update records.com_myrecipes_like set created_at = null; update records.com_myrecipes_review set rating = 0;
		insert into atview.link_count values ('at://x', 'no.such.thing', 'p', 1, 1)`)
	t.Run("AtSomeCollections", func(t *testing.T) {
		found := 0
		var last index.VerifyProgress
		report, err := index.Verify(t.Context(), w.pool, w.cat, index.VerifyConfig{
			Collections: []syntax.NSID{"com.myrecipes.like", "app.bsky.graph.follow"}, MaxDifferences: 2,
			Found: func(index.Difference) { found++ }, Progress: func(p index.VerifyProgress) { last = p }})
		if err != nil {
			t.Fatal(err)
		}
		if report.Collections != 2 || report.Rows != 6 || report.Found[index.DiffColumn] != 5 || len(report.Found) != 1 || found != 5 || len(report.Differences) != 2 {
			t.Errorf("%d found: %+v", found, report)
		}
		if last.Rows != 6 || last.Done != last.Total || last.Total == 0 {
			t.Errorf("ended with %+v", last)
		}
	})
	t.Run("AtCollectionsThatAreThere", func(t *testing.T) {
		_, err := index.Verify(t.Context(), w.pool, w.cat, index.VerifyConfig{Collections: []syntax.NSID{"no.such.thing"}})
		if err == nil || !strings.Contains(err.Error(), "no.such.thing") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("UntilItIsStopped", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := index.Verify(ctx, w.pool, w.cat, index.VerifyConfig{Connections: 1, Found: func(index.Difference) { cancel() }})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("NotAtTablesOfOtherLexicons", func(t *testing.T) {
		w.mustExec(t, "update atview.collection set fingerprint = 'other' where nsid = 'com.myrecipes.like'")
		if _, err := index.Verify(t.Context(), w.pool, w.cat, index.VerifyConfig{}); !errors.Is(err, index.ErrNotMigrated) {
			t.Errorf("got %v", err)
		}
	})
}

// TestUnprovenRowsAreReplaced spoils a record, which costs it its CID, and reads
// the repository whole.
func TestUnprovenRowsAreReplaced(t *testing.T) {
	t.Parallel()
	w, s := newSmallWorld(t)
	before := w.dump()
	w.stop()
	w.mustExec(t, `update records.com_myrecipes_review set record = record || '{"text": "Bad."}' where rkey = 'v1'`)
	w.repair(t)
	w.start()
	const rkey = "v1"
	v1 := s.made[emil+rkey]
	nsid := syntax.NSID(v1.collection)
	ev, err := stream.Parse(commitEvent(emil, syntax.TID(v1.rev), nsid, rkey, json.RawMessage(v1.record), true))
	if err != nil {
		t.Fatal(err)
	}
	ev.Commit.CID = v1.cid
	ev.TimeUS = syntax.TID(v1.rev).Time().Add(time.Second).UnixMicro()
	if err := w.bulk.Publish(t.Context(), &ev, nil); err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.mustExec(t, "delete from atview.repo")
	sameText(t, "read again", before, w.dump())
	w.mustBeClean()
}

// TestVerifyRepositoriesReadWhole verifies what comes of snapshots among live
// events, and holds each repository against it.
func TestVerifyRepositoriesReadWhole(t *testing.T) {
	t.Parallel()
	cat := load(t, "../lexicons")
	collections := []syntax.NSID{like, review, "com.myrecipes.collection", "app.bsky.graph.follow"}
	w := newWorld(t, cat)
	rng := rand.New(rand.NewPCG(5, 7))
	n := &network{history: history{rng: rng, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}, repos: map[string]*repo{}, accounts: newModel(cat)}
	for range 600 {
		if line, account := n.next(t); account || rng.IntN(6) > 0 {
			w.feed(line)
		}
		if rng.IntN(12) == 0 {
			n.readSome(w, collections)
		}
	}
	w.settle()
	for _, did := range n.dids() {
		w.read(syntax.DID(did), n.repos[did].head, collections, n.repos[did].parts()...)
	}
	w.settle()
	report := w.verify()
	delete(report.Found, index.DiffCID) // they are not of DAG-CBOR
	if !report.Clean() || report.Rows == 0 {
		t.Errorf("%+v", report)
	}
	for _, did := range n.dids() {
		state := index.RepoState{DID: syntax.DID(did), Rev: n.repos[did].head, Records: func(yield func(index.RepoRecord, error) bool) {
			for _, p := range n.repos[did].parts() {
				if !yield(index.RepoRecord{Collection: p.collection, RKey: syntax.RecordKey(p.rkey), CID: contentID(p.record), JSON: p.record}, nil) {
					return
				}
			}
		}}
		report, err := index.Compare(t.Context(), w.pool, cat, state, index.CompareConfig{})
		if err != nil || !report.Clean() || report.Newer != 0 || report.Rows != int64(len(n.repos[did].records)) {
			t.Errorf("%s: %+v %v", did, report, err)
		}
	}
}

// BenchmarkVerify verifies rows made of the network's posts, likes, follows and
// reposts, as it has them: in number and in size.
func BenchmarkVerify(b *testing.B) {
	const rows = 100_000
	w := newWorld(b, load(b, shared(b, "lexicons")))
	var events []stream.Event
	for _, line := range readLines(b, shared(b, "records", "jetstream-v1", "bluesky-2026-07-04.jsonl")) {
		if ev, err := stream.Parse(line); err == nil && ev.Kind == stream.KindCommit && len(ev.Commit.Record) > 0 {
			events = append(events, ev)
		}
	}
	for i := range rows {
		ev := events[i%len(events)]
		c := *ev.Commit
		c.RKey = syntax.RecordKey(syntax.NewTID(int64(1_700_000_000_000_000+i*1000), 1))
		ev.Commit, ev.DID = &c, syntax.DID(fmt.Sprintf("did:plc:bench%d", i%5000))
		if err := w.pub.Publish(b.Context(), &ev, nil); err != nil {
			b.Fatal(err)
		}
	}
	w.settle()
	w.mustBeClean()
	for _, connections := range []int{1, 2, 3} {
		b.Run(fmt.Sprintf("connections=%d", connections), func(b *testing.B) {
			for b.Loop() {
				report, err := index.Verify(b.Context(), w.pool, w.cat, index.VerifyConfig{Connections: connections})
				if err != nil || report.Rows != rows || !report.Clean() {
					b.Fatalf("%+v %v", report, err)
				}
			}
			b.ReportMetric(rows*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
