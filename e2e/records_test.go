package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/repo"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/ipfs/go-cid"
)

// records are CIDs by AT-URI.
type records map[string]string

func uri(did syntax.DID, path string) string { return "at://" + did.String() + "/" + path }

// A difference between what a PDS has and what atview's tables have.
type difference struct {
	missing []string // not in the tables
	extra   []string // in the tables only
	stale   []string // in both, with another CID
}

func compare(truth, tables records) difference {
	var d difference
	for _, uri := range slices.Sorted(maps.Keys(truth)) {
		switch cid, found := tables[uri]; {
		case !found:
			d.missing = append(d.missing, uri)
		case cid != truth[uri]:
			d.stale = append(d.stale, uri)
		}
	}
	for _, uri := range slices.Sorted(maps.Keys(tables)) {
		if _, found := truth[uri]; !found {
			d.extra = append(d.extra, uri)
		}
	}
	return d
}

func (d difference) count() int { return len(d.missing) + len(d.extra) + len(d.stale) }

// String gives the numbers and the first of each kind.
func (d difference) String() string {
	s := fmt.Sprintf("%d missing, %d extra, %d stale", len(d.missing), len(d.extra), len(d.stale))
	for _, uris := range [][]string{d.missing, d.extra, d.stale} {
		if len(uris) > 0 {
			s += " " + uris[0]
		}
	}
	return s
}

// listRepos asks a host for the repositories that it gives out.
func listRepos(ctx context.Context, host string) (active []syntax.DID, err error) {
	for cursor := ""; ; {
		body, err := get(ctx, host+"/xrpc/com.atproto.sync.listRepos?limit=500&cursor="+url.QueryEscape(cursor))
		if err != nil {
			return nil, err
		}
		var page struct {
			Cursor string
			Repos  []struct {
				DID    syntax.DID
				Active bool
			}
		}
		if err := json.Unmarshal(body, &page); err != nil {
			return nil, fmt.Errorf("repositories of %s: %w", host, err)
		}
		for _, r := range page.Repos {
			if r.Active {
				active = append(active, r.DID)
			}
		}
		if page.Cursor == "" || len(page.Repos) == 0 { // a PDS gives a cursor on its last page too
			return active, nil
		}
		cursor = page.Cursor
	}
}

// readRepo reads a repository whole and checks that its account signed it.
func readRepo(ctx context.Context, plc, host string, did syntax.DID) (records, error) {
	body, err := get(ctx, plc+"/"+did.String())
	if err != nil {
		return nil, err
	}
	var doc identity.DIDDocument
	if err := json.Unmarshal(body, &doc); err != nil {
		return nil, fmt.Errorf("DID document of %s: %w", did, err)
	}
	id := identity.ParseIdentity(&doc)
	key, err := id.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("key of %s: %w", did, err)
	}
	body, err = get(ctx, host+"/xrpc/com.atproto.sync.getRepo?did="+url.QueryEscape(did.String()))
	if err != nil {
		return nil, err
	}
	return parseRepo(ctx, did, key, body)
}

func parseRepo(ctx context.Context, did syntax.DID, key atcrypto.PublicKey, car []byte) (records, error) {
	commit, r, err := repo.LoadRepoFromCAR(ctx, bytes.NewReader(car))
	if err != nil {
		return nil, fmt.Errorf("repository of %s: %w", did, err)
	}
	if commit.DID != did.String() {
		return nil, fmt.Errorf("repository of %s is of %s", did, commit.DID)
	}
	if err := commit.VerifySignature(key); err != nil {
		return nil, fmt.Errorf("repository of %s: %w", did, err)
	}
	out := records{}
	err = r.MST.Walk(func(path []byte, record cid.Cid) error {
		out[uri(did, string(path))] = record.String()
		return nil
	})
	return out, err
}

// readRepos reads all repositories of a host that it gives out.
func readRepos(ctx context.Context, plc, host string) (records, error) {
	dids, err := listRepos(ctx, host)
	if err != nil {
		return nil, err
	}
	out := records{}
	for _, did := range dids {
		one, err := readRepo(ctx, plc, host, did)
		if err != nil {
			return nil, err
		}
		maps.Copy(out, one)
	}
	return out, nil
}
