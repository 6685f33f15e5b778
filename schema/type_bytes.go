package schema

import (
	"encoding/base64"

	"github.com/valyala/fastjson"
)

// Bytes is the lexicon type `bytes`: `{"$bytes": base64}` in JSON. It is read
// from the record.
type Bytes struct {
	noColumn
	MinLength, MaxLength *int // decoded bytes
}

// GraphQL is String: the base64 text, as the record has it.
func (*Bytes) GraphQL() string { return "String" }

func (t *Bytes) check(w *walk, v *fastjson.Value) {
	text := v.Get("$bytes")
	if v.Type() != fastjson.TypeObject || text == nil || text.Type() != fastjson.TypeString {
		w.wrongType("bytes", v)
		return
	}
	raw, err := base64.RawStdEncoding.DecodeString(string(text.GetStringBytes()))
	switch {
	case err != nil:
		w.flag("$bytes is not unpadded base64")
	case t.MinLength != nil && len(raw) < *t.MinLength:
		w.flag("%d bytes are under the minimum of %d", len(raw), *t.MinLength)
	case t.MaxLength != nil && len(raw) > *t.MaxLength:
		w.flag("%d bytes are over the maximum of %d", len(raw), *t.MaxLength)
	}
}

func (t *Bytes) describe(d *digest) { d.add("bytes", t.MinLength, t.MaxLength) }
