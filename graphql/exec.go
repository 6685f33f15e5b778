package graphql

import (
	"context"
	"errors"
	"fmt"
	"time"

	gql "github.com/99designs/gqlgen/graphql"
	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/atview/atview/schema"
)

// executor runs operations on one model. It is an ExecutableSchema, as
// gqlgen's server wants it.
type executor struct {
	model *model
	cfg   *Config
	db    *pgxpool.Pool
	plans *lru.Cache[planKey, *plan]
	roles *lru.Cache[string, map[string]role]
	texts *lru.Cache[planKey, []byte] // answers to introspection
}

type planKey struct{ query, operation, shape string }

const (
	// maxPlans bounds the plan cache: operations times shapes.
	maxPlans = 2000
	// maxCachedQuery bounds, in bytes, the text of an operation that caches keep.
	// A longer one is rare, and a few thousand of a megabyte would fill memory.
	maxCachedQuery = 16 << 10
	// maxIntrospections bounds the answers kept; one can have megabytes.
	maxIntrospections = 4
)

func newExecutor(m *model, cfg *Config, db *pgxpool.Pool) (*executor, error) {
	e := &executor{model: m, cfg: cfg, db: db}
	var err error
	if e.plans, err = lru.New[planKey, *plan](maxPlans); err != nil {
		return nil, err
	}
	if e.roles, err = lru.New[string, map[string]role](maxPlans); err != nil {
		return nil, err
	}
	e.texts, err = lru.New[planKey, []byte](maxIntrospections)
	return e, err
}

// Schema is part of gqlgen's interface.
func (e *executor) Schema() *ast.Schema { return e.model.schema }

// Complexity is part of gqlgen's interface. Our cost is counted by the
// compiler.
func (e *executor) Complexity(context.Context, string, string, int, map[string]any) (int, bool) {
	return 0, false
}

// ExtensionName is part of gqlgen's interface.
func (e *executor) ExtensionName() string { return "atview" }

// Validate is part of gqlgen's interface.
func (e *executor) Validate(gql.ExecutableSchema) error { return nil }

const runKey = "atview"

// run is a request that is ready to be run.
type run struct {
	plan *plan
	key  planKey
	vars map[string]any
	args [][2][]any // by field of the plan: of its rows and of its extra statement
}

// MutateOperationContext prepares a request. What it refuses is an error of
// the request: nothing of it has been run.
func (e *executor) MutateOperationContext(_ context.Context, op *gql.OperationContext) *gqlerror.Error {
	op.DisableIntrospection = e.cfg.NoIntrospection
	r, err := e.prepare(op)
	if err != nil {
		return err
	}
	op.Stats.SetExtension(runKey, r)
	return nil
}

func (e *executor) prepare(op *gql.OperationContext) (*run, *gqlerror.Error) {
	r := &run{vars: op.Variables}
	for name, v := range r.vars {
		r.vars[name] = plain(v)
	}
	roles, known := e.roles.Get(op.RawQuery)
	if !known && len(op.Operation.VariableDefinitions) > 0 {
		roles = findRoles(op.Doc, op.Operation)
	}
	r.key = planKey{op.RawQuery, op.Operation.Name, shape(e.model.schema, op.Operation, roles, r.vars)}
	r.plan, known = e.plans.Get(r.key)
	if !known {
		var err *gqlerror.Error
		if r.plan, err = compile(e.model, e.cfg, op.Doc, op.Operation, r.vars); err != nil {
			return nil, err
		}
		if len(op.RawQuery)+len(r.key.shape) <= maxCachedQuery {
			e.roles.Add(op.RawQuery, roles)
			e.plans.Add(r.key, r.plan)
		}
	}
	r.args = make([][2][]any, len(r.plan.fields))
	for i, f := range r.plan.fields {
		for n, stmt := range []*statement{f.rows, f.extra} {
			if stmt == nil {
				continue
			}
			args, err := stmt.bind(r.vars)
			if err != nil {
				return nil, err
			}
			r.args[i][n] = args
		}
	}
	return r, nil
}

// Exec answers within the handler it returns, once: an error added before
// would make gqlgen throw the data away, and streaming transports ask until
// there is no answer.
func (e *executor) Exec(ctx context.Context) gql.ResponseHandler {
	op := gql.GetOperationContext(ctx)
	r, _ := op.Stats.GetExtension(runKey).(*run)
	done := false
	return func(ctx context.Context) *gql.Response {
		if done || r == nil {
			return nil
		}
		done = true
		data, errs := e.answer(ctx, op, r)
		return &gql.Response{Data: data, Errors: errs}
	}
}

// result is what the statements of a field have given.
type result struct {
	rows  []row
	extra *row
	errs  [2]error // of its rows and of its extra statement
}

func (e *executor) answer(ctx context.Context, op *gql.OperationContext, r *run) ([]byte, gqlerror.List) {
	var errs gqlerror.List
	results := e.read(ctx, r)
	w := writer{buf: make([]byte, 0, 4096), max: e.cfg.MaxAnswer, vars: r.vars}
	w.buf = append(w.buf, '{')
	for i, f := range r.plan.fields {
		if i > 0 {
			w.buf = append(w.buf, ',')
		}
		w.str(fieldKey(f.key))
		if n, ok := f.node.(rootIntrospection); ok {
			if err := e.introspect(&w, op, r, n.field); err != nil {
				errs = append(errs, err)
				if f.nonNull {
					return []byte("null"), errs
				}
			}
			continue
		}
		res := results[i]
		path := ast.Path{ast.PathName(f.key)}
		if err := res.errs[0]; err != nil {
			errs = append(errs, e.present(path, err))
			if f.nonNull {
				return []byte("null"), errs
			}
			w.null()
			continue
		}
		if err := res.errs[1]; err != nil {
			// The count is what takes long; the records are here.
			c, _ := f.node.(rootConnection)
			beside, pages := c.besideRows(), c.previous >= 0 || c.next >= 0
			if pages || len(beside) == 0 {
				errs = append(errs, e.present(path, err))
				return []byte("null"), errs // hasNextPage cannot be null, nor what it is part of
			}
			for _, key := range beside {
				errs = append(errs, e.present(ast.Path{path[0], ast.PathName(key)}, err))
			}
		}
		f.node.write(&w, res.rows, res.extra)
	}
	if w.full() {
		return []byte("null"), append(errs, e.present(nil, errTooLarge))
	}
	w.buf = append(w.buf, '}')
	if err := e.settle(ctx, &w); err != nil {
		return []byte("null"), append(errs, e.present(nil, err))
	}
	return w.buf, errs
}

// settle finds out which of the answer's pending records are there, with one
// statement for each of their collections and one round trip.
func (e *executor) settle(ctx context.Context, w *writer) error {
	if len(w.pending) == 0 {
		return nil
	}
	type keys struct{ rkeys, dids []string }
	wanted := map[*schema.Collection]*keys{}
	var order []*schema.Collection
	for _, p := range w.pending {
		k := wanted[p.col]
		if k == nil {
			k = &keys{}
			wanted[p.col] = k
			order = append(order, p.col)
		}
		k.rkeys, k.dids = append(k.rkeys, p.rkey), append(k.dids, p.did)
	}
	batch := &pgx.Batch{}
	for _, col := range order {
		batch.Queue(fmt.Sprintf("select t.rkey, t.did from %s t where (t.rkey, t.did) in (select * from unnest($1::text[], $2::text[])) and not t.hidden",
			tableSQL(col)), wanted[col].rkeys, wanted[col].dids)
	}
	ctx, cancel := context.WithTimeout(ctx, e.cfg.Timeout+time.Second/2)
	defer cancel()
	found, left := map[[3]string]bool{}, e.cfg.MaxAnswer
	sent := e.db.SendBatch(ctx, batch)
	for _, col := range order {
		rows, err := sent.Query()
		if err == nil {
			var read []row
			if read, err = readRows(rows, &left); err == nil {
				for _, r := range read {
					found[[3]string{col.Table, string(r.slots[0]), string(r.slots[1])}] = true
				}
			}
		}
		if err != nil {
			_ = sent.Close() // its error is this one
			return err
		}
	}
	if err := sent.Close(); err != nil {
		return err
	}
	w.settle(func(p pending) bool { return found[[3]string{p.col.Table, p.rkey, p.did}] })
	return nil
}

// besideRows are the response keys of what is read beside the rows, and may be
// null.
func (n *connection) besideRows() []string {
	if n == nil {
		return nil
	}
	var out []string
	for i, node := range n.nodes {
		switch node.(type) {
		case connectionTotal, connectionAggregate:
			out = append(out, n.keys[i][1:len(n.keys[i])-2])
		}
	}
	return out
}

func (e *executor) present(path ast.Path, err error) *gqlerror.Error {
	out, told := presentDatabase(path, err)
	if !told {
		e.cfg.Log.Error().Err(err).Str("path", path.String()).Msg("query failed")
	}
	return out
}

// read runs all statements of a request, in one round trip unless one fails:
// Postgres gives up a batch at its first error, and what comes after it is
// asked for again.
func (e *executor) read(ctx context.Context, r *run) []result {
	type job struct {
		field, n int
		sql      string
		args     []any
	}
	var jobs []job
	for i, f := range r.plan.fields {
		if f.rows != nil {
			jobs = append(jobs, job{i, 0, f.rows.sql, r.args[i][0]})
		}
		if f.extra != nil {
			jobs = append(jobs, job{i, 1, f.extra.sql, r.args[i][1]})
		}
	}
	results, left := make([]result, len(r.plan.fields)), e.cfg.MaxAnswer
	if len(jobs) == 0 {
		return results
	}
	// A little more than a statement may take, so that Postgres says it first.
	ctx, cancel := context.WithTimeout(ctx, e.cfg.Timeout+time.Second/2)
	defer cancel()
	put := func(j job, rows []row, err error) {
		res := &results[j.field]
		res.errs[j.n] = err
		switch {
		case j.n == 0:
			res.rows = rows
		case len(rows) > 0:
			res.extra = &rows[0]
		}
	}
	conn, err := e.db.Acquire(ctx)
	if err != nil {
		for _, j := range jobs {
			put(j, nil, err)
		}
		return results
	}
	defer conn.Release()
	alone := func(j job) {
		rows, err := conn.Query(ctx, j.sql, j.args...)
		var read []row
		if err == nil {
			read, err = readRows(rows, &left)
		}
		put(j, read, err)
	}
	for len(jobs) > 1 && left >= 0 {
		batch := &pgx.Batch{}
		for _, j := range jobs {
			batch.Queue(j.sql, j.args...)
		}
		sent := conn.SendBatch(ctx, batch)
		done, failed := 0, false
		for _, j := range jobs {
			rows, err := sent.Query()
			var read []row
			if err == nil {
				read, err = readRows(rows, &left)
			}
			if left < 0 {
				cancel() // the rest of it is still on its way
			}
			if failed = err != nil; failed {
				put(j, nil, err)
				break
			}
			put(j, read, nil)
			done++
		}
		_ = sent.Close() // its error is that of the statement above
		if failed {
			// All statements are prepared before the first is run, so an error at the
			// first may be another's.
			if done == 0 && left >= 0 {
				alone(jobs[0])
			}
			done++
		}
		jobs = jobs[done:]
	}
	for _, j := range jobs {
		if left < 0 {
			put(j, nil, errTooLarge)
			continue
		}
		alone(j)
	}
	return results
}

// errTooLarge is returned for rows that are over Config.MaxAnswer together.
var errTooLarge = errors.New("the answer is too large")

// readRows copies rows out of the connection's buffer, which the next read
// overwrites. left is how many bytes a request may still read.
func readRows(rows pgx.Rows, left *int) ([]row, error) {
	var out []row
	var arena []byte
	for rows.Next() {
		raw := rows.RawValues()
		size := 0
		for _, v := range raw {
			size += len(v)
		}
		if *left -= size; *left < 0 {
			return nil, errTooLarge // without Close, which would read all the rest
		}
		if cap(arena)-len(arena) < size {
			arena = make([]byte, 0, max(size, min(4*cap(arena), 64<<10)))
		}
		slots := make([][]byte, len(raw))
		for i, v := range raw {
			if v != nil {
				start := len(arena)
				arena = append(arena, v...)
				slots[i] = arena[start:len(arena):len(arena)]
			}
		}
		out = append(out, row{slots: slots})
	}
	rows.Close()
	return out, rows.Err()
}
