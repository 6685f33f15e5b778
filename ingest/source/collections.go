package source

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// Collections is the set of record collections that are wanted. The zero value
// wants every one. It is immutable.
type Collections struct {
	patterns []string // sorted; nil wants all
	exact    map[syntax.NSID]struct{}
	prefixes []string // with the final dot
}

// ParseCollections reads patterns: an NSID, "prefix.*" for all NSIDs below a
// prefix of at least two segments, or "*" for all. No pattern at all is none:
// only identity, account and sync events pass.
func ParseCollections(patterns []string) (Collections, error) {
	c := Collections{patterns: []string{}, exact: make(map[syntax.NSID]struct{})}
	for _, p := range patterns {
		if p == "*" {
			return Collections{}, nil
		}
		if prefix, ok := strings.CutSuffix(p, ".*"); ok {
			// A prefix is what an NSID is when a name is put behind it.
			if _, err := syntax.ParseNSID(prefix + ".x"); err != nil {
				return Collections{}, fmt.Errorf("collection pattern %q: %w", p, err)
			}
			c.prefixes = append(c.prefixes, prefix+".")
			c.patterns = append(c.patterns, p)
			continue
		}
		nsid, err := syntax.ParseNSID(p)
		if err != nil {
			return Collections{}, fmt.Errorf("collection %q: %w", p, err)
		}
		c.exact[nsid] = struct{}{}
		c.patterns = append(c.patterns, p)
	}
	slices.Sort(c.patterns)
	c.patterns = slices.Compact(c.patterns)
	return c, nil
}

// All reports whether every collection is wanted.
func (c Collections) All() bool { return c.patterns == nil }

// Patterns returns the patterns, sorted and without repetition; nil if every
// collection is wanted. The caller must not change them.
func (c Collections) Patterns() []string { return c.patterns }

// Want reports whether a collection is wanted.
func (c Collections) Want(nsid syntax.NSID) bool {
	if c.All() {
		return true
	}
	if _, ok := c.exact[nsid]; ok {
		return true
	}
	for _, p := range c.prefixes {
		if strings.HasPrefix(string(nsid), p) {
			return true
		}
	}
	return false
}
