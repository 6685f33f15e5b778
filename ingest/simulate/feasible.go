package simulate

import (
	"fmt"
	"math"
	"strings"

	"github.com/atview/atview/schema"
)

// impossible is the cost of a type that no value has: a token, a closed union of
// nothing, an object that must contain itself.
const impossible = math.MaxInt32

// feasibility is, for each type, how deep the shallowest value of it is.
type feasibility map[schema.Type]int

// learn adds t and all types that it is made of. Types refer to one another in
// circles, so the costs start at impossible and sink until none sinks further.
func (f feasibility) learn(t schema.Type) {
	var types []schema.Type
	var gather func(schema.Type)
	gather = func(t schema.Type) {
		if _, met := f[t]; met {
			return
		}
		f[t] = impossible
		types = append(types, t)
		switch t := t.(type) {
		case *schema.Object:
			for _, field := range t.Fields {
				gather(field.Type)
			}
		case *schema.Array:
			gather(t.Items)
		case *schema.Union:
			for _, m := range t.Members {
				gather(m.Type)
			}
		}
	}
	gather(t)
	for sinking := true; sinking; {
		sinking = false
		for _, t := range types {
			if cost := f.cost(t); cost < f[t] {
				f[t], sinking = cost, true
			}
		}
	}
}

func (f feasibility) cost(t schema.Type) int {
	switch t := t.(type) {
	case *schema.Token:
		return impossible
	case *schema.Array:
		if t.MinLength == nil || *t.MinLength <= 0 {
			return 0
		}
		return deeper(f[t.Items])
	case *schema.Union:
		least := impossible
		for _, m := range t.Members {
			if cost, ok := f.member(m); ok {
				least = min(least, cost)
			}
		}
		if least == impossible && !t.Closed {
			return 0
		}
		return deeper(least)
	case *schema.Object:
		most := 0
		for _, field := range t.Fields {
			if field.Required && !field.Nullable {
				most = max(most, f[field.Type])
			}
		}
		return deeper(most)
	}
	return 0
}

// member is the cost of a union's member; ok is false for one that no value of
// the union can be, such as a token or a string.
func (f feasibility) member(m *schema.Member) (cost int, ok bool) {
	switch m.Type.(type) {
	case *schema.Object, *schema.Unresolved:
		cost = f[m.Type]
		return cost, cost != impossible
	}
	return impossible, false
}

func deeper(cost int) int {
	if cost == impossible {
		return impossible
	}
	return cost + 1
}

// explain says which required part makes an object impossible.
func (f feasibility) explain(t schema.Type) string {
	var path []string
	for range 32 {
		next := schema.Type(nil)
		switch at := t.(type) {
		case *schema.Object:
			for _, field := range at.Fields {
				if field.Required && !field.Nullable && f[field.Type] == impossible {
					path, next = append(path, field.Name), field.Type
					break
				}
			}
		case *schema.Array:
			path, next = append(path, "[]"), at.Items
		case *schema.Token:
			return fmt.Sprintf("%s must be the token %s, and no value is one", strings.Join(path, "."), at.Name)
		case *schema.Union:
			return fmt.Sprintf("%s must be in a union that no value is in", strings.Join(path, "."))
		}
		if next == nil {
			break
		}
		t = next
	}
	return strings.Join(path, ".") + " must contain itself without end"
}
