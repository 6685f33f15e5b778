package schema

import (
	"github.com/ipfs/go-cid"
	"github.com/valyala/fastjson"
)

// CIDLink is the lexicon type `cid-link`: `{"$link": CID}` in JSON.
type CIDLink struct{}

func (*CIDLink) SQL() string     { return "text" }
func (*CIDLink) GraphQL() string { return "String" }

// Value is the CID's text.
func (*CIDLink) Value(v *fastjson.Value) any {
	if link := v.Get("$link"); link != nil && link.Type() == fastjson.TypeString {
		return string(link.GetStringBytes())
	}
	return nil
}

func (t *CIDLink) check(w *walk, v *fastjson.Value) {
	s, ok := t.Value(v).(string)
	if !ok {
		w.wrongType("cid-link", v)
		return
	}
	if !validCID(s) {
		w.flag("$link is not a valid CID")
	}
}

func (*CIDLink) describe(d *digest) { d.add("cid-link") }

func validCID(s string) bool {
	c, err := cid.Decode(s)
	return err == nil && c.Defined()
}
