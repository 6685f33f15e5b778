package graphql

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"
)

// statement is SQL with its parameters.
type statement struct {
	sql    string
	params []param
	unused []param // of the request's, too: a bad value is one also where it has no effect
}

type param struct {
	binding
	key  string // what it is of the value, to use one parameter for one thing
	conv func(any) (any, error)
	at   string   // for messages
	path ast.Path // of the field
}

// finish numbers the parameters in the order of the SQL, and drops those of
// conditions that were found to be without effect: Postgres takes exactly the
// parameters that a statement has.
func (s *statement) finish() {
	var b strings.Builder
	var used []param
	numbers := map[string]int{}
	for i, part := range strings.Split(s.sql, "\x02") {
		if i%2 == 0 {
			b.WriteString(part)
			continue
		}
		if numbers[part] == 0 {
			at, _ := strconv.Atoi(part)
			used = append(used, s.params[at])
			numbers[part] = len(used)
		}
		fmt.Fprintf(&b, "$%d", numbers[part])
	}
	for i, p := range s.params {
		if numbers[strconv.Itoa(i)] == 0 {
			s.unused = append(s.unused, p)
		}
	}
	s.sql, s.params = b.String(), used
}

// bind gets the parameters' values of a request.
func (s *statement) bind(vars map[string]any) ([]any, *gqlerror.Error) {
	args := make([]any, len(s.params))
	for i, p := range s.params {
		v, _ := p.value(vars)
		arg, err := p.conv(v)
		if err != nil {
			return nil, badInput(p.path, p.at, err)
		}
		args[i] = arg
	}
	for _, p := range s.unused {
		v, _ := p.value(vars)
		if _, err := p.conv(v); err != nil {
			return nil, badInput(p.path, p.at, err)
		}
	}
	return args, nil
}

// param adds a parameter to the statement, or finds it there. The SQL has a
// mark, which [statement.finish] makes a number of.
func (c *compiler) param(in input, key, sqlType string, conv func(any) (any, error)) string {
	for i, p := range c.stmt.params {
		if p.binding == in.binding && p.key == key+" "+sqlType {
			return fmt.Sprintf("\x02%d\x02::%s", i, sqlType)
		}
	}
	path := append(ast.Path{}, c.path...)
	c.stmt.params = append(c.stmt.params, param{binding: in.binding, key: key + " " + sqlType, conv: conv, at: in.at, path: path})
	return fmt.Sprintf("\x02%d\x02::%s", len(c.stmt.params)-1, sqlType)
}
