package graphql

import (
	"fmt"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

// checkLimits refuses an operation that is nested too deep or too long once
// its fragments are written out. It stops at the limit, so that a text of a
// few lines cannot have it count to a billion. Introspection is exempt: the
// schema bounds it, and the standard query is 13 deep.
func checkLimits(cfg *Config, doc *ast.QueryDocument, op *ast.OperationDefinition) *gqlerror.Error {
	l := limits{cfg: cfg, doc: doc}
	l.selections(op.SelectionSet, 1)
	return l.err
}

type limits struct {
	cfg    *Config
	doc    *ast.QueryDocument
	fields int
	err    *gqlerror.Error
}

func (l *limits) selections(set ast.SelectionSet, depth int) {
	for _, sel := range set {
		if l.err != nil {
			return
		}
		// Fragments count, too: empty ones can be nested without end.
		if l.fields++; l.fields > l.cfg.MaxFields {
			l.err = &gqlerror.Error{
				Message:    fmt.Sprintf("the operation has more than %d fields", l.cfg.MaxFields),
				Extensions: map[string]any{"code": codeCost},
			}
			return
		}
		switch sel := sel.(type) {
		case *ast.Field:
			if sel.Name == "__schema" || sel.Name == "__type" {
				continue
			}
			if depth > l.cfg.MaxDepth {
				l.err = &gqlerror.Error{
					Message:    fmt.Sprintf("fields are nested deeper than %d at %s", l.cfg.MaxDepth, sel.Name),
					Extensions: map[string]any{"code": codeDepth},
				}
				return
			}
			l.selections(sel.SelectionSet, depth+1)
		case *ast.InlineFragment:
			l.selections(sel.SelectionSet, depth)
		case *ast.FragmentSpread:
			if f := l.doc.Fragments.ForName(sel.Name); f != nil {
				l.selections(f.SelectionSet, depth)
			}
		}
	}
}
