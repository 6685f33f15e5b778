// Package graphql answers GraphQL over the collections' tables.
//
// # Place in the flow
//
// The catalog of lexicons becomes a GraphQL schema at run time ([SDL]): no
// code is generated and nothing is restarted. An operation is compiled to SQL,
// one statement for each field of Query, whatever it nests: the row mode. Flat
// rows of text come back and a row program, compiled along with the SQL,
// writes the answer's JSON out of them. [API.Swap] exchanges all of it for
// another catalog while requests are running.
//
//	operation ─▶ gqlgen: parse, validate ─▶ compile (pure) ─▶ plan cache
//	                                                              │
//	answer ◀─ row program ◀─ rows of text ◀─ Postgres ◀─ bind variables
//
// # What it guarantees
//
//   - Values are parameters of the SQL and names are quoted; the only numbers
//     in its text are limits, checked before.
//   - A request is bounded in size, tokens, depth, cost (rows that it may
//     read), page size and time ([Config]), and reads in read-only
//     transactions ([PoolConfig]).
//   - Records of accounts that are not active are in no list, count, group or
//     join.
//   - The aggregate of a list comes with the list, in its statement. Groups are
//     bounded in number and keys; that all records are read for them is left to
//     the time that a statement may take.
//   - A value of a record that does not fit its lexicon type is null, or left
//     out of its list; it never fails the request.
//   - Keyset cursors: a page neither repeats nor skips a record that was there
//     all along, whatever is written in between.
//   - An error never shows SQL or a message of the database.
//
// # What it leaves to others
//
// Who may ask (a proxy), and how fresh the tables are (index). Names come from
// schema, all of them.
package graphql
