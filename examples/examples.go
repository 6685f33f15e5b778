// Package examples holds what `atview demo` starts with: sample records of the
// lexicons under lexicons/, and queries over them.
//
// records.jsonl is generated from gen/kitchen.yaml, by `go run ./examples/gen`
// at the top of the repository. All people, DIDs and handles in it are made up.
package examples

import (
	"embed"
	"io/fs"
	"path"
)

// Records are events as Jetstream sends them, one JSON object a line, in the
// order of their time: identities, accounts, and commits with records.
//
//go:embed records.jsonl
var Records []byte

//go:embed queries
var queries embed.FS

// Queries returns GraphQL operations that the sample records have answers to,
// the one to look at first being the first.
func Queries() []string {
	const dir = "queries"
	entries, err := fs.ReadDir(queries, dir)
	if err != nil {
		panic("examples: embedded queries: " + err.Error()) // the binary was built wrongly
	}
	var texts []string
	for _, entry := range entries {
		text, err := fs.ReadFile(queries, path.Join(dir, entry.Name()))
		if err != nil {
			panic("examples: embedded queries: " + err.Error())
		}
		texts = append(texts, string(text))
	}
	return texts
}
