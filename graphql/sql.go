package graphql

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/atview/atview/schema"
)

// literalSQL makes a string of SQL. It is for what comes from lexicons; what
// users give are parameters.
func literalSQL(s string) string {
	s = strings.NewReplacer("\x00", "\uFFFD", "\x01", "\uFFFD", "\x02", "\uFFFD").Replace(s) // the compiler's marks, too
	if strings.Contains(s, `\`) {
		return `E'` + strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), "'", "''") + "'"
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}

func conjunction(all []string) string {
	if len(all) == 1 {
		return all[0]
	}
	out := make([]string, len(all))
	for i, one := range all {
		out[i] = parens(one)
	}
	return strings.Join(out, " and ")
}

func or(a, b string) string {
	switch "false" {
	case a:
		return b
	case b:
		return a
	}
	return a + " or " + b
}

func parens(condition string) string { return "(" + condition + ")" }

// uriSQL is a record's AT-URI.
func uriSQL(alias string, col *schema.Collection) string {
	return fmt.Sprintf("'at://' || %s.did || %s || %s.rkey", alias, literalSQL("/"+col.NSID.String()+"/"), alias)
}

// Values in records as SQL. What is not of the type is null, as it is in a
// column.

func textSQL(at string) string {
	return fmt.Sprintf(`case when jsonb_typeof(%s) = 'string' then (%s) #>> '{}' end collate "C"`, at, at)
}

func booleanSQL(at string) string {
	return fmt.Sprintf("case when jsonb_typeof(%s) = 'boolean' then (%s)::boolean end", at, at)
}

// longSQL leaves fractions and what passes 64 bits out.
func longSQL(at string) string {
	return fmt.Sprintf("case when jsonb_typeof(%s) = 'number' and (%s)::numeric %% 1 = 0 and abs((%s)::numeric) < 9223372036854775808 then (%s)::bigint end", at, at, at, at)
}

// timePattern is what Postgres surely reads as the same moment as we do: a
// value that it refused would fail the whole request.
const timePattern = `^(?!0000)(\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8]))` +
	`|(\d\d(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)` +
	`T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,20})?(Z|[+-](0\d|1[0-4]):[0-5]\d)$`

func timeSQL(at string) string {
	return fmt.Sprintf("case when jsonb_typeof(%s) = 'string' and (%s) #>> '{}' ~ %s then date_trunc('microseconds', ((%s) #>> '{}')::timestamptz) end",
		at, at, literalSQL(timePattern), at)
}

// jsonPath is a jsonpath that leads through the properties; `[*]` is every
// element of an array.
func jsonPath(steps []string) string {
	var b strings.Builder
	b.WriteString("lax $")
	for _, step := range steps {
		if step == "[*]" {
			b.WriteString(step)
			continue
		}
		name, _ := json.Marshal(step) //nolint:errchkjson // strings always marshal
		b.WriteString("." + string(name))
	}
	return literalSQL(b.String())
}
