// Package queries is the SQL over atview's fixed tables, as Go functions made by
// sqlc from the .sql files beside it (`make generate`). Queries over the tables
// of collections, whose shape only the lexicons know, are written by packages
// index and graphql.
package queries
