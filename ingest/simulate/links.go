package simulate

import (
	"slices"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atview/atview/schema"
)

// Links are found here once more, on purpose: counts that were made of what
// schema finds could not show that it finds the wrong ones. What is shared is the
// lexicon's types.

// Bounds on what is a link, as schema documents them.
const (
	maxTargetBytes = schema.MaxLinkBytes
	maxPathBytes   = 300
	maxLinks       = 1000
)

type linkAt struct{ path, target string }

// linksOf is the links of a record, each once.
func linksOf(col *schema.Collection, record []byte) []linkAt {
	v, err := readValue(record)
	if err != nil {
		panic("simulate: record is not what was written: " + err.Error())
	}
	var l linkList
	l.typed(col.Object, v, "")
	return l
}

type linkList []linkAt

func (l *linkList) typed(t schema.Type, v any, path string) {
	o, isObject := v.(object)
	switch t := t.(type) {
	case *schema.String:
		if s, ok := v.(string); ok {
			l.add(t.Link(), s, path)
			return
		}
	case *schema.Array:
		if items, ok := v.([]any); ok {
			for _, item := range items {
				l.typed(t.Items, item, path+element(item))
			}
			return
		}
	case *schema.Object:
		for _, m := range o {
			if f := t.Field(m.key); f != nil {
				l.typed(f.Type, m.value, join(path, m.key))
			} else {
				l.untyped(m.value, join(path, m.key))
			}
		}
		if isObject {
			return
		}
	case *schema.Union:
		tag, _ := o.get("$type").(string)
		for _, m := range t.Members {
			if m.Ref == strings.TrimSuffix(tag, "#main") {
				l.typed(m.Type, v, path)
				return
			}
		}
	case *schema.Blob:
		if isObject {
			return
		}
	case *schema.Unknown, *schema.Unresolved, *schema.Token:
		l.untyped(v, path)
		return
	}
	// A value of another type than the lexicon's: a string is not what was meant,
	// the inside of an object or array may be.
	if _, isString := v.(string); !isString {
		l.untyped(v, path)
	}
}

// untyped takes for a link what looks like one.
func (l *linkList) untyped(v any, path string) {
	switch v := v.(type) {
	case string:
		switch {
		case strings.HasPrefix(v, "at://"):
			l.add(schema.LinkRecord, v, path)
		case strings.HasPrefix(v, "did:"):
			l.add(schema.LinkDID, v, path)
		case strings.HasPrefix(v, "http://"), strings.HasPrefix(v, "https://"):
			l.add(schema.LinkURL, v, path)
		}
	case []any:
		for _, item := range v {
			l.untyped(item, path+element(item))
		}
	case object:
		for _, m := range v {
			l.untyped(m.value, join(path, m.key))
		}
	}
}

func (l *linkList) add(kind schema.LinkKind, target, path string) {
	valid := false
	switch kind {
	case schema.LinkRecord:
		_, err := syntax.ParseATURI(target)
		valid = err == nil
	case schema.LinkDID:
		_, err := syntax.ParseDID(target)
		valid = err == nil
	case schema.LinkURL:
		_, err := syntax.ParseURI(target)
		valid = err == nil
	}
	found := linkAt{path, target}
	if valid && len(target) <= maxTargetBytes && len(path) <= maxPathBytes && len(*l) < maxLinks && !slices.Contains(*l, found) {
		*l = append(*l, found)
	}
}

// element is how a path names the elements of an array: by their `$type`.
func element(v any) string {
	o, _ := v.(object)
	tag, _ := o.get("$type").(string)
	return "[" + tag + "]"
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
