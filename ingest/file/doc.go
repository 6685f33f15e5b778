// Package file reads events from a file of JSON lines, for tests, replays and
// imports.
//
// Place in the flow: a [source.Source], run by package ingest.
//
// A file is read from its start, always, and keeps no cursor: a file may be
// another one under the same name, and reading events again changes nothing,
// because the fold is idempotent. At the end the source ends, without error.
//
// It guarantees that each line is emitted, in order, whatever it holds: a line
// that is no event, or longer than [Config.MaxLine], is emitted as a reject and
// the next line is read. Empty lines are skipped. It leaves to package ingest
// what is wanted.
package file
