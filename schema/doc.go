// Package schema is the ground floor of atview: it turns a folder of lexicon
// files into a [Catalog] of collections, and a collection turns a record into
// a [Row].
//
// # Place in the flow
//
// Everything above reads the catalog and nothing below it exists: index makes
// tables out of [Collection.Columns] and fills them with [Collection.Row],
// graphql makes its types out of [Object] and [Union], ingest asks only which
// NSIDs there are. Every name that atview invents, in SQL or in GraphQL, is
// made here and nowhere else (names.go).
//
// # What it guarantees
//
//   - A lexicon file that is broken, refused by indigo's parser or not where its
//     id says becomes a [Problem] that names file and reason; the others load.
//   - A reference that nothing resolves degrades to JSON and is reported.
//   - The same files give the same catalog, names and fingerprints, whatever
//     their order on disk.
//   - [Collection.Row] never fails on odd data: what breaks the lexicon is
//     flagged with its path and reason and its column is null; what Postgres
//     cannot hold (U+0000, lone surrogates, endless numbers) is repaired and
//     flagged. Only text that is no JSON object at all, or is nested deeper than
//     any parser should go, is refused.
//
// A lexicon type is one file, type_NAME.go, with its column type, its GraphQL
// type and its decoding side by side.
//
// # What it leaves to others
//
// It does no I/O but reading the lexicon folders, knows no database and no
// network, and never resolves a lexicon that it was not given.
package schema
