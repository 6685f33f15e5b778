// Package migrations holds the fixed tables, in the Postgres schema `atview`,
// as numbered SQL files, and brings a database up to them.
//
// The tables of collections, in the schema `records`, are not migrated: they
// are planned from the lexicons by package index.
package migrations
