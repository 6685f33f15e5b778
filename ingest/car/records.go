package car

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/ipfs/go-cid"

	"github.com/atview/atview/ingest/dagcbor"
)

// Record is one record of a repository.
type Record struct {
	// Collection and RKey are empty if they are none: then Err says so.
	Collection syntax.NSID
	RKey       syntax.RecordKey
	// Key is both, with a slash between, as the tree has it: any bytes.
	Key string
	// CID is that of the block.
	CID cid.Cid
	// Block is the record in DAG-CBOR, and JSON in JSON. Both are valid until the
	// next record.
	Block, JSON []byte
	// Err is why there is no JSON; nil if there is.
	Err error
}

// Data is the CID of the tree's root: what the next commit has as prevData.
func (r *Repo) Data() cid.Cid {
	_, id, err := cid.CidFromBytes(appendCID(nil, r.root))
	if err != nil {
		return cid.Undef // not of what has been verified
	}
	return id
}

// Records gives the wanted records, in the order of their keys. An error ends it:
// that of reading the file, or ctx's.
func (r *Repo) Records(ctx context.Context) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		var block, json []byte
		stopped := false
		err := r.walk(ctx, func(key []byte, value digest) error {
			if !r.wanted(key) {
				return nil
			}
			var ok bool
			var err error
			block, ok, err = r.read(value, block)
			if err != nil {
				return err
			}
			if !ok {
				return invalid(ReasonMissing, "the block of record %.200q", key)
			}
			rec := Record{Key: string(key), Block: block}
			if _, rec.CID, err = cid.CidFromBytes(appendCID(nil, value)); err != nil {
				return fmt.Errorf("CID of record %.200q: %w", key, err)
			}
			rec.Collection, rec.RKey, rec.Err = parseKey(rec.Key)
			if rec.Err == nil {
				if json, rec.Err = dagcbor.AppendJSON(json[:0], block); rec.Err == nil {
					rec.JSON = json
				}
			}
			if !yield(rec, nil) {
				stopped = true
				return errStop
			}
			return nil
		})
		if err != nil && !stopped {
			yield(Record{}, err)
		}
	}
}

// errStop ends a walk whose records nobody asks for any more.
var errStop = errors.New("no more records are asked for")

// wanted reports whether the record under a key is to be read. A key whose
// collection is none is wanted if everything is, so that it can be set aside.
func (r *Repo) wanted(key []byte) bool {
	collection, _, _ := bytes.Cut(key, []byte("/"))
	if r.collection == nil || !bytes.Equal(collection, r.collection) {
		r.collection = append(make([]byte, 0, len(collection)), collection...)
		r.isWanted = r.want(syntax.NSID(collection))
	}
	return r.isWanted
}

// parseKey takes a key apart; see https://atproto.com/specs/repository#repository-paths.
func parseKey(key string) (syntax.NSID, syntax.RecordKey, error) {
	before, after, _ := strings.Cut(key, "/")
	collection, err := syntax.ParseNSID(before)
	if err != nil {
		return "", "", invalid(ReasonKey, "%.200q: collection: %v", key, err)
	}
	rkey, err := syntax.ParseRecordKey(after)
	if err != nil {
		return collection, "", invalid(ReasonKey, "%.200q: record key: %v", key, err)
	}
	return collection, rkey, nil
}
