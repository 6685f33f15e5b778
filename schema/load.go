package schema

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bluesky-social/indigo/atproto/lexicon"
	"github.com/bluesky-social/indigo/atproto/syntax"
)

// maxLexiconBytes bounds one lexicon file. The largest published one is under
// 100 kB; the bound keeps a stray dump in the folder from filling memory.
const maxLexiconBytes = 4 << 20

// Catalog is a set of lexicons made ready for use. It is immutable and safe for
// concurrent use; a change of lexicons is a new Catalog.
type Catalog struct {
	Collections []*Collection // by NSID
	Lexicons    []Lexicon     // all that loaded, by NSID
	Problems    []Problem     // what did not, by file

	byNSID map[syntax.NSID]*Collection
	data   map[string]Type // each definition that data can have, by canonical ref
}

// Lexicon is one loaded lexicon file.
type Lexicon struct {
	NSID syntax.NSID
	File string
	JSON []byte // as on disk

	parsed lexicon.SchemaFile
}

// Problem is a fault in the lexicons that did not keep the rest from loading.
type Problem struct {
	File   string
	NSID   string // "" when the file does not tell
	Reason string
}

func (p Problem) String() string {
	if p.NSID == "" {
		return p.File + ": " + p.Reason
	}
	return fmt.Sprintf("%s: %s: %s", p.File, p.NSID, p.Reason)
}

// Load reads each `.json` file under dirs, nested by NSID (`com/example/thing.json`,
// at any depth) or flat (`com.example.thing.json`). Of two files with one id the
// first wins. An error means that a folder cannot be read; faults of single
// files are in [Catalog.Problems].
func Load(dirs ...string) (*Catalog, error) {
	l := loader{seen: map[syntax.NSID]string{}}
	for _, dir := range dirs {
		if err := l.walk(dir); err != nil {
			return nil, fmt.Errorf("lexicons folder %s: %w", dir, err)
		}
	}
	slices.SortFunc(l.lexicons, func(a, b Lexicon) int { return strings.Compare(a.NSID.String(), b.NSID.String()) })
	return compile(l.lexicons, l.problems), nil
}

type loader struct {
	lexicons []Lexicon
	problems []Problem
	seen     map[syntax.NSID]string // file by id
}

func (l *loader) walk(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("not a folder")
	}
	// The id is held against the absolute path, so that a folder inside the tree
	// (`--lexicons lexicons/com/myrecipes`) may be named, too.
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	return filepath.WalkDir(abs, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && file != abs && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if entry.IsDir() || filepath.Ext(file) != ".json" {
			return nil
		}
		shown := filepath.Join(dir, strings.TrimPrefix(file, abs))
		if nsid, err := l.file(file, shown); err != nil {
			l.problems = append(l.problems, Problem{File: shown, NSID: nsid, Reason: err.Error()})
		}
		return nil
	})
}

// file loads one lexicon. nsid is its id as far as it could be read.
func (l *loader) file(file, shown string) (nsid string, err error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	if info.Size() > maxLexiconBytes {
		return "", fmt.Errorf("file of %d bytes is over the maximum of %d", info.Size(), maxLexiconBytes)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	var head struct {
		ID      *string `json:"id"`
		Lexicon *int    `json:"lexicon"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return "", fmt.Errorf("no lexicon JSON: %w", err)
	}
	if head.ID == nil || head.Lexicon == nil {
		return "", fmt.Errorf("no lexicon: `lexicon` and `id` are required")
	}
	nsid = *head.ID
	id, err := syntax.ParseNSID(nsid)
	if err != nil {
		return nsid, fmt.Errorf("id %q is no NSID: %w", nsid, err)
	}
	if stem := strings.TrimSuffix(filepath.ToSlash(file), ".json"); !hasPath(stem, nsid) {
		return nsid, fmt.Errorf("id is not the file's path: expected .../%s.json or %s.json",
			strings.ReplaceAll(nsid, ".", "/"), nsid)
	}
	if first, dup := l.seen[id]; dup {
		return nsid, fmt.Errorf("already loaded from %s", first)
	}
	lex := Lexicon{NSID: id, File: shown, JSON: raw}
	if err := parseLexicon(raw, &lex.parsed); err != nil {
		return nsid, err
	}
	l.seen[id] = shown
	l.lexicons = append(l.lexicons, lex)
	return nsid, nil
}

// parseLexicon has indigo read and check a lexicon. The check consumes its
// value (union refs can be expanded only once), hence a value of its own.
func parseLexicon(raw []byte, into *lexicon.SchemaFile) error {
	if err := json.Unmarshal(raw, into); err != nil {
		return err
	}
	var checked lexicon.SchemaFile
	if err := json.Unmarshal(raw, &checked); err != nil {
		return err
	}
	return lexicon.NewBaseCatalog().AddSchemaFile(checked)
}

// hasPath says whether a file (slashes, no extension) is where an NSID belongs.
func hasPath(stem, nsid string) bool {
	if path.Base(stem) == nsid {
		return true
	}
	return strings.HasSuffix("/"+stem, "/"+strings.ReplaceAll(nsid, ".", "/"))
}

// Select is the catalog with only those collections that match a glob: an NSID
// in which `*` stands for any text. No globs select all. A glob that matches
// nothing is an error, since it is a typo more often than a wish.
func (c *Catalog) Select(globs ...string) (*Catalog, error) {
	if len(globs) == 0 {
		return c, nil
	}
	out := *c
	out.Collections, out.byNSID = nil, map[syntax.NSID]*Collection{}
	used := make([]bool, len(globs))
	for _, col := range c.Collections {
		selected := false
		for i, glob := range globs {
			ok, err := path.Match(glob, col.NSID.String())
			if err != nil {
				return nil, fmt.Errorf("collection glob %q: %w", glob, err)
			}
			if ok {
				used[i], selected = true, true
			}
		}
		if selected {
			out.Collections = append(out.Collections, col)
			out.byNSID[col.NSID] = col
		}
	}
	for i, glob := range globs {
		if !used[i] {
			return nil, fmt.Errorf("collection glob %q matches none of the %d record lexicons", glob, len(c.Collections))
		}
	}
	return &out, nil
}

// Collection finds a collection by its NSID; nil when the catalog has none.
func (c *Catalog) Collection(nsid syntax.NSID) *Collection { return c.byNSID[nsid] }
