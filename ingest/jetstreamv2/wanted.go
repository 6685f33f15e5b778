package jetstreamv2

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/atview/atview/ingest/source"
)

// maxWanted is how many collection patterns a server takes, live and in a plan.
const maxWanted = 100

// nothing is what is asked for where no collection is wanted: an empty filter
// means everything. No domain can be under .invalid (RFC 2606).
const nothing = "invalid.atview.none"

// wanted returns the patterns to ask a server for; nil asks for everything. They
// may cover more than is wanted, never less.
func wanted(c source.Collections) []string {
	if c.All() {
		return nil
	}
	if len(c.Patterns()) == 0 {
		return []string{nothing}
	}
	patterns := c.Patterns()
	// Too many: those that share a prefix become that prefix, the longest prefixes
	// first, as they add least. One segment ("com.*") would be half of the network.
	for segments := 8; segments >= 2 && len(patterns) > maxWanted; segments-- {
		patterns = shorten(patterns, segments)
	}
	if len(patterns) > maxWanted {
		return nil
	}
	return patterns
}

// shorten replaces patterns by their common prefix of n segments where more than
// one has it.
func shorten(patterns []string, n int) []string {
	prefix := func(p string) string {
		segments := strings.Split(strings.TrimSuffix(p, ".*"), ".")
		if len(segments) < n || len(segments) == n && !strings.HasSuffix(p, ".*") {
			return p
		}
		return strings.Join(segments[:n], ".") + ".*"
	}
	count := make(map[string]int)
	for _, p := range patterns {
		count[prefix(p)]++
	}
	var short []string
	for _, p := range patterns {
		if q := prefix(p); count[q] > 1 {
			p = q
		}
		short = append(short, p)
	}
	slices.Sort(short)
	return slices.Compact(short)
}

// within reports whether everything that c wants is wanted by have.
func within(c, have source.Collections) bool {
	if have.All() {
		return true
	}
	if c.All() {
		return false
	}
	for _, p := range c.Patterns() {
		if !slices.Contains(have.Patterns(), p) {
			return false
		}
	}
	return true
}

// digest names a set of collections in a cursor.
func digest(c source.Collections) string {
	if c.All() {
		return "all"
	}
	sum := sha256.Sum256([]byte(strings.Join(c.Patterns(), " ")))
	return hex.EncodeToString(sum[:8])
}
