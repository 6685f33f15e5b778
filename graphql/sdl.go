package graphql

import (
	"fmt"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"

	"github.com/atview/atview/schema"
)

// SDL is the schema that the API has for a catalog, as text. The same lexicons
// and joins give the same text.
func SDL(cat *schema.Catalog, cfg Config) string {
	var p printer
	for i, def := range newModel(cat, cfg).doc.Definitions {
		if i > 0 {
			p.WriteByte('\n')
		}
		p.definition(def)
	}
	return p.String()
}

// printer writes definitions. gqlparser's formatter does not escape what
// lexicons have in their descriptions.
type printer struct{ strings.Builder }

func (p *printer) definition(def *ast.Definition) {
	p.description("", def.Description)
	switch def.Kind {
	case ast.Scalar:
		fmt.Fprintf(p, "scalar %s\n", def.Name)
	case ast.Union:
		fmt.Fprintf(p, "union %s = %s\n", def.Name, strings.Join(def.Types, " | "))
	case ast.Enum:
		fmt.Fprintf(p, "enum %s {\n", def.Name)
		for _, value := range def.EnumValues {
			p.description("  ", value.Description)
			fmt.Fprintf(p, "  %s\n", value.Name)
		}
		p.WriteString("}\n")
	default:
		keyword := "type"
		if def.Kind == ast.InputObject {
			keyword = "input"
		}
		fmt.Fprintf(p, "%s %s {\n", keyword, def.Name)
		for _, f := range def.Fields {
			p.field(f)
		}
		p.WriteString("}\n")
	}
}

func (p *printer) field(f *ast.FieldDefinition) {
	p.description("  ", f.Description)
	p.WriteString("  " + f.Name)
	for i, arg := range f.Arguments {
		open := ", "
		if i == 0 {
			open = "("
		}
		p.WriteString(open + arg.Name + ": " + arg.Type.String())
		p.defaultValue(arg.DefaultValue)
	}
	if len(f.Arguments) > 0 {
		p.WriteByte(')')
	}
	p.WriteString(": " + f.Type.String())
	p.defaultValue(f.DefaultValue)
	p.WriteByte('\n')
}

func (p *printer) defaultValue(v *ast.Value) {
	if v != nil {
		p.WriteString(" = " + v.String())
	}
}

func (p *printer) description(indent, text string) {
	if text == "" {
		return
	}
	p.WriteString(indent + quoteGraphQL(text) + "\n")
}

// quoteGraphQL writes a string of the language, on one line.
func quoteGraphQL(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r < 0x20 || r == 0x7f || r == 0xFEFF:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
