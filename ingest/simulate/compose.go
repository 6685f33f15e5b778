package simulate

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atview/atview/schema"
)

const (
	// deepest is how deep optional parts of a record go, and nodes how many values
	// a record has before no more optional ones are added: recursive lexicons have
	// no end of their own.
	deepest = 5
	nodes   = 300
)

// composer makes up one record.
type composer struct {
	m      *Model
	rng    *rand.Rand
	col    *collection
	author *account
	nodes  int
	// thread is the record at the root of the thread that the record is part of;
	// empty unless the record has a `root` and a `parent`.
	thread ref
}

// ref names one version of a record.
type ref struct{ uri, cid string }

// place is where in the record a value stands.
type place struct {
	name        string // of the property; for an element that of the array
	description string
	depth       int
}

func (c *composer) record() object {
	o := c.object(c.col.Object, place{})
	o.set("$type", c.col.NSID.String())
	return o
}

// value makes a value of type t, which must have one (see [feasibility]) or be a
// token: then it is its name, as in the wild.
func (c *composer) value(t schema.Type, at place) any {
	c.nodes++
	switch t := t.(type) {
	case *schema.Boolean:
		if t.Const != nil {
			return *t.Const
		}
		return c.rng.IntN(3) > 0
	case *schema.Integer:
		return c.integer(t, at)
	case *schema.String:
		return c.str(t, at)
	case *schema.Bytes:
		return octets(c.bytes(c.length(t.MinLength, t.MaxLength, 16, 32)))
	case *schema.CIDLink:
		return link(c.cid())
	case *schema.Blob:
		return c.blob(t)
	case *schema.Array:
		return c.array(t, at)
	case *schema.Object:
		return c.object(t, at)
	case *schema.Union:
		return c.union(t, at)
	case *schema.Unknown:
		return c.unknown(at)
	case *schema.Unresolved:
		return object{{"$type", t.Ref}}
	case *schema.Token:
		return t.Name
	}
	panic(fmt.Sprintf("simulate: no values of type %T", t))
}

func (c *composer) tight(at place) bool { return at.depth >= deepest || c.nodes > nodes }

func (c *composer) object(t *schema.Object, at place) object {
	o := make(object, 0, len(t.Fields)+1)
	at.depth++
	pinned := c.pinned(t, at)
	for _, f := range t.Fields {
		if v, ok := pinned[f.Name]; ok {
			o = append(o, member{f.Name, v})
			continue
		}
		_, isToken := f.Type.(*schema.Token)
		possible := c.m.feasible[f.Type] != impossible
		switch {
		case !f.Required && !c.optional(f, at):
			continue
		case f.Nullable && (!possible || c.rng.IntN(10) == 0):
			o = append(o, member{f.Name, nil})
			continue
		case !possible && !isToken: // without end, or without a value
			continue
		}
		name := f.Name
		if name == "value" || name == "items" {
			name = at.name // says nothing; what it is the value of does
		}
		o = append(o, member{f.Name, c.value(f.Type, place{name, f.Description, at.depth})})
	}
	sortMembers(o)
	settleFacets(o)
	return o
}

func (c *composer) optional(f *schema.Field, at place) bool {
	if c.m.feasible[f.Type] == impossible || c.tight(at) {
		return false
	}
	if strings.Contains(strings.ToLower(f.Description), "deprecated") {
		return c.rng.IntN(50) == 0
	}
	if at.depth == 1 {
		return c.rng.Float64() < 0.7
	}
	return c.rng.Float64() < 0.5
}

// pinned makes those properties of an object that only make sense together: the
// URI and CID of one record, and the ends of a thread.
func (c *composer) pinned(t *schema.Object, at place) map[string]any {
	if isRef(t) {
		r := c.m.target(c, at)
		return map[string]any{"uri": r.uri, "cid": r.cid}
	}
	root, parent := t.Field("root"), t.Field("parent")
	if root == nil || parent == nil {
		return nil
	}
	rootType, ok := root.Type.(*schema.Object)
	if !ok || root.Type != parent.Type || !rootType.StrongRef() {
		return nil
	}
	to, thread := c.m.parent(c, place{"parent", parent.Description, at.depth})
	c.thread = thread
	return map[string]any{
		"parent": object{{"cid", to.cid}, {"uri", to.uri}},
		"root":   object{{"cid", thread.cid}, {"uri", thread.uri}},
	}
}

// isRef says whether an object names a record: a strongRef, or one of the
// look-alikes of it that lexicons define.
func isRef(t *schema.Object) bool {
	format := func(name string) string {
		if f := t.Field(name); f != nil {
			if s, ok := f.Type.(*schema.String); ok && s.Const == nil && len(s.Enum) == 0 {
				return s.Format
			}
		}
		return ""
	}
	return format("uri") == "at-uri" && format("cid") == "cid"
}

func (c *composer) array(t *schema.Array, at place) []any {
	n := c.length(t.MinLength, t.MaxLength, 1, 4)
	if c.tight(at) || c.m.feasible[t.Items] == impossible {
		n = 0
		if t.MinLength != nil {
			n = *t.MinLength
		}
	}
	at.depth++
	items := make([]any, n)
	for i := range items {
		items[i] = c.value(t.Items, at)
	}
	return items
}

func (c *composer) union(t *schema.Union, at place) any {
	possible := slices.DeleteFunc(slices.Clone(t.Members), func(m *schema.Member) bool {
		_, ok := c.m.feasible.member(m)
		return !ok
	})
	if resolved := slices.DeleteFunc(slices.Clone(possible), isUnresolved); len(resolved) > 0 {
		possible = resolved
	}
	if len(possible) == 0 { // an open union of nothing
		return object{{"$type", "com.example.simulated"}, {"text", c.title()}}
	}
	chosen := pick(c.rng, possible)
	if c.tight(at) {
		chosen = slices.MinFunc(possible, func(a, b *schema.Member) int {
			return cmp.Compare(c.m.feasible[a.Type], c.m.feasible[b.Type])
		})
	}
	if isUnresolved(chosen) {
		return object{{"$type", chosen.Ref}}
	}
	o := c.object(chosen.Type.(*schema.Object), at)
	o.set("$type", chosen.Ref)
	return o
}

func isUnresolved(m *schema.Member) bool {
	_, unresolved := m.Type.(*schema.Unresolved)
	return unresolved
}

func (c *composer) unknown(at place) object {
	o := object{{"$type", "com.example.simulated"}}
	if c.rng.IntN(2) == 0 {
		o.set("subject", c.m.target(c, at).uri)
	}
	if c.rng.IntN(2) == 0 {
		o.set("text", c.title())
	}
	return o
}

func (c *composer) blob(t *schema.Blob) object {
	mime := "application/octet-stream"
	if len(t.Accept) > 0 {
		mime = pick(c.rng, t.Accept)
	}
	switch {
	case mime == "*/*" || mime == "*":
		mime = "application/octet-stream"
	case mime == "image/*":
		mime = "image/jpeg"
	case mime == "video/*":
		mime = "video/mp4"
	case strings.HasSuffix(mime, "/*"):
		mime = strings.TrimSuffix(mime, "*") + "ogg"
	}
	size := 1000 + c.rng.IntN(1_000_000)
	if t.MaxSize != nil {
		size = min(size, *t.MaxSize)
	}
	return object{
		{"$type", "blob"},
		{"mimeType", mime},
		{"ref", link(blobCID(c.bytes(16)))},
		{"size", int64(size)},
	}
}

func (c *composer) integer(t *schema.Integer, at place) int64 {
	switch {
	case t.Const != nil:
		return int64(*t.Const)
	case len(t.Enum) > 0:
		return int64(pick(c.rng, t.Enum))
	case t.Minimum != nil && t.Maximum != nil:
		low, high := int64(*t.Minimum), int64(*t.Maximum)
		if low > high {
			return low
		}
		if high-low <= 100 { // a rating; people are kind
			return low + int64(math.Round(float64(high-low)*math.Sqrt(c.rng.Float64())))
		}
		if span := high - low; span > 0 && span < math.MaxInt64 {
			return low + c.rng.Int64N(span+1)
		}
		return low + c.rng.Int64N(math.MaxInt32)
	}
	var n int64
	switch word := lastWord(at.name); word {
	case "year":
		n = 1950 + c.rng.Int64N(77)
	case "minutes", "servings", "count":
		n = 1 + 5*c.rng.Int64N(12)
	case "at", "timestamp":
		n = c.m.clock.UnixMilli()
	case "width", "height":
		n = 100 + 10*c.rng.Int64N(300)
	default: // many small ones, few large ones
		n = int64(math.Pow(10, 5*c.rng.Float64()))
	}
	if t.Minimum != nil {
		n = max(n, int64(*t.Minimum))
	}
	if t.Maximum != nil {
		n = min(n, int64(*t.Maximum))
	}
	return n
}

func (c *composer) str(t *schema.String, at place) string {
	switch {
	case t.Const != nil:
		return *t.Const
	case len(t.Enum) > 0:
		return pick(c.rng, t.Enum)
	}
	switch t.Format {
	case "":
		if len(t.KnownValues) > 0 && c.rng.IntN(20) > 0 {
			if s := pick(c.rng, t.KnownValues); fit(s, t) == s {
				return s
			}
		}
		return c.text(t, at.name)
	case "at-uri":
		return c.m.target(c, at).uri
	case "did":
		return string(c.did())
	case "handle":
		return string(c.m.someone(c.rng).handle)
	case "at-identifier":
		if c.rng.IntN(4) == 0 {
			return string(c.m.someone(c.rng).handle)
		}
		return string(c.did())
	case "cid":
		return c.cid()
	case "datetime":
		return c.datetime(at.name)
	case "uri":
		return c.url(roomIn(t))
	case "language":
		return c.pick(langs)
	case "nsid":
		return pick(c.rng, c.m.collections).NSID.String()
	case "tid":
		return string(c.tid())
	case "record-key":
		return string(c.tid())
	}
	return c.text(t, at.name) // a format of the future
}

// did is that of an account, seldom of one that nobody has seen.
func (c *composer) did() syntax.DID {
	if c.rng.Float64() < c.m.cfg.Dangling {
		return randomDID(c.rng)
	}
	for range 3 {
		if a := c.m.someone(c.rng); a != c.author { // nobody follows themselves
			return a.did
		}
	}
	return c.author.did
}

func (c *composer) cid() string {
	if r := c.m.anyRecord(c.rng); r != nil && c.rng.IntN(2) == 0 {
		return r.cid
	}
	return recordCID(c.bytes(16))
}

func (c *composer) tid() syntax.TID {
	back := int64(c.rng.IntN(3_600_000_000))
	return syntax.NewTID(c.m.clock.UnixMicro()-back, uint(c.rng.IntN(1024)))
}

func (c *composer) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(c.rng.Uint32())
	}
	return b
}

// length is a number between the bounds that a lexicon sets, near low and high
// as far as they let it.
func (c *composer) length(least, most *int, low, high int) int {
	if least != nil {
		low = max(low, *least)
		high = max(high, low)
	}
	if most != nil {
		high = min(high, *most)
		low = min(low, high)
	}
	return low + c.rng.IntN(high-low+1)
}

// settleFacets puts the byte ranges of rich text inside its text, on the borders
// of runes; see https://docs.bsky.app/docs/advanced-guides/post-richtext.
func settleFacets(o object) {
	text, ok := o.get("text").(string)
	facets, isArray := o.get("facets").([]any)
	if !ok || !isArray {
		return
	}
	var borders []int64
	for i := range text {
		borders = append(borders, int64(i))
	}
	borders = append(borders, int64(len(text)))
	for i, item := range facets {
		facet, ok := item.(object)
		if !ok {
			continue
		}
		index, ok := facet.get("index").(object)
		if !ok || index.get("byteStart") == nil || index.get("byteEnd") == nil {
			continue
		}
		from, to := i*(len(borders)-1)/len(facets), (i+1)*(len(borders)-1)/len(facets)
		index.set("byteStart", borders[from])
		index.set("byteEnd", borders[to])
	}
}
