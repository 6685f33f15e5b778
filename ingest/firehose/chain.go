package firehose

import (
	"github.com/bluesky-social/indigo/atproto/syntax"
	lru "github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/ipfs/go-cid"
)

// chain knows the newest commits of repositories, as far as they have been seen,
// and so whether the next one follows. It is for one goroutine.
type chain struct {
	heads *lru.LRU[syntax.DID, head]
	// find finds heads of earlier runs, and of repositories that were read whole; nil
	// if nobody remembers any.
	find func(syntax.DID) (head, bool)
}

// head is the newest commit of a repository.
type head struct {
	rev  string
	data cid.Cid
	// checked is the highest rev of a commit that was checked. Only such a one makes
	// older ones superfluous: anybody could claim a rev from the future.
	checked string
	// loaded is whether an earlier run has seen it, which may have got further than
	// what is on the log.
	loaded bool
}

// step is a commit, or a repository declared anew.
type step struct {
	rev, since string
	prevData   cid.Cid // undefined if the commit does not say
	data       cid.Cid
	checked    bool
}

type verdict int

const (
	follows verdict = iota // or nothing is known that it could follow
	seen                   // it was there already
	broken                 // something between is missing
)

func newChain(size int) (*chain, error) {
	heads, err := lru.NewLRU[syntax.DID, head](size, nil)
	return &chain{heads: heads}, err
}

// commit says how a commit stands to what is known, and makes it known.
func (c *chain) commit(did syntax.DID, s step) verdict {
	h, known := c.heads.Get(did)
	if !known && c.find != nil {
		h, known = c.find(did)
	}
	switch {
	case known && h.loaded && s.rev < h.rev:
		return follows // for this run it is news
	case known && s.rev == h.rev && s.data == h.data && (!s.checked || h.checked == h.rev):
		return seen
	case known && s.checked && s.rev <= h.checked && s.rev != h.rev:
		return seen
	case known && !s.checked && s.rev <= h.rev:
		return seen // it had nothing to say, and is not the newest
	}
	c.put(did, h, s)
	switch {
	case !known, s.rev == h.rev && s.data == h.data:
		return follows
	case s.prevData.Defined() && s.prevData == h.data, !s.prevData.Defined() && s.since == h.rev:
		return follows
	}
	return broken
}

// sync is the same for a repository that is declared anew.
func (c *chain) sync(did syntax.DID, s step) verdict {
	h, known := c.heads.Get(did)
	if known && s.rev == h.rev && s.data == h.data {
		return seen
	}
	if !known || s.rev >= h.rev {
		c.put(did, h, s)
	}
	return broken
}

func (c *chain) put(did syntax.DID, before head, s step) {
	h := head{rev: s.rev, data: s.data, checked: before.checked}
	if s.checked {
		h.checked = max(h.checked, s.rev)
	}
	c.heads.Add(did, h)
}

// forget is for a repository whose state is not known any more.
func (c *chain) forget(did syntax.DID) { c.heads.Remove(did) }
