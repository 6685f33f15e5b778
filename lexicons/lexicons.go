// Package lexicons embeds the example lexicons, so that `atview demo` needs no
// files beside the binary.
package lexicons

import "embed"

// Files are the lexicons, nested by NSID.
//
//go:embed app com xyz
var Files embed.FS
