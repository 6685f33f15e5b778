package index

import (
	"context"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/jackc/pgx/v5"

	"github.com/atview/atview/ingest/stream"
	"github.com/atview/atview/queries"
)

// Account states with a meaning here; all but active hide an account's records.
const (
	statusActive      = "active"
	statusDeleted     = "deleted"
	statusDeactivated = "deactivated"
	statusInactive    = "inactive" // not active, and no reason given
)

// actor is the state of an account and identity as far as events have told it.
type actor struct {
	handle    string
	status    string
	account   stamp
	identity  stamp
	purgedRev syntax.TID // commits up to here are of an account deleted since
	syncedRev syntax.TID // of the coverage syncedOf, commits up to here are settled
	syncedOf  string
	readRev   syntax.TID // the highest rev of a snapshot of which parts are here
	// followed is whether the account has records here, so that its DID document is
	// read; events come of all accounts of the network.
	followed bool
	// asked is whether the repository is in the queue, or was. followed does not say
	// so: the key of whoever writes for the first time is looked up before that.
	asked      bool
	resolve    bool // the DID document is to be read now
	changed    bool
	wasVisible bool
}

// stamp orders an actor's events: by the upstream's time, then its sequence
// number, since a second relay numbers anew.
type stamp struct {
	at  time.Time
	seq int64
}

func (s stamp) after(other stamp) bool {
	if !s.at.Equal(other.at) {
		return s.at.After(other.at)
	}
	return s.seq > other.seq
}

func (a *actor) visible() bool { return a.status == statusActive }

// apply takes an account or identity event that is no deletion, if it is news.
func (a *actor) apply(ev stream.Event) {
	switch ev.Kind {
	case stream.KindIdentity:
		at := stampOf(ev, ev.Identity.Time, ev.Identity.Seq)
		if !at.after(a.identity) {
			return
		}
		a.identity, a.changed, a.resolve = at, true, a.followed
		// An event without a handle says "look again", not "it has none".
		if ev.Identity.Handle != "" {
			a.handle = string(ev.Identity.Handle)
		}
	case stream.KindAccount:
		at := stampOf(ev, ev.Account.Time, ev.Account.Seq)
		if !at.after(a.account) {
			return
		}
		a.account, a.changed = at, true
		switch {
		case ev.Account.Active:
			a.status = statusActive
		case ev.Account.Status != "":
			a.status = ev.Account.Status
		default:
			a.status = statusInactive
		}
	}
}

// read takes note that a part of the repository was read at a rev.
func (a *actor) read(rev syntax.TID) {
	if rev > a.readRev {
		a.readRev, a.changed = rev, true
	}
}

func stampOf(ev stream.Event, upstream time.Time, seq int64) stamp {
	if upstream.IsZero() {
		upstream = eventTime(ev)
	}
	// What Postgres gives back has microseconds.
	return stamp{upstream.UTC().Truncate(time.Microsecond), seq}
}

// deletionRev is the highest rev that a commit from before the deletion can
// have. The later of the two times counts: a source that replays its archive
// may have stamped the event long after it was made.
func deletionRev(ev stream.Event) syntax.TID {
	at := ev.Account.Time
	if seen := eventTime(ev); seen.After(at) {
		at = seen
	}
	return syntax.NewTID(at.UnixMicro(), 1023)
}

// actors reads the state of accounts; one that no event has mentioned is active.
func (f *folder) actors(ctx context.Context, tx pgx.Tx, dids []string) (map[string]*actor, error) {
	out := make(map[string]*actor, len(dids))
	for _, did := range dids {
		out[did] = &actor{status: statusActive, wasVisible: true}
	}
	rows, err := f.q.ActorsByDID(ctx, tx, dids)
	if err != nil {
		return nil, err
	}
	var read []string
	for _, r := range rows {
		out[r.Did] = &actor{
			status:     r.Status,
			account:    stamp{r.AccountAt.Time.UTC(), deref(r.AccountSeq)},
			identity:   stamp{r.IdentityAt.Time.UTC(), deref(r.IdentitySeq)},
			purgedRev:  syntax.TID(deref(r.PurgedRev)),
			syncedRev:  syntax.TID(deref(r.SyncedRev)),
			syncedOf:   deref(r.SyncedOf),
			readRev:    syntax.TID(deref(r.ReadRev)),
			followed:   r.Followed,
			asked:      r.Asked,
			wasVisible: r.Status == statusActive,
		}
		if of := deref(r.SyncedOf); of != "" {
			read = append(read, of)
		}
	}
	return out, f.coverages.load(ctx, tx, f.q, read)
}

func (f *folder) putActors(ctx context.Context, tx pgx.Tx, actors map[string]*actor) error {
	var p queries.PutActorsParams
	for _, did := range sortedKeys(actors) {
		a := actors[did]
		if !a.changed {
			continue
		}
		p.Dids = append(p.Dids, did)
		p.Handles = append(p.Handles, a.handle)
		p.Statuses = append(p.Statuses, a.status)
		p.AccountAts = append(p.AccountAts, timestamp(a.account.at))
		p.AccountSeqs = append(p.AccountSeqs, a.account.seq)
		p.IdentityAts = append(p.IdentityAts, timestamp(a.identity.at))
		p.IdentitySeqs = append(p.IdentitySeqs, a.identity.seq)
		p.PurgedRevs = append(p.PurgedRevs, string(a.purgedRev))
		p.SyncedRevs = append(p.SyncedRevs, string(a.syncedRev))
		p.SyncedOfs = append(p.SyncedOfs, a.syncedOf)
		p.ReadRevs = append(p.ReadRevs, string(a.readRev))
		p.Resolves = append(p.Resolves, a.resolve)
	}
	if len(p.Dids) == 0 {
		return nil
	}
	return f.q.PutActors(ctx, tx, p)
}
