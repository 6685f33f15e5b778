package graphql

import (
	"slices"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/validator/core"
	"github.com/vektah/gqlparser/v2/validator/rules"
)

// validationRules are GraphQL's, but for one: a variable of one of GraphQL's
// own scalars may stand where ours are expected. Clients declare `$min: Int`
// for a Long and `$since: String` for a DateTime, and so they may: the value is
// checked when it is bound.
func validationRules() *rules.Rules {
	out := rules.NewDefaultRules()
	out.ReplaceRule(rules.VariablesInAllowedPositionRule.Name, variablesInAllowedPosition)
	return out
}

// ownScalars are those of ours that take any of GraphQL's.
var ownScalars = []string{"Long", "DateTime", "BooleanInput", "JSON"}

func variablesInAllowedPosition(observers *core.Events, addError core.AddErrFunc) {
	observers.OnValue(func(walker *core.Walker, value *ast.Value) {
		def := value.VariableDefinition
		if value.Kind != ast.Variable || value.ExpectedType == nil || def == nil || walker.CurrentOperation == nil {
			return
		}
		expected := *value.ExpectedType
		if value.ExpectedTypeHasDefault || def.DefaultValue != nil && def.DefaultValue.Kind != ast.NullValue {
			expected.NonNull = false
		}
		if !fits(def.Type, &expected) {
			addError(core.Message(`Variable "%s" of type "%s" used in position expecting type "%s".`,
				value, def.Type, value.ExpectedType), core.At(value.Position))
		}
	})
}

func fits(t, expected *ast.Type) bool {
	switch {
	case expected.NonNull && !t.NonNull, (t.Elem == nil) != (expected.Elem == nil):
		return false
	case t.Elem != nil:
		return fits(t.Elem, expected.Elem)
	}
	return t.NamedType == expected.NamedType ||
		slices.Contains(ownScalars, expected.NamedType) &&
			slices.Contains([]string{"Int", "Float", "String", "Boolean", "ID"}, t.NamedType)
}
