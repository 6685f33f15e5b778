package simulate

import (
	"github.com/atview/atview/schema"
)

// spoil makes a record break its lexicon: it drops a required property, or gives
// a property a value of another type. It says whether there was one to spoil.
func (c *composer) spoil(o *object) bool {
	var able []*schema.Field
	for _, f := range c.col.Object.Fields {
		if _, any := f.Type.(*schema.Unresolved); any {
			continue
		}
		if _, had := o.find(f.Name); had {
			able = append(able, f)
		}
	}
	if len(able) == 0 {
		return false
	}
	f := pick(c.rng, able)
	if f.Required && c.rng.IntN(3) == 0 {
		o.unset(f.Name)
		return true
	}
	switch t := f.Type.(type) {
	case *schema.String:
		switch {
		case t.Format == "datetime" && c.rng.IntN(2) == 0:
			o.set(f.Name, "yesterday")
		case t.MaxLength != nil && *t.MaxLength < 1000 && t.Format == "" && c.rng.IntN(2) == 0:
			long := make([]byte, *t.MaxLength+1)
			for i := range long {
				long[i] = 'a' + byte(i%26)
			}
			o.set(f.Name, string(long))
		default:
			o.set(f.Name, int64(c.rng.IntN(1000)))
		}
	case *schema.Array:
		o.set(f.Name, object{{"text", c.title()}})
	default:
		o.set(f.Name, c.title())
	}
	return true
}
