package graphql

import (
	"context"
	"fmt"
	"slices"

	gql "github.com/99designs/gqlgen/graphql"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
	"github.com/vektah/gqlparser/v2/parser"
)

// limits refuses operations before they are validated: validation compares
// the fields of a selection with one another and takes seconds for a few
// thousand.
type limits struct {
	cfg    *Config
	schema *ast.Schema
	known  gql.Cache[*ast.QueryDocument] // operations that have passed
}

// ExtensionName is part of gqlgen's interface.
func (limits) ExtensionName() string { return "atview limits" }

// Validate is part of gqlgen's interface.
func (limits) Validate(gql.ExecutableSchema) error { return nil }

// MutateOperationParameters is where gqlgen lets us look at an operation's
// text. One that is new is parsed here and once more by gqlgen, which is cheap.
func (l limits) MutateOperationParameters(ctx context.Context, params *gql.RawParams) *gqlerror.Error {
	if _, ok := l.known.Get(ctx, params.Query); ok {
		return nil
	}
	doc, err := parser.ParseQueryWithTokenLimit(&ast.Source{Input: params.Query}, l.cfg.MaxTokens)
	if err != nil {
		return nil //nolint:nilerr // gqlgen finds it, too, and says it
	}
	return checkLimits(l.cfg, l.schema, doc)
}

const (
	// maxDefinitions bounds the operations and fragments of a document.
	maxDefinitions = 200
	// maxRepeats bounds how often a selection may ask for one response key. Unions
	// ask for a name once for each member.
	maxRepeats = 100
	// maxUnknown bounds the fields that do not exist: for each, validation
	// compares all names of the type to suggest another.
	maxUnknown = 20
	// maxValueDepth bounds how deep an argument's value is nested.
	maxValueDepth = 30
)

// checkLimits refuses a document that is nested too deep or too long once its
// fragments are written out. It stops at the limit, so that a text of a few
// lines cannot have it count to a billion; the document may be invalid.
// Introspection is exempt from the depth: the schema bounds it, and the
// standard query is 13 deep.
func checkLimits(cfg *Config, schema *ast.Schema, doc *ast.QueryDocument) *gqlerror.Error {
	if len(doc.Operations)+len(doc.Fragments) > maxDefinitions {
		return tooMuch("the document has more than %d operations and fragments", maxDefinitions)
	}
	check := func(set ast.SelectionSet, on *ast.Definition, variables ast.VariableDefinitionList) *gqlerror.Error {
		c := fieldCounter{cfg: cfg, schema: schema, doc: doc}
		for _, v := range variables {
			c.value(v.DefaultValue, 1)
		}
		c.selections(set, on, 1, map[string]int{}, false)
		return c.err
	}
	for _, op := range doc.Operations {
		if err := check(op.SelectionSet, schema.Query, op.VariableDefinitions); err != nil {
			return err
		}
	}
	for _, f := range doc.Fragments { // validated even if nothing uses it
		if err := check(f.SelectionSet, schema.Types[f.TypeCondition], nil); err != nil {
			return err
		}
	}
	return nil
}

type fieldCounter struct {
	cfg     *Config
	schema  *ast.Schema
	doc     *ast.QueryDocument
	fields  int
	unknown int
	within  []*ast.FragmentDefinition
	err     *gqlerror.Error // the first one
}

// selections counts a selection on a type (nil: one that does not exist), with
// its fragments written out. repeats are the response keys of the selection so
// far.
func (c *fieldCounter) selections(set ast.SelectionSet, on *ast.Definition, depth int, repeats map[string]int, introspection bool) {
	for _, sel := range set {
		if c.err != nil {
			return
		}
		// Fragments count, too: empty ones can be nested without end.
		if c.fields++; c.fields > c.cfg.MaxFields {
			c.err = tooMuch("the operation has more than %d fields", c.cfg.MaxFields)
			return
		}
		switch sel := sel.(type) {
		case *ast.Field:
			introspection := introspection || sel.Name == "__schema" || sel.Name == "__type"
			c.field(sel, depth, repeats, introspection)
			if len(sel.SelectionSet) > 0 && c.err == nil {
				c.selections(sel.SelectionSet, c.typeOf(sel, on), depth+1, map[string]int{}, introspection)
			} else {
				c.typeOf(sel, on)
			}
		case *ast.InlineFragment:
			inner := on
			if sel.TypeCondition != "" {
				inner = c.schema.Types[sel.TypeCondition]
			}
			c.selections(sel.SelectionSet, inner, depth, repeats, introspection)
		case *ast.FragmentSpread:
			// One that is within itself is for validation to refuse.
			if f := c.doc.Fragments.ForName(sel.Name); f != nil && !slices.Contains(c.within, f) {
				c.within = append(c.within, f)
				c.selections(f.SelectionSet, c.schema.Types[f.TypeCondition], depth, repeats, introspection)
				c.within = c.within[:len(c.within)-1]
			}
		}
	}
}

func (c *fieldCounter) field(f *ast.Field, depth int, repeats map[string]int, introspection bool) {
	repeats[f.Alias]++
	switch {
	case c.err != nil:
	case repeats[f.Alias] > maxRepeats:
		c.err = tooMuch("%s is asked for more than %d times in one place", f.Alias, maxRepeats)
	case depth > c.cfg.MaxDepth && !introspection:
		c.err = &gqlerror.Error{
			Message:    fmt.Sprintf("fields are nested deeper than %d at %s", c.cfg.MaxDepth, f.Name),
			Extensions: map[string]any{"code": codeDepth},
		}
	}
	for _, arg := range f.Arguments {
		c.value(arg.Value, 1)
	}
}

// typeOf is the type of a field's value; nil when there is no such field.
func (c *fieldCounter) typeOf(f *ast.Field, on *ast.Definition) *ast.Definition {
	if on == nil || f.Name == "__typename" {
		return nil
	}
	def := on.Fields.ForName(f.Name)
	if def == nil {
		if c.unknown++; c.unknown > maxUnknown && c.err == nil {
			c.err = tooMuch("more than %d fields do not exist; one is %s on %s", maxUnknown, f.Name, on.Name)
		}
		return nil
	}
	return c.schema.Types[def.Type.Name()]
}

func (c *fieldCounter) value(v *ast.Value, depth int) {
	if v == nil || c.err != nil {
		return
	}
	if depth > maxValueDepth {
		c.err = tooMuch("an argument is nested deeper than %d", maxValueDepth)
		return
	}
	for _, child := range v.Children {
		c.value(child.Value, depth+1)
	}
}

func tooMuch(format string, args ...any) *gqlerror.Error {
	return &gqlerror.Error{Message: fmt.Sprintf(format, args...), Extensions: map[string]any{"code": codeCost}}
}
