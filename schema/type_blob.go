package schema

import (
	"slices"
	"strings"

	"github.com/valyala/fastjson"
)

// Blob is the lexicon type `blob`. It is read from the record, where it has
// the shape `{"$type":"blob","ref":{"$link"},"mimeType","size"}` or, in records
// of before 2023, `{"cid","mimeType"}`; see https://atproto.com/specs/blob.
type Blob struct {
	noColumn
	Accept  []string
	MaxSize *int // bytes
}

func (*Blob) GraphQL() string { return "Blob" }

func (t *Blob) check(w *walk, v *fastjson.Value) {
	if v.Type() != fastjson.TypeObject {
		w.wrongType("blob", v)
		return
	}
	cidText, mimeType, size, ok := readBlob(v)
	switch {
	case !ok:
		w.flag("object is not a blob")
	case !validCID(cidText):
		w.flag("blob's ref is not a valid CID")
	case len(t.Accept) > 0 && !slices.ContainsFunc(t.Accept, func(p string) bool { return acceptsMIME(p, mimeType) }):
		w.flag("blob of type %q is not accepted", clip(mimeType, 100))
	case t.MaxSize != nil && size > int64(*t.MaxSize):
		w.flag("blob of %d bytes is over the maximum of %d", size, *t.MaxSize)
	}
}

func (t *Blob) describe(d *digest) { d.add("blob", t.Accept, t.MaxSize) }

// readBlob takes a blob of either shape apart. size is -1 in the old shape.
func readBlob(v *fastjson.Value) (cid, mimeType string, size int64, ok bool) {
	mime := v.Get("mimeType")
	if mime == nil || mime.Type() != fastjson.TypeString {
		return "", "", 0, false
	}
	mimeType = string(mime.GetStringBytes())
	fields := v.GetObject().Len()
	if string(v.GetStringBytes("$type")) == "blob" {
		link, bytes := v.Get("ref", "$link"), v.Get("size")
		if fields != 4 || link == nil || bytes == nil || bytes.Type() != fastjson.TypeNumber {
			return "", "", 0, false
		}
		size, ok = parseInteger(bytes.MarshalTo(nil))
		return string(link.GetStringBytes()), mimeType, size, ok
	}
	if old := v.Get("cid"); fields == 2 && old != nil && old.Type() == fastjson.TypeString {
		return string(old.GetStringBytes()), mimeType, -1, true
	}
	return "", "", 0, false
}

// acceptsMIME matches a pattern of a blob's `accept`: `*/*`, `image/*` or one
// type in full.
func acceptsMIME(pattern, mimeType string) bool {
	if mimeType == "" || pattern == "" {
		return false
	}
	if pattern == "*/*" {
		return true
	}
	if prefix, glob := strings.CutSuffix(pattern, "*"); glob {
		return strings.HasPrefix(mimeType, prefix)
	}
	return pattern == mimeType
}
