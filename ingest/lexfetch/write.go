package lexfetch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"reflect"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// State is what became of a lexicon's file.
type State string

// The states of a file.
const (
	Added   State = "added"
	Same    State = "same"    // there already, and says the same
	Changed State = "changed" // replaced what said something else
	Differs State = "differs" // says something else, and was left alone
	Failed  State = "failed"
)

// Written is what became of a lexicon's file.
type Written struct {
	Lexicon Lexicon
	// Path is below the folder, with slashes.
	Path  string
	State State
	Err   error // of Failed
}

// Path is where the file of a lexicon is, below the folder of lexicons:
// app/bsky/feed/post.json.
func Path(nsid syntax.NSID) string {
	return strings.ReplaceAll(string(nsid.Normalize()), ".", "/") + ".json"
}

// Write writes lexicons to files below a folder, which is made if need be. A file
// that says something else than the lexicon is left alone unless force is set. It
// fails if the folder cannot be used; what happens to each file is in the result.
// Two lexicons that say the same are not compared by their text, so a file may be
// formatted and ordered as one likes.
func Write(dir string, lexicons []Lexicon, force bool) ([]Written, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("folder for lexicons: %w", err)
	}
	// A root refuses what leads out of it, symbolic links included.
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("folder for lexicons: %w", err)
	}
	defer root.Close()
	out := make([]Written, len(lexicons))
	for i, lex := range lexicons {
		w := Written{Lexicon: lex, Path: Path(lex.NSID)}
		if w.State, w.Err = write(root, w.Path, lex, force); w.Err != nil {
			w.State = Failed
		}
		out[i] = w
	}
	return out, nil
}

// maxFile bounds what is read of a file that is there: what is larger is none that
// was written here.
const maxFile = 16 << 20

func write(root *os.Root, name string, lex Lexicon, force bool) (State, error) {
	// Whoever made the Lexicon may not be Fetch.
	if _, err := syntax.ParseNSID(string(lex.NSID)); err != nil {
		return Failed, err
	}
	state := Added
	info, err := root.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return Failed, err
	case !info.Mode().IsRegular():
		return Failed, fmt.Errorf("%s is no file", name)
	default:
		state = Changed
		if info.Size() <= maxFile {
			old, err := root.ReadFile(name)
			if err != nil {
				return Failed, err
			}
			if same(old, lex.JSON) {
				return Same, nil
			}
		}
		if !force {
			return Differs, nil
		}
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return Failed, err
	}
	// By a name that no reader of lexicons takes, until it is whole.
	tmp := fmt.Sprintf("%s.%d.tmp", name, os.Getpid())
	if err := writeFile(root, tmp, lex.JSON); err != nil {
		return Failed, errors.Join(err, ignoreMissing(root.Remove(tmp)))
	}
	if err := root.Rename(tmp, name); err != nil {
		return Failed, errors.Join(err, ignoreMissing(root.Remove(tmp)))
	}
	return state, nil
}

func writeFile(root *os.Root, name string, data []byte) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// same reports whether two lexicons say the same. The $type is the record's.
func same(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	var x, y map[string]any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	delete(x, "$type")
	delete(y, "$type")
	return reflect.DeepEqual(x, y)
}
