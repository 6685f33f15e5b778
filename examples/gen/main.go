// Command gen writes examples/records.jsonl from kitchen.yaml, as the network
// would have sent it: events in order of their time, record keys and revisions
// from that time, CIDs that are those of the records. The same source gives the
// same file.
//
//	go run ./examples/gen [-o FILE]
package main

import (
	_ "embed"
	"flag"
	"fmt"
	"os"
)

//go:embed kitchen.yaml
var source []byte

func main() {
	out := flag.String("o", "examples/records.jsonl", "file to write")
	flag.Parse()
	lines, err := generate(source)
	if err == nil {
		err = os.WriteFile(*out, lines, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}
