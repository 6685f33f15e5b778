package graphql

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
)

// binding says where a value of an operation is: in its text, which may have
// variables in it, or inside a variable. A plan keeps bindings and gets the
// values of each request through them.
type binding struct {
	node     *ast.Value // in the text; nil: inside the variable
	variable string
	path     string // to the value inside the variable, steps with a \x00 behind them
}

// value is what the binding stands for. ok is false for a variable that is not
// given.
func (b binding) value(vars map[string]any) (v any, ok bool) {
	if b.node != nil {
		return literal(b.node, vars)
	}
	v, ok = vars[b.variable]
	for path := b.path; ok && path != ""; {
		var step string
		step, path, _ = strings.Cut(path, "\x00")
		switch at := v.(type) {
		case map[string]any:
			v, ok = at[step]
		case []any:
			i, err := strconv.Atoi(step)
			if ok = err == nil && i < len(at); ok {
				v = at[i]
			}
		default:
			// A single value stands for a list of one.
			ok = step == "0"
		}
	}
	return v, ok
}

// literal evaluates what is written in an operation. Numbers stay text: they
// may be longer than any Go number.
func literal(node *ast.Value, vars map[string]any) (any, bool) {
	switch node.Kind {
	case ast.Variable:
		if v, ok := vars[node.Raw]; ok {
			return v, true
		}
		if def := node.VariableDefinition; def != nil && def.DefaultValue != nil {
			return literal(def.DefaultValue, nil)
		}
		return nil, false
	case ast.IntValue, ast.FloatValue:
		return json.Number(node.Raw), true
	case ast.StringValue, ast.BlockValue, ast.EnumValue:
		return node.Raw, true
	case ast.BooleanValue:
		return node.Raw == "true", true
	case ast.ListValue:
		out := make([]any, 0, len(node.Children))
		for _, child := range node.Children {
			v, _ := literal(child.Value, vars)
			out = append(out, v)
		}
		return out, true
	case ast.ObjectValue:
		out := make(map[string]any, len(node.Children))
		for _, child := range node.Children {
			if v, ok := literal(child.Value, vars); ok {
				out[child.Name] = v
			}
		}
		return out, true
	}
	return nil, true
}

// input is an argument, or a part of one, while an operation is compiled.
type input struct {
	binding
	now   any // its value in the request that is compiled for
	given bool
	at    string // for messages: `where.rating.gte`
}

func (c *compiler) argument(f *ast.Field, name string) input {
	arg := f.Arguments.ForName(name)
	if arg == nil {
		return input{at: name}
	}
	return c.input(arg.Value, name)
}

func (c *compiler) input(node *ast.Value, at string) input {
	in := input{binding: binding{node: node}, at: at}
	if node.Kind == ast.Variable {
		if _, ok := c.vars[node.Raw]; ok {
			in.binding = binding{variable: node.Raw}
		}
	}
	in.now, in.given = in.value(c.vars)
	return in
}

// null says whether there is nothing to go by: left out, or null.
func (in input) null() bool { return !in.given || in.now == nil }

// get is a field of an input object.
func (c *compiler) get(in input, name string) input {
	at := in.at + "." + name
	if in.node != nil {
		if child := in.node.Children.ForName(name); child != nil {
			return c.input(child, at)
		}
		return input{at: at}
	}
	out := input{binding: binding{variable: in.variable, path: in.path + name + "\x00"}, at: at}
	if fields, ok := in.now.(map[string]any); ok {
		out.now, out.given = fields[name]
	}
	return out
}

// items are the elements of a list; a single value is a list of one.
func (c *compiler) items(in input) []input {
	if in.null() {
		return nil
	}
	if in.node != nil {
		if in.node.Kind != ast.ListValue {
			return []input{in}
		}
		out := make([]input, len(in.node.Children))
		for i, child := range in.node.Children {
			out[i] = c.input(child.Value, fmt.Sprintf("%s[%d]", in.at, i))
		}
		return out
	}
	list, many := in.now.([]any)
	if !many {
		list = []any{in.now}
	}
	out := make([]input, len(list))
	for i, v := range list {
		at := fmt.Sprintf("%s[%d]", in.at, i)
		out[i] = input{binding: binding{variable: in.variable, path: in.path + strconv.Itoa(i) + "\x00"}, now: v, given: true, at: at}
	}
	return out
}

// plain makes lists and objects of variables []any and map[string]any: gqlgen
// makes typed slices out of some.
func plain(v any) any {
	switch v := v.(type) {
	case nil, string, bool, json.Number, int64, float64:
		return v
	case map[string]any:
		for key, inner := range v {
			v[key] = plain(inner)
		}
		return v
	case []any:
		for i, inner := range v {
			v[i] = plain(inner)
		}
		return v
	}
	rv := reflect.ValueOf(v)
	switch rv.Kind() {
	case reflect.Slice:
		out := make([]any, rv.Len())
		for i := range out {
			out[i] = plain(rv.Index(i).Interface())
		}
		return out
	case reflect.Int, reflect.Int32:
		return rv.Int()
	}
	return v
}

// shape is what of the variables decides the SQL: which are given, how objects
// and lists are nested, and values where the SQL has them in its text. Requests
// of one operation and one shape share a plan.
func shape(s *ast.Schema, op *ast.OperationDefinition, roles map[string]role, vars map[string]any) string {
	if len(op.VariableDefinitions) == 0 {
		return ""
	}
	var b strings.Builder
	for _, def := range op.VariableDefinitions {
		v, ok := vars[def.Variable]
		if !ok {
			b.WriteByte('-')
			continue
		}
		shapeOf(&b, s, def.Type, v, roles[def.Variable])
	}
	return b.String()
}

// role is what a variable is used for beyond being a value to compare with.
type role int

const (
	roleCursor   role = 1 << iota
	roleContains      // contains, for which SQL has two ways
	roleText          // the value is in the SQL's text, or decides what is asked for
)

func shapeOf(b *strings.Builder, s *ast.Schema, t *ast.Type, v any, r role) {
	if v == nil {
		b.WriteByte('n')
		return
	}
	if list, ok := v.([]any); ok && t.Elem != nil {
		if def := s.Types[t.Elem.Name()]; def != nil && def.Kind == ast.Scalar {
			b.WriteByte('l') // bound as one array
			return
		}
		b.WriteByte('[')
		for _, item := range list {
			shapeOf(b, s, t.Elem, item, 0)
		}
		b.WriteByte(']')
		return
	}
	def := s.Types[t.Name()]
	switch {
	case def == nil:
		b.WriteByte('?')
	case def.Kind == ast.InputObject:
		fields, _ := v.(map[string]any)
		b.WriteByte('{')
		for _, f := range def.Fields {
			inner, ok := fields[f.Name]
			if !ok {
				continue
			}
			r := role(0)
			switch f.Name {
			case "contains":
				r = roleContains
			case "isNull", "isEmpty":
				r = roleText
			}
			b.WriteString(f.Name + ":")
			shapeOf(b, s, f.Type, inner, r)
		}
		b.WriteByte('}')
	case def.Kind == ast.Enum, r&roleText != 0:
		fmt.Fprintf(b, "=%q;", fmt.Sprint(v))
	default:
		text, _ := v.(string)
		b.WriteByte('v')
		if r&roleCursor != 0 {
			b.WriteString(cursorShape(text))
		}
		if r&roleContains != 0 && foldsBeyondASCII(text) {
			b.WriteByte('u')
		}
	}
}

// findRoles looks at where variables are used.
func findRoles(doc *ast.QueryDocument, op *ast.OperationDefinition) map[string]role {
	roles := map[string]role{}
	var value func(name string, v *ast.Value)
	value = func(name string, v *ast.Value) {
		if v == nil {
			return
		}
		if v.Kind == ast.Variable {
			switch name {
			case "after", "before":
				roles[v.Raw] |= roleCursor
			case "contains":
				roles[v.Raw] |= roleContains
			case "first", "last", "limit", "if", "isNull", "isEmpty":
				roles[v.Raw] |= roleText
			}
		}
		for _, child := range v.Children {
			value(child.Name, child.Value)
		}
	}
	directives := func(list ast.DirectiveList) {
		for _, d := range list {
			for _, arg := range d.Arguments {
				value(arg.Name, arg.Value)
			}
		}
	}
	var selections func(set ast.SelectionSet)
	selections = func(set ast.SelectionSet) {
		for _, sel := range set {
			switch sel := sel.(type) {
			case *ast.Field:
				directives(sel.Directives)
				for _, arg := range sel.Arguments {
					value(arg.Name, arg.Value)
				}
				selections(sel.SelectionSet)
			case *ast.InlineFragment:
				directives(sel.Directives)
				selections(sel.SelectionSet)
			case *ast.FragmentSpread:
				directives(sel.Directives)
			}
		}
	}
	selections(op.SelectionSet)
	for _, fragment := range doc.Fragments {
		selections(fragment.SelectionSet)
	}
	return roles
}
