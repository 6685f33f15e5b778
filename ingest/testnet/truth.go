package testnet

import (
	"encoding/json"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// Path is where in a repository a record is.
type Path struct {
	Collection syntax.NSID
	RKey       syntax.RecordKey
}

// Record is a record as it is.
type Record struct {
	CID string
	// JSON has sorted keys and no spaces; nil for a raw one. It must not be changed.
	JSON json.RawMessage
	// CBOR is the record's block. It must not be changed.
	CBOR []byte
}

// Repo is an account and its repository as they are.
type Repo struct {
	Handle syntax.Handle
	PDS    string // base URL
	// Status is [Active] or why it is not. The records are those that will be there
	// when the account is active again.
	Status string
	// Rev is the repository's revision, and of a deleted account the last that it had.
	Rev     syntax.TID
	Records map[Path]Record
}

// Truth is what everybody who has read all should know.
func (n *Network) Truth() map[syntax.DID]Repo {
	n.mu.RLock()
	defer n.mu.RUnlock()
	truth := make(map[syntax.DID]Repo, len(n.accounts))
	for did, a := range n.accounts {
		truth[did] = a.truth()
	}
	return truth
}

// Truth is the account's part of [Network.Truth].
func (a *Account) Truth() Repo {
	a.n.mu.RLock()
	defer a.n.mu.RUnlock()
	return a.truth()
}

func (a *Account) truth() Repo {
	r := Repo{
		Handle: a.handle, PDS: a.n.PDS(a.pds), Status: a.status, Rev: a.repo.rev,
		Records: make(map[Path]Record, len(a.repo.records)),
	}
	for path, rec := range a.repo.records {
		collection, rkey, _ := strings.Cut(path, "/")
		r.Records[Path{syntax.NSID(collection), syntax.RecordKey(rkey)}] = Record{
			CID: rec.block.cid.String(), JSON: rec.json, CBOR: rec.block.data,
		}
	}
	return r
}
