package index_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/atview/atview/index"
	"github.com/atview/atview/ingest/stream"
	"github.com/atview/atview/queries"
	"github.com/atview/atview/schema"
)

const (
	alice  = syntax.DID("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
	like   = syntax.NSID("com.myrecipes.like")
	review = syntax.NSID("com.myrecipes.review")
)

// rev is the n-th of a test's revs.
func rev(n int) syntax.TID {
	return syntax.NewTIDFromTime(time.Date(2026, 1, 1, 0, 0, n, 0, time.UTC), 0)
}

// likeOf is a like of a recipe; version makes it another record with another CID.
func likeOf(recipe string, version int) json.RawMessage {
	return fmt.Appendf(nil, `{"$type":"com.myrecipes.like","subject":{"uri":"at://%s/com.myrecipes.recipe/%s","cid":"%s"},"createdAt":"2026-01-01T00:00:%02dZ"}`,
		alice, recipe, contentID([]byte(recipe)), version)
}

func reviewOf(recipe string, rating int) json.RawMessage {
	return fmt.Appendf(nil, `{"$type":"com.myrecipes.review","subject":{"uri":"at://%s/com.myrecipes.recipe/%s","cid":"%s"},"rating":%d,"createdAt":"2026-01-01T00:00:00Z"}`,
		alice, recipe, contentID([]byte(recipe)), rating)
}

// contentID is a CID of the given bytes. The fold compares CIDs and makes none.
func contentID(b []byte) string {
	sum := sha256.Sum256(b)
	mh, err := multihash.Encode(sum[:], multihash.SHA2_256)
	if err != nil {
		panic(err)
	}
	return cid.NewCidV1(cid.DagCBOR, mh).String()
}

// put is a live event; a nil record deletes.
func (w *world) put(n int, collection syntax.NSID, rkey string, record json.RawMessage) {
	w.t.Helper()
	w.feed(commitEvent(alice, rev(n), collection, rkey, record, false))
}

func commitEvent(did syntax.DID, at syntax.TID, collection syntax.NSID, rkey string, record json.RawMessage, snapshot bool) []byte {
	ev := stream.Event{DID: did, TimeUS: at.Time().UnixMicro(), Kind: stream.KindCommit, Commit: &stream.Commit{
		Rev: at, Operation: stream.Delete, Collection: collection, RKey: syntax.RecordKey(rkey), Snapshot: snapshot}}
	if record != nil {
		ev.Commit.Operation, ev.Commit.Record, ev.Commit.CID = stream.Create, record, contentID(record)
	}
	return ev.AppendJSON(nil)
}

// part is a record of a snapshot.
type part struct {
	collection syntax.NSID
	rkey       string
	record     json.RawMessage
}

// read publishes a repository as read whole.
func (w *world) read(did syntax.DID, at syntax.TID, covered []syntax.NSID, parts ...part) {
	w.t.Helper()
	w.cover(covered)
	w.publish(did, at, stream.Coverage(covered), parts...)
}

// cover makes a coverage known.
func (w *world) cover(covered []syntax.NSID) {
	w.t.Helper()
	names := make([]string, len(covered))
	for i, nsid := range covered {
		names[i] = string(nsid)
	}
	if err := queries.New().PutCoverage(w.t.Context(), w.pool, queries.PutCoverageParams{Digest: stream.Coverage(covered), Collections: names}); err != nil {
		w.t.Fatal(err)
	}
}

// sync is a source's request to read alice's repository anew.
func (w *world) sync(n int) {
	w.t.Helper()
	ev := stream.Event{DID: alice, TimeUS: rev(n).Time().UnixMicro(), Kind: stream.KindSync, Sync: &stream.Sync{Rev: rev(n)}}
	w.feed(ev.AppendJSON(nil))
	w.settle()
}

func (w *world) publish(did syntax.DID, at syntax.TID, coverage string, parts ...part) {
	w.t.Helper()
	w.parts(did, at, parts...)
	end := stream.Event{DID: did, TimeUS: at.Time().UnixMicro(), Kind: stream.KindSync, Sync: &stream.Sync{Rev: at, Complete: true, Coverage: coverage}}
	w.backfill(end.AppendJSON(nil))
}

// parts publishes a snapshot without its end.
func (w *world) parts(did syntax.DID, at syntax.TID, parts ...part) {
	w.t.Helper()
	for _, p := range parts {
		w.backfill(commitEvent(did, at, p.collection, p.rkey, p.record, true))
	}
}

// leave and comeBack are what alice's account does at a time.
func (w *world) leave(n int)    { w.account(n, stream.Account{Status: "deleted"}) }
func (w *world) comeBack(n int) { w.account(n, stream.Account{Active: true}) }

func (w *world) account(n int, a stream.Account) {
	w.t.Helper()
	a.Seq, a.Time = int64(n), rev(n).Time()
	ev := stream.Event{DID: alice, TimeUS: a.Time.UnixMicro(), Kind: stream.KindAccount, Account: &a}
	w.feed(ev.AppendJSON(nil))
}

func (w *world) backfill(lines ...[]byte) {
	w.t.Helper()
	for _, line := range lines {
		ev, err := stream.Parse(line)
		if err != nil {
			w.t.Fatal(err)
		}
		if err := w.bulk.Publish(w.t.Context(), &ev, line); err != nil {
			w.t.Fatal(err)
		}
	}
}

// likes are the likes in the tables: rkey, rev and the recipe that is liked.
func (w *world) likes() string {
	w.t.Helper()
	var b strings.Builder
	w.rows(&b, "", `select rkey || ' ' || rev || ' ' || substring(subject_uri from '[^/]*$') from records.com_myrecipes_like order by rkey`)
	return b.String()
}

func (w *world) one(sql string) string {
	w.t.Helper()
	var b strings.Builder
	w.rows(&b, "", sql)
	return strings.TrimSpace(b.String())
}

var onlyLikes = []syntax.NSID{like}

func TestSnapshot(t *testing.T) {
	t.Parallel()
	cat := load(t, "../lexicons")
	row := func(rkey string, at int, recipe string) string {
		return fmt.Sprintf(" %s %s %s\n", rkey, rev(at), recipe)
	}

	cases := map[string]struct {
		run   func(w *world)
		likes string
	}{
		"SweepsWhatIsGone": {func(w *world) {
			w.put(1, like, "a", likeOf("soup", 1))
			w.put(2, like, "b", likeOf("soup", 2))
			w.settle()
			w.read(alice, rev(5), onlyLikes, part{like, "b", likeOf("soup", 2)})
			w.settle()
			if got := w.one(`select records || ' ' || dids from atview.link_count where path = 'subject.uri'`); got != "1 1" {
				w.t.Errorf("counts %q", got)
			}
		}, row("b", 5, "soup")},
		"LateEventsOfTheTimeBeforeChangeNothing": {func(w *world) {
			w.read(alice, rev(5), onlyLikes, part{like, "b", likeOf("soup", 2)})
			w.settle()
			w.put(3, like, "a", likeOf("soup", 1))
			w.put(4, like, "b", nil)
			w.put(5, like, "c", likeOf("soup", 1))
		}, row("b", 5, "soup")},
		"NewerEventsStay": {func(w *world) {
			w.put(6, like, "a", likeOf("cake", 6))
			w.put(7, like, "b", nil)
			w.settle()
			w.read(alice, rev(5), onlyLikes, part{like, "a", likeOf("soup", 1)}, part{like, "b", likeOf("soup", 2)})
		}, row("a", 6, "cake")},
		"ReplacesWhatDiffers": {func(w *world) {
			w.put(1, like, "a", likeOf("soup", 1))
			w.settle()
			w.read(alice, rev(5), onlyLikes, part{like, "a", likeOf("cake", 2)})
		}, row("a", 5, "cake")},
		"ReplacesAtTheSameRev": {func(w *world) {
			w.read(alice, rev(5), onlyLikes, part{like, "a", likeOf("soup", 1)})
			w.settle()
			w.read(alice, rev(5), onlyLikes, part{like, "a", likeOf("cake", 1)})
		}, row("a", 5, "cake")},
		"BringsBackWhatWasLostAtTheSameRev": {func(w *world) {
			w.read(alice, rev(5), onlyLikes, part{like, "a", likeOf("soup", 1)})
			w.settle()
			if _, err := w.pool.Exec(w.t.Context(), "delete from records.com_myrecipes_like; delete from atview.link_count"); err != nil {
				w.t.Fatal(err)
			}
			w.read(alice, rev(5), onlyLikes, part{like, "a", likeOf("soup", 1)})
		}, row("a", 5, "soup")},
		"LeavesOtherCollectionsAlone": {func(w *world) {
			w.put(1, review, "r", reviewOf("soup", 5))
			w.settle()
			w.read(alice, rev(5), onlyLikes)
			w.settle()
			w.put(2, review, "s", reviewOf("soup", 4))
			w.settle()
			if got := w.one("select string_agg(rkey, ' ' order by rkey) from records.com_myrecipes_review"); got != "r s" {
				w.t.Errorf("reviews %q", got)
			}
		}, ""},
		"AnOlderOneIsIgnored": {func(w *world) {
			w.read(alice, rev(9), onlyLikes, part{like, "a", likeOf("soup", 1)})
			w.settle()
			w.read(alice, rev(5), onlyLikes, part{like, "a", likeOf("cake", 2)}, part{like, "b", likeOf("cake", 2)})
		}, row("a", 9, "soup")},
		"OfUnknownCoverageSweepsNothing": {func(w *world) {
			w.put(1, like, "a", likeOf("soup", 1))
			w.settle()
			w.publish(alice, rev(5), "00000000000000000000000000000000", part{like, "b", likeOf("soup", 2)})
		}, row("a", 1, "soup") + row("b", 5, "soup")},
		"OfADeletedAccountIsIgnored": {func(w *world) {
			w.put(1, like, "a", likeOf("soup", 1))
			w.leave(8)
			w.settle()
			w.read(alice, rev(5), onlyLikes, part{like, "a", likeOf("soup", 1)})
		}, ""},
		"OfAnAccountThatCameBackOutlivesItsDeletion": {func(w *world) {
			w.put(1, like, "a", likeOf("soup", 1))
			w.settle()
			w.read(alice, rev(9), onlyLikes, part{like, "b", likeOf("soup", 2)})
			w.settle()
			w.leave(4)
			w.comeBack(5)
			w.put(6, like, "c", likeOf("soup", 6)) // and gone again before rev 9
		}, row("b", 9, "soup")},
		"SoDoesAPartOfOne": {func(w *world) {
			w.parts(alice, rev(9), part{like, "b", likeOf("soup", 2)})
			w.settle()
			w.leave(4)
			w.comeBack(5)
			w.settle()
			w.read(alice, rev(9), onlyLikes)
		}, row("b", 9, "soup")},
		"NeedsNoTombstonesAnyMore": {func(w *world) {
			w.put(1, like, "a", nil)
			w.put(2, review, "r", nil)
			w.put(7, like, "z", nil)
			w.settle()
			w.read(alice, rev(5), onlyLikes)
			w.settle()
			if got := w.one("select string_agg(rkey, ' ' order by rkey) from atview.tombstone"); got != "r z" {
				w.t.Errorf("tombstones %q", got)
			}
			w.put(1, like, "a", likeOf("soup", 1))
		}, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, cat)
			c.run(w)
			w.settle()
			sameText(t, "likes", c.likes, w.likes())
		})
	}

	t.Run("UnchangedRowsKeepTheirDates", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, cat)
		w.put(1, like, "a", likeOf("soup", 1))
		w.settle()
		before := w.one("select indexed_at::text || ctid::text from records.com_myrecipes_like")
		w.read(alice, rev(1), onlyLikes, part{like, "a", likeOf("soup", 1)})
		w.settle()
		if after := w.one("select indexed_at::text || ctid::text from records.com_myrecipes_like"); after != before {
			t.Errorf("row was %s and is %s", before, after)
		}
	})
}

// TestRandomHistoriesWithGaps loses live events, repeats others, and reads
// repositories whole at any time, at revs old and new. In the end, when each
// has been read once more, the tables hold what the repositories do.
func TestRandomHistoriesWithGaps(t *testing.T) {
	t.Parallel()
	cat := load(t, "../lexicons")
	collections := []syntax.NSID{like, review, "com.myrecipes.collection", "app.bsky.graph.follow"}
	var gone, swept, kept atomic.Int64
	t.Cleanup(func() {
		if gone.Load() == 0 || swept.Load() == 0 || kept.Load() == 0 {
			t.Errorf("%d events lost, %d rows swept, %d kept: the test did not do what it is for", gone.Load(), swept.Load(), kept.Load())
		}
	})
	for seed := range uint64(6) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 3))
			w := newWorld(t, cat)
			n := &network{history: history{rng: rng, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}, repos: map[string]*repo{}, accounts: newModel(cat)}
			lost := 0
			var late [][]byte
			for range 8 {
				for range 150 {
					line, account := n.next(t)
					switch {
					case !account && rng.IntN(6) == 0:
						lost++
						if rng.IntN(3) == 0 {
							late = append(late, line)
						}
					default:
						w.feed(line)
					}
					if len(late) > 0 && rng.IntN(20) == 0 {
						w.feed(late[0])
						late = late[1:]
					}
					if rng.IntN(12) == 0 {
						n.readSome(w, collections)
					}
				}
			}
			w.settle()
			for _, did := range n.dids() {
				r := n.repos[did]
				w.read(syntax.DID(did), r.head, collections, r.parts()...)
			}
			w.settle()
			w.feed(late...)
			w.settle()
			want, got := n.lines(t, cat), w.modelLines()
			sameText(t, "after all", withoutRevs(want), withoutRevs(got))
			did := w.ix.Status()
			gone.Add(int64(lost))
			swept.Add(int64(did.Swept))
			kept.Add(int64(did.Kept))
		})
	}
}

var revs = regexp.MustCompile(` rev=\S*`)

func withoutRevs(lines string) string {
	var out []string
	for line := range strings.SplitSeq(revs.ReplaceAllString(lines, ""), "\n") {
		if !strings.HasPrefix(line, "tombstone ") {
			out = append(out, line)
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// network is a history that keeps what the repositories hold.
type network struct {
	history
	repos    map[string]*repo
	accounts *model
}

// repo is a repository, and some of what it was.
type repo struct {
	head    syntax.TID
	records map[string]part
	past    []snapshot
}

type snapshot struct {
	rev   syntax.TID
	parts []part
}

func (r *repo) parts() []part {
	var out []part
	for _, p := range r.records {
		out = append(out, p)
	}
	return out
}

// next makes an event, applies it to its repository, and says whether it is an
// account's.
func (n *network) next(t testing.TB) (line []byte, account bool) {
	t.Helper()
	ev, err := stream.Parse(n.event())
	if err != nil {
		t.Fatal(err)
	}
	did := string(ev.DID)
	if n.repos[did] == nil {
		n.repos[did] = &repo{records: map[string]part{}, head: syntax.NewTIDFromTime(n.now, 0)}
	}
	r := n.repos[did]
	if ev.Kind == stream.KindAccount {
		line = ev.AppendJSON(nil)
		n.accounts.fold(t, line)
		if ev.Account.Status == "deleted" {
			clear(r.records)
			r.past = nil
		}
		return line, true
	}
	c := ev.Commit
	r.head = c.Rev
	k := string(c.Collection) + "/" + string(c.RKey)
	delete(r.records, k)
	if c.Operation != stream.Delete {
		c.CID = contentID(c.Record)
		r.records[k] = part{c.Collection, string(c.RKey), c.Record}
	}
	if n.rng.IntN(5) == 0 {
		r.past = append(r.past, snapshot{r.head, r.parts()})
	}
	return ev.AppendJSON(nil), false
}

func (n *network) dids() []string {
	var out []string
	for did := range n.repos {
		out = append(out, did)
	}
	slices.Sort(out)
	return out
}

// readSome publishes a repository as it is, or as it was a while ago: a fetch
// takes time, and a mirror may be behind.
func (n *network) readSome(w *world, collections []syntax.NSID) {
	w.t.Helper()
	dids := n.dids()
	did := dids[n.rng.IntN(len(dids))]
	r := n.repos[did]
	if len(r.past) > 0 && n.rng.IntN(2) == 0 {
		s := r.past[n.rng.IntN(len(r.past))]
		w.read(syntax.DID(did), s.rev, collections, s.parts...)
		return
	}
	w.read(syntax.DID(did), r.head, collections, r.parts()...)
}

// lines is what the tables must say.
func (n *network) lines(t testing.TB, cat *schema.Catalog) string {
	t.Helper()
	m := newModel(cat)
	m.accounts = n.accounts.accounts
	for did, r := range n.repos {
		for _, p := range r.records {
			row, err := cat.Collection(p.collection).Row(p.record)
			if err != nil {
				t.Fatal(err)
			}
			m.records[modelKey{string(p.collection), did, p.rkey}] = modelRecord{cid: contentID(p.record), row: row}
		}
	}
	return m.lines()
}

// TestLiveEventsDoNotWaitForABackfill puts one live event behind a large
// repository of the same partition.
func TestLiveEventsDoNotWaitForABackfill(t *testing.T) {
	t.Parallel()
	w := newWorld(t, load(t, "../lexicons"))
	var parts []part
	for i := range 10_000 {
		parts = append(parts, part{like, fmt.Sprintf("r%d", i), likeOf("soup", i%60)})
	}
	w.read(alice, rev(5), onlyLikes, parts...)
	positions, err := w.bulk.Flush(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w.put(9, review, "live", reviewOf("soup", 5))
	live, err := w.pub.Flush(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.ix.Wait(t.Context(), index.LaneLive, live); err != nil {
		t.Fatal(err)
	}
	p := stream.Partition(alice, w.lane.Partitions())
	if at := w.ix.Status().Lanes[index.LaneBackfill][p].Seq; at >= positions[p] {
		t.Errorf("the backfill was at its end, %d, before the live event was folded", at)
	}
	w.settle()
	if got := w.one("select count(*)::text from records.com_myrecipes_like"); got != "10000" {
		t.Errorf("%s likes", got)
	}
}
