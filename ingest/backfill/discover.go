package backfill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/jackc/pgx/v5"

	"github.com/atview/atview/ingest/internal/retry"
	"github.com/atview/atview/ingest/outbound"
	"github.com/atview/atview/queries"
)

const (
	// everything stands in atview.discovery for a host that is asked for all of its
	// repositories.
	everything = "*"

	// pageSize is what the lexicons allow at most; a page has 60 bytes for each.
	byCollectionPage = 2000
	allPage          = 1000
	maxPage          = 4 << 20

	// Reasons for which listing stopped before its end.
	stoppedLimit  = "limit"       // MaxReposPerCollection
	stoppedServer = "not-served"  // the host does not list by collection; all are listed
	stoppedLoop   = "same-cursor" // the host gives the same page again and again

	// maxRepeats is how often that is taken for a passing fault.
	maxRepeats = 5
)

var errRepeats = errors.New("the page leads back to itself")

// discover lists repositories, and does so again from time to time.
func (b *Backfill) discover(ctx context.Context) error {
	err := b.persist(ctx, "queue the repositories of the configuration", func() error {
		err := b.addNew(ctx, b.cfg.DIDs, "asked")
		return err
	})
	if err != nil {
		return err
	}
	if b.cfg.RelayURL == "" {
		<-ctx.Done()
		return ctx.Err()
	}
	tick := time.NewTicker(min(b.cfg.RelistEvery, time.Hour))
	defer tick.Stop()
	for {
		b.counters.listing.Store(true)
		for _, nsid := range b.plan.Load().nsids {
			served, err := b.list(ctx, string(nsid))
			if err != nil {
				return err
			}
			if !served {
				if _, err := b.list(ctx, everything); err != nil {
					return err
				}
			}
		}
		b.counters.listing.Store(false)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-b.relist:
		case <-tick.C:
		}
	}
}

// list lists the repositories of a collection, from where it was left, unless that
// was done of late. It reports whether the host does that.
func (b *Backfill) list(ctx context.Context, collection string) (served bool, err error) {
	at := queries.DiscoveryParams{Collection: collection, Host: b.cfg.RelayURL}
	for failures := 0; ; {
		var row queries.DiscoveryRow
		err := b.persist(ctx, "look up how far repositories are listed", func() (err error) {
			row, err = b.q.Discovery(ctx, b.cfg.Pool, at)
			if errors.Is(err, pgx.ErrNoRows) {
				row, err = queries.DiscoveryRow{}, nil
			}
			return err
		})
		if err != nil {
			return false, err
		}
		reason, from := deref(row.Reason), row.Cursor
		if row.DoneAt.Valid {
			more := reason == stoppedLimit && row.Repos < b.cfg.MaxReposPerCollection
			if !more && time.Since(row.DoneAt.Time) < b.cfg.RelistEvery {
				return reason != stoppedServer, nil
			}
			if !more {
				from, row.Repos = "", 0
			}
		}
		done, err := b.page(ctx, at, row, from, failures >= maxRepeats)
		switch {
		case ctx.Err() != nil:
			return false, ctx.Err()
		case err == nil && done:
			continue // the row says how it ended
		case err == nil:
			failures = 0
			continue
		}
		wait := min(b.cfg.MinRetry<<min(failures, 20), b.cfg.Hosts.MaxBackoff)
		if deferred, ok := errors.AsType[*deferError](err); ok {
			wait = deferred.delay
		} else {
			failures++
			b.cfg.Log.Warn().Err(err).Str("collection", collection).Dur("again", wait).Msg("list repositories")
		}
		if !retry.Sleep(ctx, wait) {
			return false, ctx.Err()
		}
	}
}

// page asks for the page at a cursor, queues what is on it, and notes how far that
// is. A page that leads back to itself is an error, or, with giveUp, the end.
func (b *Backfill) page(ctx context.Context, at queries.DiscoveryParams, row queries.DiscoveryRow, from string, giveUp bool) (done bool, err error) {
	if err := b.hosts.acquire(ctx, at.Host); err != nil {
		return false, err
	}
	page, until, err := b.ask(ctx, at, from)
	b.noteHost(at.Host, until, err)
	b.hosts.release(at.Host)

	move := queries.MoveDiscoveryParams{
		Collection: at.Collection, Host: at.Host, Was: row.Cursor, Cursor: page.Cursor, Repos: row.Repos,
	}
	stop := func(reason string) {
		move.Done, move.Cursor, move.Reason = true, "", &reason
		if reason == "" {
			move.Reason = nil
		}
	}
	log := b.cfg.Log.With().Str("collection", at.Collection).Str("host", at.Host).Logger()
	var dids []syntax.DID
	switch {
	case err != nil && at.Collection != everything && notServed(err):
		log.Info().AnErr("answer", err).Msg("host does not list repositories by collection; asking for all of them")
		stop(stoppedServer)
	case err != nil:
		return false, err
	default:
		odd := 0
		for _, r := range page.Repos {
			did, err := syntax.ParseDID(r.DID)
			if err != nil || len(did) > maxDID {
				odd++
				continue
			}
			dids = append(dids, did)
		}
		if odd > 0 {
			b.counters.oddDIDs.Add(int64(odd))
			log.Warn().Int("count", odd).Msg("listed what are no DIDs; skipped")
		}
		left := max(b.cfg.MaxReposPerCollection-row.Repos, 0)
		over := int64(len(dids)) > left
		if over {
			dids = dids[:left]
		}
		move.Repos += int64(len(dids))
		switch {
		// A PDS gives a cursor on its last page, too: only an empty one is the end.
		case page.Cursor == "" || len(page.Repos) == 0:
			stop("")
		case page.Cursor == from && !giveUp:
			return false, errRepeats
		case page.Cursor == from:
			stop(stoppedLoop)
			log.Warn().Msg("host gives the same cursor again and again; listing stops")
		}
		if over || move.Repos >= b.cfg.MaxReposPerCollection && !move.Done {
			log.Warn().Int64("repos", move.Repos).Msg("collection has more repositories than are listed (max repos per collection)")
			stop(stoppedLimit)
			move.Cursor = page.Cursor // to go on from here when more are allowed
			if over {
				move.Cursor = from // what was cut off comes again then
			}
		}
	}
	if err := b.addNew(ctx, dids, "listed"); err != nil {
		return false, err
	}
	n, err := b.q.MoveDiscovery(ctx, b.cfg.Pool, move)
	if err != nil {
		return false, fmt.Errorf("note how far repositories are listed: %w", err)
	}
	if n == 0 {
		return false, nil // another process was here; the row says where to go on
	}
	b.counters.listed.Add(int64(len(dids)))
	if move.Done {
		log.Info().Int64("repos", move.Repos).Msg("repositories are listed")
	}
	return move.Done, nil
}

// maxDID is what the log takes of a DID.
const maxDID = 512

// listing is a page of com.atproto.sync.listReposByCollection or listRepos.
type listing struct {
	Cursor string `json:"cursor"`
	Repos  []struct {
		DID string `json:"did"`
	} `json:"repos"`
}

func (b *Backfill) ask(ctx context.Context, at queries.DiscoveryParams, cursor string) (page listing, until time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Fetch.SpeedWindow) // for a page of kilobytes
	defer cancel()
	q := url.Values{}
	method := "com.atproto.sync.listReposByCollection"
	if at.Collection == everything {
		method = "com.atproto.sync.listRepos"
		q.Set("limit", strconv.Itoa(allPage))
	} else {
		q.Set("collection", at.Collection)
		q.Set("limit", strconv.Itoa(byCollectionPage))
	}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	resp, err := get(ctx, b.cfg.Fetch.HTTP, at.Host+"/xrpc/"+method+"?"+q.Encode(), "application/json")
	if err != nil {
		return page, until, fmt.Errorf("%s: %w", method, err)
	}
	defer resp.Body.Close()
	body, err := outbound.ReadAll(resp.Body, maxPage)
	if err != nil {
		return page, until, fmt.Errorf("%s: %w", method, err)
	}
	if err := json.Unmarshal(body, &page); err != nil {
		return page, until, fmt.Errorf("%s: %w", method, err)
	}
	if len(page.Cursor) > maxCursor || !clean(page.Cursor) {
		return page, until, fmt.Errorf("%s: a cursor of %d bytes that cannot be kept", method, len(page.Cursor))
	}
	return page, exhausted(resp), nil
}

// maxCursor bounds what is kept of a host's own text.
const maxCursor = 4096

// clean reports whether Postgres can hold a text.
func clean(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }

// notServed reports whether a host says that it has no such method. A PDS hands it
// on to an app view, as whom it wants a login (401); others say 404 or 501.
func notServed(err error) bool {
	e, ok := errors.AsType[*outbound.StatusError](err)
	if !ok {
		return false
	}
	switch e.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return true
	}
	// A PDS that has no app view to hand it on to says 400.
	return e.Status == http.StatusBadRequest && e.Name == "InvalidRequest" || e.Name == "MethodNotImplemented" || e.Name == "XRPCNotSupported"
}
