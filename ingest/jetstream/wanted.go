package jetstream

import (
	"slices"
	"strings"

	"github.com/atview/atview/ingest/source"
)

// maxWanted is how many wantedCollections a Jetstream takes.
const maxWanted = 100

// nothing is what is asked for where no collection is wanted: an empty filter
// means everything. No domain can be under .invalid (RFC 2606).
const nothing = "invalid.atview.none"

// wanted returns the wantedCollections for a set of collections; nil asks for
// everything. It may ask for more than is wanted, never for less.
func wanted(c source.Collections) []string {
	if c.All() {
		return nil
	}
	if len(c.Patterns()) == 0 {
		return []string{nothing}
	}
	merged, ok := merge(c.Patterns(), maxWanted)
	if !ok {
		return nil
	}
	return merged
}

// merge brings patterns (NSIDs, and prefixes like "com.example.*") down to at
// most most of them, by replacing NSIDs with prefixes. It reports whether that is
// possible with prefixes of two segments or more: one segment ("com.*") would be
// half of the network.
//
// A longer prefix asks for less that is not wanted, so the longest go first; among
// those of one length, the one that saves just enough, or else the one that
// saves most, so that few patterns ask for too much.
func merge(patterns []string, most int) ([]string, bool) {
	set := make(map[string]bool, len(patterns))
	longest := 0
	for _, p := range patterns {
		set[p] = true
		longest = max(longest, strings.Count(p, "."))
	}
	for p := range set {
		// What lies below a prefix that is there is asked for anyway.
		for above := prefixOf(p); above != ""; above = prefixOf(above) {
			if above != p && set[above] {
				delete(set, p)
				break
			}
		}
	}
	for segments := longest; segments >= 2 && len(set) > most; segments-- {
		below := make(map[string][]string)
		for p := range set {
			if prefix, ok := firstSegments(p, segments); ok {
				below[prefix] = append(below[prefix], p)
			}
		}
		prefixes := make([]string, 0, len(below))
		for prefix, members := range below {
			if len(members) > 1 {
				prefixes = append(prefixes, prefix)
			}
		}
		slices.SortFunc(prefixes, func(a, b string) int { // by what they save, then by name
			if d := len(below[a]) - len(below[b]); d != 0 {
				return d
			}
			return strings.Compare(a, b)
		})
		for len(prefixes) > 0 && len(set) > most {
			i := slices.IndexFunc(prefixes, func(p string) bool { return len(set)-len(below[p])+1 <= most })
			if i < 0 {
				i = len(prefixes) - 1
			}
			for _, p := range below[prefixes[i]] {
				delete(set, p)
			}
			set[prefixes[i]] = true
			prefixes = slices.Delete(prefixes, i, i+1)
		}
	}
	merged := make([]string, 0, len(set))
	for p := range set {
		merged = append(merged, p)
	}
	slices.Sort(merged)
	return merged, len(merged) <= most
}

// prefixOf returns the next shorter prefix pattern: "a.b.*" for "a.b.c", "a.*"
// for "a.b.*", "" for "a.*".
func prefixOf(p string) string {
	p = strings.TrimSuffix(p, ".*")
	i := strings.LastIndexByte(p, '.')
	if i < 0 {
		return ""
	}
	return p[:i] + ".*"
}

// firstSegments returns the prefix pattern of n segments that p lies below.
func firstSegments(p string, n int) (string, bool) {
	rest := strings.TrimSuffix(p, ".*")
	if rest != p && strings.Count(rest, ".")+1 <= n {
		return "", false // itself as short or shorter
	}
	end := 0
	for range n {
		i := strings.IndexByte(rest[end:], '.')
		if i < 0 {
			return "", false
		}
		end += i + 1
	}
	return rest[:end] + "*", true
}
