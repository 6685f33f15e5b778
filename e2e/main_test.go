package e2e

import (
	"context"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var (
	atviewFlag = flag.String("atview", "", "atview `binary` to test (default: built from this checkout)")
	seedFlag   = flag.Uint64("seed", 1, "seed of the random moments, and of the simulated network")
	killsFlag  = flag.Int("kills", 3, "how often TestJetstreamKilled kills each of atview and Jetstream")
	rateFlag   = flag.Int("rate", 100, "commits that the simulated network makes each second")
)

func TestMain(m *testing.M) {
	flag.Parse()
	// A logger that reading repositories with indigo brings along starts this.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/ipfs/go-log/writer.(*MirrorWriter).logRoutine"))
}

// cacheDir keeps what is slow to make: the peers' binaries and npm's packages.
func cacheDir(t testing.TB) string {
	t.Helper()
	dir, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(dir, "atview", "e2e")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// peer builds one of the tools of go.mod. Go knows whether there is something
// to do, so a second run takes a moment.
func peer(t testing.TB, pkg string) string {
	t.Helper()
	path := filepath.Join(cacheDir(t), "bin", filepath.Base(pkg))
	goBuild(t, nil, ".", path, pkg)
	return path
}

// atviewBinary is the one to test. The flags of the build are the Makefile's, so
// that the compiler's cache serves both.
var atviewBinary = struct {
	sync.Once
	path string
}{}

func buildAtview(t testing.TB) string {
	t.Helper()
	if *atviewFlag != "" {
		path, err := filepath.Abs(*atviewFlag)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	atviewBinary.Do(func() {
		path := filepath.Join(cacheDir(t), "bin", "atview")
		goBuild(t, []string{"CGO_ENABLED=0"}, "..", path, "-trimpath", "./cmd/atview")
		atviewBinary.path = path
	})
	if atviewBinary.path == "" {
		t.Fatal("atview was not built")
	}
	return atviewBinary.path
}

func goBuild(t testing.TB, env []string, dir, out string, args ...string) {
	t.Helper()
	// Minutes on two cores when nothing is cached, the relay above all.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	began := time.Now()
	cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-buildvcs=false", "-o", out}, args...)...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", filepath.Base(out), err, text)
	}
	t.Logf("%s built in %s", filepath.Base(out), time.Since(began).Round(100*time.Millisecond))
}
