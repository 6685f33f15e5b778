package graphql

import (
	"slices"

	"github.com/vektah/gqlparser/v2/ast"
)

// collect is the fields that a selection asks of a type, each response key
// once, in the order of the first mention; see
// https://spec.graphql.org/October2021/#sec-Field-Collection
func (c *compiler) collect(set ast.SelectionSet, typeName string) []*ast.Field {
	var out []*ast.Field
	var merged map[string]int
	var visited []string
	var walk func(set ast.SelectionSet)
	walk = func(set ast.SelectionSet) {
		for _, sel := range set {
			switch sel := sel.(type) {
			case *ast.Field:
				if !c.included(sel.Directives) {
					continue
				}
				if i, twice := merged[sel.Alias]; twice {
					if len(sel.SelectionSet) > 0 {
						both := *out[i]
						both.SelectionSet = append(slices.Clone(both.SelectionSet), sel.SelectionSet...)
						out[i] = &both
					}
					continue
				}
				if merged == nil {
					merged = map[string]int{}
				}
				merged[sel.Alias] = len(out)
				out = append(out, sel)
			case *ast.InlineFragment:
				if c.included(sel.Directives) && c.applies(sel.TypeCondition, typeName) {
					walk(sel.SelectionSet)
				}
			case *ast.FragmentSpread:
				if slices.Contains(visited, sel.Name) || !c.included(sel.Directives) {
					continue
				}
				visited = append(visited, sel.Name)
				if f := c.doc.Fragments.ForName(sel.Name); f != nil && c.applies(f.TypeCondition, typeName) {
					walk(f.SelectionSet)
				}
			}
		}
	}
	walk(set)
	return out
}

// included evaluates @skip and @include. Their variables are part of a plan's
// shape.
func (c *compiler) included(directives ast.DirectiveList) bool {
	for _, d := range directives {
		if d.Name != "skip" && d.Name != "include" {
			continue
		}
		arg := d.Arguments.ForName("if")
		if arg == nil {
			continue
		}
		v, _ := literal(arg.Value, c.vars)
		if (v == true) == (d.Name == "skip") {
			return false
		}
	}
	return true
}

// applies says whether a fragment on a type is for objects of another.
func (c *compiler) applies(condition, typeName string) bool {
	if condition == "" || condition == typeName {
		return true
	}
	def := c.m.schema.Types[condition]
	return def != nil && def.Kind == ast.Union && slices.Contains(def.Types, typeName)
}
