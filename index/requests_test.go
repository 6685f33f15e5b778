package index_test

import (
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atview/atview/ingest/stream"
	"github.com/atview/atview/queries"
)

// The life of a row of atview.repo, as far as the fold has a part in it.

// askFor asks for alice's repository.
func (w *world) askFor(why, wanted string) {
	w.t.Helper()
	if err := queries.New().QueueRepos(w.t.Context(), w.pool, queries.QueueReposParams{Why: why, Dids: []string{string(alice)}, WantedRevs: []string{wanted}}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) repo() string {
	w.t.Helper()
	return w.one("select coalesce(string_agg(state || ' ' || why || ' ' || coalesce(rev, '-'), ' '), '') from atview.repo")
}

// claim takes alice's repository, as a process does that reads it.
func (w *world) claim() int64 {
	w.t.Helper()
	rows, err := queries.New().ClaimRepos(w.t.Context(), w.pool, queries.ClaimReposParams{Busy: []string{}, Most: 1, LeaseSeconds: 60})
	if err != nil || len(rows) != 1 {
		w.t.Fatalf("claimed %v: %v", rows, err)
	}
	return rows[0].Claim
}

// published notes that what was claimed is on the log.
func (w *world) published(claim int64, at syntax.TID) {
	w.t.Helper()
	if err := queries.New().PublishRepo(w.t.Context(), w.pool, queries.PublishRepoParams{Did: string(alice), Claim: claim,
		Pds: "https://pds.test", Rev: string(at), Coverage: stream.Coverage(onlyLikes)}); err != nil {
		w.t.Fatal(err)
	}
}

// mark publishes the end of a snapshot that was read by a claim.
func (w *world) mark(claim int64, at syntax.TID) {
	w.t.Helper()
	w.cover(onlyLikes)
	end := stream.Event{DID: alice, TimeUS: at.Time().UnixMicro(), Kind: stream.KindSync,
		Sync: &stream.Sync{Rev: at, Complete: true, Coverage: stream.Coverage(onlyLikes), Seq: claim}}
	w.backfill(end.AppendJSON(nil))
	w.settle()
}

// readAt publishes a snapshot that the PDS was asked for at a time.
func (w *world) readAt(n int, at syntax.TID, parts ...part) {
	w.t.Helper()
	w.cover(onlyLikes)
	w.parts(alice, at, parts...)
	end := stream.Event{DID: alice, TimeUS: at.Time().UnixMicro(), Kind: stream.KindSync,
		Sync: &stream.Sync{Rev: at, Complete: true, Coverage: stream.Coverage(onlyLikes), Time: rev(n).Time()}}
	w.backfill(end.AppendJSON(nil))
	w.settle()
}

func (w *world) expectRepo(want string) {
	w.t.Helper()
	if got := w.repo(); got != want {
		w.t.Errorf("%q, want %q", got, want)
	}
}

func TestRequests(t *testing.T) {
	t.Parallel()
	cat := load(t, "../lexicons")
	cases := map[string]func(w *world){
		"OfASourceAreSettledOnce": func(w *world) {
			w.sync(3)
			w.expectRepo("queued sync -")
			w.mark(0, rev(2)) // of a snapshot that nobody here has asked for
			w.expectRepo("queued sync -")
			w.mark(w.claim(), rev(3))
			w.expectRepo("done sync " + string(rev(3)))
			w.sync(3)
			w.expectRepo("done sync " + string(rev(3)))
			w.sync(4)
			w.expectRepo("queued sync " + string(rev(3)))
		},
		"AMarkBeforeItsPublicationIsNoted": func(w *world) {
			w.askFor("asked", "")
			c := w.claim()
			w.mark(c, rev(5))
			w.published(c, rev(5))
			w.expectRepo("done asked " + string(rev(5)))
		},
		"AfterAPublicationAreNotSettledByIt": func(w *world) {
			w.askFor("asked", "")
			one := w.claim()
			w.published(one, rev(5))
			w.askFor("asked", string(rev(9)))
			two := w.claim()
			w.mark(one, rev(5))
			// The host is busy, or the process is told to stop.
			if err := queries.New().DeferRepo(w.t.Context(), w.pool, queries.DeferRepoParams{Did: string(alice), Claim: two}); err != nil {
				w.t.Fatal(err)
			}
			w.expectRepo("queued asked " + string(rev(5)))
		},
		"AreNotSettledByAnOlderMark": func(w *world) {
			w.askFor("asked", "")
			one := w.claim()
			w.published(one, rev(5))
			w.askFor("asked", "")
			w.published(w.claim(), rev(7)) // and this one's mark is lost with the end of the log
			w.mark(one, rev(5))
			w.expectRepo("published asked " + string(rev(7)))
		},
		"AreNotSettledByAMarkThatIsFoldedAgain": func(w *world) {
			w.askFor("sync", string(rev(3)))
			c := w.claim()
			w.mark(c, rev(5))
			w.published(c, rev(5))
			w.askFor("asked", "") // rows are missing
			w.mark(c, rev(5))
			w.expectRepo("queued sync " + string(rev(5)))
		},
		"OfADeletedAccountWaitForItsReturn": func(w *world) {
			w.askFor("asked", "")
			w.parts(alice, rev(2), part{like, "a", likeOf("soup", 1)})
			w.mark(w.claim(), rev(2))
			w.leave(3)
			w.settle()
			w.expectRepo("gone asked " + string(rev(2)))
			w.comeBack(400)
			w.settle()
			if n, err := queries.New().QueueReturnedRepos(w.t.Context(), w.pool); err != nil || n != 1 {
				w.t.Errorf("%d repositories queued: %v", n, err)
			}
			// With what it had before it was deleted: that is no answer.
			w.mark(w.claim(), rev(2))
			w.expectRepo("fetching asked " + string(rev(2)))
		},
	}
	cases["AreAnsweredByActiveAccountsOnly"] = func(w *world) {
		w.put(1, like, "a", likeOf("soup", 1))
		w.account(5, stream.Account{Status: "deactivated"})
		w.settle()
		status := func() string {
			return w.one("select status || ' ' || (select bool_or(hidden) from records.com_myrecipes_like) || ' ' || (select coalesce(sum(records), 0) from atview.link_count) from atview.actor")
		}
		w.readAt(4, rev(3), part{like, "a", likeOf("soup", 1)})
		if got := status(); got != "deactivated true 0" {
			w.t.Errorf("asked for before: %s", got)
		}
		w.readAt(6, rev(3), part{like, "a", likeOf("soup", 1)})
		if got := status(); got != "active false 1" {
			w.t.Errorf("asked for after: %s", got)
		}
		w.account(7, stream.Account{Status: "takendown"})
		w.settle()
		w.readAt(8, rev(3), part{like, "a", likeOf("soup", 1)})
		if got := status(); got != "takendown true 0" {
			w.t.Errorf("taken down: %s", got)
		}
	}
	for name, run := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(newWorld(t, cat))
		})
	}
}
