package simulate

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"

	"github.com/atview/atview/schema"
)

// text makes up what a property of that name could hold, within the lexicon's
// bounds.
func (c *composer) text(t *schema.String, name string) string {
	room := roomIn(t)
	if room < 4 && (t.MaxGraphemes == nil || *t.MaxGraphemes < 4) {
		if t.MaxLength == nil || *t.MaxLength >= 8 {
			return fit(c.pick(emoji), t)
		}
		return fit(c.pick(nouns), t)
	}
	var s string
	switch word := lastWord(name); word {
	case "name", "title", "headline", "album", "song", "track", "label", "heading", "alt", "caption":
		s = c.title()
		if strings.HasPrefix(name, "display") || strings.HasPrefix(name, "full") {
			s = c.author.name
		}
	case "artist", "author", "person", "host", "contact":
		s = c.pick(firstNames) + " " + c.pick(lastNames)
	case "text", "content", "body", "message", "comment", "review", "markdown", "plaintext", "lyrics", "abstract":
		s = c.sentences(1 + c.rng.IntN(4))
	case "description", "bio", "summary", "note", "notes", "about", "blurb", "subtitle", "steps", "step", "instructions", "reason":
		s = c.sentences(1 + c.rng.IntN(2))
	case "ingredients", "ingredient":
		s = fmt.Sprintf("%d %s %s %s", 2+c.rng.IntN(20), c.pick(units), c.pick(adjectives), c.pick(foods))
	case "cuisine":
		s = c.pick(kitchens)
	case "tags", "tag", "keywords", "keyword", "category", "categories", "genre", "genres", "topic", "topics",
		"type", "kind", "status", "role", "mood", "theme", "platform":
		s = c.pick(nouns)
	case "location", "city", "place", "venue", "address", "locality", "region", "country":
		s = c.pick(places)
	case "url", "link", "website", "homepage", "href", "src", "uri":
		s = c.url(room)
	case "did":
		s = string(c.did())
	case "handle":
		s = string(c.m.someone(c.rng).handle)
	case "email":
		s = strings.ToLower(c.pick(nouns)) + "@" + c.pick(domains)
	case "emoji", "reaction", "icon":
		s = c.pick(emoji)
	case "color", "colour":
		s = fmt.Sprintf("#%06x", c.rng.IntN(1<<24))
	case "lang", "language", "languages", "langs":
		s = c.pick(langs)
	case "slug", "key", "id", "path":
		s = c.pick(adjectives) + "-" + c.pick(nouns)
	case "version":
		s = fmt.Sprintf("%d.%d.%d", c.rng.IntN(4), c.rng.IntN(20), c.rng.IntN(50))
	case "at", "date", "time", "timestamp":
		s = c.datetime(name)
	default:
		if room <= 100 {
			s = c.pick(adjectives) + " " + c.pick(nouns)
		} else {
			s = c.sentences(1)
		}
	}
	return fit(s, t)
}

// roomIn is how many ASCII letters fit; a large number where nothing limits.
func roomIn(t *schema.String) int {
	room := 1 << 20
	if t.MaxLength != nil {
		room = min(room, *t.MaxLength)
	}
	if t.MaxGraphemes != nil {
		room = min(room, *t.MaxGraphemes)
	}
	return room
}

// lastWord is what a property in camel case, or with underscores, is about:
// `albumTitle` is a title.
func lastWord(name string) string {
	start := 0
	for i, r := range name {
		if unicode.IsUpper(r) {
			start = i
		} else if r == '_' || r == '-' {
			start = i + 1
		}
	}
	return strings.ToLower(name[start:])
}

func (c *composer) title() string {
	switch c.rng.IntN(4) {
	case 0:
		return upperFirst(c.pick(adjectives)) + " " + upperFirst(c.pick(nouns))
	case 1:
		return "The " + upperFirst(c.pick(nouns)) + " " + c.pick(linkers) + " the " + upperFirst(c.pick(nouns))
	case 2:
		return upperFirst(c.pick(adjectives)) + " " + c.pick(nouns) + " with " + c.pick(nouns)
	}
	return upperFirst(c.pick(places)) + " " + c.pick(nouns)
}

func (c *composer) sentences(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(' ')
		}
		switch c.rng.IntN(4) {
		case 0:
			fmt.Fprintf(&b, "%s the %s %s and %s it %s the %s.", upperFirst(c.pick(verbs)), c.pick(adjectives),
				c.pick(nouns), c.pick(verbs), c.pick(linkers), c.pick(nouns))
		case 1:
			fmt.Fprintf(&b, "The %s %s is never far from %s.", c.pick(adjectives), c.pick(nouns), c.pick(places))
		case 2:
			fmt.Fprintf(&b, "We %s %s %s because of the %s %s.", c.pick(verbs), c.pick(linkers), c.pick(places),
				c.pick(adjectives), c.pick(nouns))
		default:
			fmt.Fprintf(&b, "%s %s, %s %s, %s %s: what else is there to %s?", upperFirst(c.pick(adjectives)), c.pick(nouns),
				c.pick(adjectives), c.pick(nouns), c.pick(adjectives), c.pick(nouns), c.pick(verbs))
		}
	}
	if c.rng.IntN(25) == 0 { // the world is not ASCII
		b.WriteString(" " + c.pick(foreign) + " " + c.pick(emoji))
	}
	return b.String()
}

// url is one of few, the first ones more often: so some pages have many links.
func (c *composer) url(room int) string {
	n := skewed(c.rng, 500)
	s := fmt.Sprintf("https://%s/%s/%s", domains[n%len(domains)], nouns[n%len(nouns)], adjectives[n%len(adjectives)])
	if len(s) > room {
		s = "https://" + domains[0]
	}
	if len(s) > room {
		s = "https:a"
	}
	return s
}

// datetime is now for the moments that a record states of itself, and some day
// around now for those that it is about.
func (c *composer) datetime(name string) string {
	at := c.m.clock
	switch {
	case name == "createdAt" || name == "indexedAt" || name == "timestamp" || name == "updatedAt":
		at = at.Add(-time.Duration(c.rng.IntN(2000)) * time.Millisecond)
	case strings.HasPrefix(name, "start"):
		at = at.Add(time.Duration(c.rng.IntN(14*24)) * time.Hour).Truncate(time.Hour)
	case strings.HasPrefix(name, "end") || strings.HasPrefix(name, "expire"):
		at = at.Add(time.Duration(14*24+c.rng.IntN(14*24)) * time.Hour).Truncate(time.Hour)
	default:
		at = at.Add(-time.Duration(c.rng.IntN(30*24*60)) * time.Minute)
	}
	return at.UTC().Format("2006-01-02T15:04:05.000Z")
}

// fit cuts s, or makes it longer, until it is within the bounds of t.
func fit(s string, t *schema.String) string {
	if room := roomIn(t); len(s) > room {
		s = cut(s, t)
	}
	if t.MinLength == nil && t.MinGraphemes == nil {
		return s
	}
	for i := 0; ; i++ {
		short := t.MinLength != nil && len(s) < *t.MinLength ||
			t.MinGraphemes != nil && uniseg.GraphemeClusterCount(s) < *t.MinGraphemes
		if !short {
			return s
		}
		s += string(rune('a' + i%26))
	}
}

func cut(s string, t *schema.String) string {
	end, graphemes, state := 0, 0, -1
	for rest := s; rest != ""; graphemes++ {
		var cluster string
		cluster, rest, _, state = uniseg.FirstGraphemeClusterInString(rest, state)
		if t.MaxGraphemes != nil && graphemes >= *t.MaxGraphemes ||
			t.MaxLength != nil && end+len(cluster) > *t.MaxLength {
			break
		}
		end += len(cluster)
	}
	return strings.TrimRight(s[:end], " ,")
}

func (c *composer) pick(from []string) string { return pick(c.rng, from) }

func pick[T any](rng *rand.Rand, from []T) T { return from[rng.IntN(len(from))] }

func upperFirst(s string) string {
	r, size := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[size:]
}
