package lexfetch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/bluesky-social/indigo/atproto/lexicon"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atview/atview/ingest/dagcbor"
)

// parse checks that a record is the lexicon of a name, and returns it as a file has
// it, with the NSIDs that it refers to.
func parse(block []byte, nsid syntax.NSID) ([]byte, []syntax.NSID, error) {
	raw, err := dagcbor.AppendJSON(nil, block)
	if err != nil {
		return nil, nil, err
	}
	if err := check(raw, nsid); err != nil {
		return nil, nil, err
	}
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, nil, err
	}
	text, err := format(doc)
	if err != nil {
		return nil, nil, err
	}
	var defs any
	if err := json.Unmarshal(doc["defs"], &defs); err != nil {
		return nil, nil, err
	}
	refs := map[syntax.NSID]bool{}
	collectRefs(defs, refs)
	delete(refs, nsid)
	return text, slices.Sorted(maps.Keys(refs)), nil
}

// check has indigo read the lexicon, as package schema will.
func check(raw []byte, nsid syntax.NSID) (err error) {
	// It takes parts for present that a lexicon may lack, such as the schema of a
	// subscription's message.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("lexicon cannot be read: %v", p)
		}
	}()
	var file lexicon.SchemaFile
	if err := json.Unmarshal(raw, &file); err != nil {
		return fmt.Errorf("lexicon: %w", err)
	}
	switch {
	case file.Type != collection:
		return fmt.Errorf("record is of type %q", file.Type)
	case file.ID != string(nsid):
		return fmt.Errorf("lexicon is of %q", file.ID)
	case len(file.Defs) == 0:
		return errors.New("lexicon without defs")
	}
	if err := lexicon.NewBaseCatalog().AddSchemaFile(file); err != nil {
		return fmt.Errorf("lexicon: %w", err)
	}
	return nil
}

// format writes a lexicon for people: what it is first, its defs last, without the
// $type that only its record needs. The order within the defs is the record's, as
// that is all there is.
func format(doc map[string]json.RawMessage) ([]byte, error) {
	var keys []string
	for _, k := range []string{"lexicon", "id", "revision", "description"} {
		if _, ok := doc[k]; ok {
			keys = append(keys, k)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(doc)) {
		if k != "$type" && k != "defs" && !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	keys = append(keys, "defs")
	var b bytes.Buffer
	b.WriteByte('{')
	for i, k := range keys {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(k)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(doc[k])
	}
	b.WriteByte('}')
	var out bytes.Buffer
	if err := json.Indent(&out, b.Bytes(), "", "  "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// collectRefs finds the NSIDs of references and unions, wherever they stand.
func collectRefs(v any, refs map[syntax.NSID]bool) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			collectRefs(e, refs)
		}
	case map[string]any:
		switch v["type"] {
		case "ref":
			addRef(v["ref"], refs)
		case "union":
			list, _ := v["refs"].([]any)
			for _, ref := range list {
				addRef(ref, refs)
			}
		}
		for _, e := range v {
			collectRefs(e, refs)
		}
	}
}

func addRef(v any, refs map[syntax.NSID]bool) {
	s, _ := v.(string)
	name, _, _ := strings.Cut(s, "#")
	if nsid, err := syntax.ParseNSID(name); err == nil { // one of its own begins with the #
		refs[nsid.Normalize()] = true
	}
}
