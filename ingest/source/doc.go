// Package source is what every upstream looks like to the rest of ingest: a
// [Source] that emits [Line]s, and the [Collections] that are wanted of it.
//
// Place in the flow: the sub-packages of ingest that read an upstream implement
// Source, package ingest runs them. It stands apart from both so that neither
// imports the other in a circle.
//
// It guarantees nothing and starts nothing; it is types and one matcher.
package source
