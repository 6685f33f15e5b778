package simulate

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atview/atview/schema"
)

// choice is a collection that a property may point at, and how well it fits.
type choice struct {
	col   *collection
	score float64
}

// target finds a record for a link at a place of c's record, or makes one up
// that is not there.
func (m *Model) target(c *composer, at place) ref {
	if c.rng.Float64() >= m.cfg.Dangling {
		if r := m.existing(c.rng, m.choices(c.col, at)); r != nil {
			return r.ref()
		}
	}
	return m.dangling(c, at)
}

// parent finds a record to reply to, and the root of its thread.
func (m *Model) parent(c *composer, at place) (parent, root ref) {
	if c.rng.Float64() >= m.cfg.Dangling {
		if r := m.existing(c.rng, m.choices(c.col, at)); r != nil {
			if r.thread.uri != "" {
				return r.ref(), r.thread
			}
			return r.ref(), r.ref()
		}
	}
	parent = m.dangling(c, at)
	return parent, parent
}

// existing picks a collection by score and in it a record by popularity; nil
// when none of the collections has any.
func (m *Model) existing(rng *rand.Rand, choices []choice) *record {
	var sum float64
	for _, ch := range choices {
		if len(ch.col.records) > 0 {
			sum += ch.score
		}
	}
	at := rng.Float64() * sum
	for _, ch := range choices {
		if len(ch.col.records) == 0 {
			continue
		}
		if at -= ch.score; at < 0 {
			return ch.col.records[popular(rng, len(ch.col.records))]
		}
	}
	return nil
}

func (m *Model) dangling(c *composer, at place) ref {
	col := m.choices(c.col, at)[0].col
	did := m.someone(c.rng).did
	if c.rng.IntN(2) == 0 {
		did = randomDID(c.rng)
	}
	return ref{
		uri: "at://" + string(did) + "/" + string(col.NSID) + "/" + string(c.tid()),
		cid: recordCID(c.bytes(16)),
	}
}

// choices ranks the collections that a property can point at, best first.
func (m *Model) choices(from *collection, at place) []choice {
	key := at.name + "\x00" + at.description
	if ranked, ok := from.choices[key]; ok {
		return ranked
	}
	var ranked, far []choice
	for _, to := range m.collections {
		ch := choice{to, score(from, to, at)}
		switch {
		case ch.score <= 0:
		case commonTokens(from.NSID, to.NSID) >= 2:
			ranked = append(ranked, ch)
		default:
			far = append(far, ch)
		}
	}
	if len(ranked) == 0 {
		ranked = far // records of other apps; better than none
	}
	if len(ranked) == 0 {
		ranked = []choice{{from, 1}}
	}
	slices.SortStableFunc(ranked, func(a, b choice) int {
		switch {
		case a.score > b.score:
			return -1
		case a.score < b.score:
			return 1
		}
		return 0
	})
	// What is far behind the best is no guess but noise: a review is not of a like.
	best := ranked[0].score
	ranked = slices.DeleteFunc(ranked, func(ch choice) bool { return ch.score < best/50 })
	from.choices[key] = ranked
	return ranked
}

// upward are properties that point at a record of the same collection.
var upward = []string{"parent", "root", "reply", "replyTo", "inReplyTo", "basedOn", "previous", "prev", "original",
	"forkedFrom", "forkOf", "supersedes", "replaces"}

// score guesses how likely a property is meant to point at a collection. Only
// names and descriptions tell, since the lexicon language has no way to say it.
func score(from, to *collection, at place) float64 {
	named := mentions(at.name, to) || mentions(at.description, to)
	// A reply that need not be one goes to its like; one that must be begins at
	// something else, or there would be no first.
	upwards := slices.Contains(upward, at.name) &&
		!slices.ContainsFunc(from.needs, func(need place) bool { return need.name == at.name })
	switch {
	case from == to && upwards:
		return 1000
	case from == to && at.name != "record":
		return 0
	case upwards && !named:
		return 0
	}
	s := math.Pow(3, float64(commonTokens(from.NSID, to.NSID)))
	if named {
		return 100 * s
	}
	if mentions(from.Description, to) {
		s *= 20
	}
	if to.Singleton() {
		s *= 0.02
	}
	if to.reaction {
		s *= 0.05
	}
	return s
}

// mentions says whether text has the collection's own name as a word of it, in
// the singular or the plural.
func mentions(text string, col *collection) bool {
	name := strings.ToLower(col.NSID.Name())
	for word := range strings.FieldsFuncSeq(strings.ToLower(text), func(r rune) bool { return r < 'a' || r > 'z' }) {
		if word == name || word == name+"s" {
			return true
		}
	}
	return false
}

func commonTokens(a, b syntax.NSID) int {
	as, bs := strings.Split(a.String(), "."), strings.Split(b.String(), ".")
	n := 0
	for n < len(as)-1 && n < len(bs)-1 && as[n] == bs[n] {
		n++
	}
	return n
}

// needs are the places of links that every record of a collection has.
func needs(obj *schema.Object) (places []place) {
	for _, f := range obj.Fields {
		if !f.Required {
			continue
		}
		at := place{name: f.Name, description: f.Description}
		switch t := f.Type.(type) {
		case *schema.Object:
			if isRef(t) {
				places = append(places, at)
			}
		case *schema.String:
			if t.Format == "at-uri" {
				places = append(places, at)
			}
		}
	}
	return places
}

// isReaction says whether a record is hardly more than a link with a moment: a
// like, a follow, a vote. Networks consist of these.
func isReaction(obj *schema.Object) bool {
	links := 0
	for _, f := range obj.Fields {
		if !f.Required {
			continue
		}
		switch t := f.Type.(type) {
		case *schema.Object:
			if !isRef(t) {
				return false
			}
			links++
		case *schema.String:
			switch {
			case t.Link() == schema.LinkRecord || t.Link() == schema.LinkDID:
				links++
			case t.Format != "datetime":
				return false
			}
		default:
			return false
		}
	}
	return links == 1 && len(obj.Fields) <= 4
}

// popular picks one of n that are sorted by age: some have been popular from the
// start, some are talked about today, and some are found by chance.
func popular(rng *rand.Rand, n int) int {
	switch rng.IntN(10) {
	case 0:
		return rng.IntN(n)
	case 1, 2, 3:
		return n - 1 - skewed(rng, n)
	}
	return skewed(rng, n)
}

// skewed picks one of n by Zipf's law: the second is half as likely as the first.
func skewed(rng *rand.Rand, n int) int {
	i := int(math.Pow(float64(n+1), rng.Float64())) - 1
	return min(max(i, 0), n-1)
}
