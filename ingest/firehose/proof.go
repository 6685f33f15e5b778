package firehose

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	comatproto "github.com/bluesky-social/indigo/api/atproto"
	"github.com/bluesky-social/indigo/atproto/repo"
	"github.com/bluesky-social/indigo/atproto/repo/mst"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/ipfs/go-cid"
)

// readCommit returns the commit that the blocks have as root, if it is the one that
// the frame claims.
func readCommit(c *car, did syntax.DID, rev string) (*repo.Commit, error) {
	block, ok := c.blocks[c.root]
	if !ok {
		return nil, fmt.Errorf("commit %s is not among the blocks", c.root)
	}
	var commit repo.Commit
	if err := commit.UnmarshalCBOR(bytes.NewReader(block)); err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	if err := commit.VerifyStructure(); err != nil {
		return nil, err
	}
	if commit.DID != string(did) {
		return nil, fmt.Errorf("commit is of %.100q", commit.DID)
	}
	if commit.Rev != rev {
		return nil, fmt.Errorf("commit has rev %.20q, not %.20q", commit.Rev, rev)
	}
	return &commit, nil
}

// prove checks that the operations are what the commit did, no more and no less:
// taken back, they have to give the tree of the commit before. See
// https://atproto.com/specs/sync#validating-commits. Operations in the form before
// that was introduced do not say what they replaced; of these it checks that they
// are done.
//
// The commit must have been checked before. What is hostile in the tree may make
// its reader panic; the caller recovers.
func prove(c *car, commit *repo.Commit, msg *comatproto.SyncSubscribeRepos_Commit) error {
	tree, err := mst.LoadTreeFromStore(context.Background(), c, commit.Data) // from memory
	if err != nil {
		return fmt.Errorf("tree: %w", err)
	}
	// The first commit of a repository has nothing before it.
	invertible := msg.PrevData != nil || msg.Since == nil
	ops := make([]repo.Operation, 0, len(msg.Ops))
	for _, op := range msg.Ops {
		o, err := readOp(op)
		if err != nil {
			return err
		}
		if op.Action != "create" && o.Prev == nil {
			invertible = false
		}
		is, err := tree.Get([]byte(op.Path))
		switch {
		case errors.Is(err, mst.ErrPartialTree) && o.Value == nil && !invertible:
			// The old form has no proof that a record is absent.
		case err != nil:
			return fmt.Errorf("%.300q in the tree: %w", op.Path, err)
		case o.Value == nil && is != nil:
			return fmt.Errorf("%.300q is said to be deleted, and is in the tree", op.Path)
		case o.Value != nil && (is == nil || *is != *o.Value):
			return fmt.Errorf("%.300q is not in the tree as %s", op.Path, o.Value)
		}
		if o.Value != nil && o.Prev != nil && *o.Value == *o.Prev {
			continue // an update that changes nothing
		}
		ops = append(ops, o)
	}
	if ops, err = repo.NormalizeOps(ops); err != nil || !invertible {
		return err
	}
	for i := range ops {
		if err := repo.InvertOp(tree, &ops[i]); err != nil {
			return fmt.Errorf("%.300q taken back: %w", ops[i].Path, err)
		}
	}
	before, err := tree.RootCID()
	if err != nil {
		return fmt.Errorf("tree before: %w", err)
	}
	if msg.PrevData == nil {
		if !tree.IsEmpty() {
			return errors.New("a first commit, and records that no operation made")
		}
		return nil
	}
	if want := cid.Cid(*msg.PrevData); *before != want {
		return fmt.Errorf("operations lead from %s, not from prevData %s", before, want)
	}
	return nil
}

func readOp(op *comatproto.SyncSubscribeRepos_RepoOp) (repo.Operation, error) {
	o := repo.Operation{Path: op.Path, Value: (*cid.Cid)(op.Cid), Prev: (*cid.Cid)(op.Prev)}
	ok := false
	switch op.Action {
	case "create":
		ok = o.Value != nil && o.Prev == nil
	case "update":
		ok = o.Value != nil
	case "delete":
		ok = o.Value == nil
	}
	if !ok {
		return o, fmt.Errorf("operation %.20q on %.300q with cid %v, prev %v", op.Action, op.Path, op.Cid, op.Prev)
	}
	return o, nil
}
