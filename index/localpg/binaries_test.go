package localpg

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBinaries(t *testing.T) {
	t.Parallel()
	all := []string{"postgres", "initdb", "pg_ctl"}

	// versions finds what there is in the folders.
	versions := func(t *testing.T, dirs ...string) ([]string, search) {
		t.Helper()
		found, look := find(t.Context(), Config{Search: dirs, FetchDir: folder(t)}, currentAccount())
		var list []string
		for _, bin := range found {
			list = append(list, bin.Version)
		}
		return list, look
	}

	t.Run("OnThisMachine", func(t *testing.T) {
		t.Parallel()
		bin, err := FindBinaries(t.Context(), Config{})
		if err != nil {
			t.Fatal(err)
		}
		if bin.Major < minMajor || !strings.HasPrefix(bin.Version, itoa(bin.Major)) || !isProgram(filepath.Join(bin.Dir, "initdb")) {
			t.Errorf("found %+v", bin)
		}
	})

	t.Run("InTheOrderGiven", func(t *testing.T) {
		t.Parallel()
		a, b := fakeBin(t, "16.1", all...), fakeBin(t, "17.2", all...)
		if got, _ := versions(t, a, b, a); strings.Join(got, " ") != "16.1 17.2" {
			t.Errorf("found %v", got)
		}
	})

	t.Run("UnusableAreSkippedWithTheReason", func(t *testing.T) {
		t.Parallel()
		old, lone := fakeBin(t, "13.9", all...), fakeBin(t, "16.3", "postgres")
		broken := fakeBin(t, "16.4", all...)
		if err := os.WriteFile(filepath.Join(broken, "postgres"), []byte("#!/bin/sh\necho libx.so: cannot open >&2\nexit 127\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		got, look := versions(t, old, lone, broken, fakeBin(t, "18beta1", all...), filepath.Join(old, "nowhere"))
		if strings.Join(got, " ") != "18beta1" {
			t.Errorf("found %v", got)
		}
		if len(look.skipped) != 3 {
			t.Fatalf("skipped %v", look.skipped)
		}
		for i, want := range []string{"too old", "no program initdb", "libx.so: cannot open"} {
			if !strings.Contains(look.skipped[i].reason, want) {
				t.Errorf("reason %q does not say %q", look.skipped[i].reason, want)
			}
		}
	})

	t.Run("LinkOnPathLeadsToTheSiblings", func(t *testing.T) {
		t.Parallel()
		real, path := fakeBin(t, "16.5", all...), filepath.Dir(folder(t))
		if err := os.Symlink(filepath.Join(real, "postgres"), filepath.Join(path, "postgres")); err != nil {
			t.Fatal(err)
		}
		if got, look := versions(t, path); strings.Join(got, " ") != "16.5" {
			t.Errorf("found %v, skipped %v", got, look.skipped)
		}
	})

	t.Run("HighestVersionFirst", func(t *testing.T) {
		t.Parallel()
		top := t.TempDir()
		for _, v := range []string{"9.6", "14", "9", "100", "17"} {
			if err := os.MkdirAll(filepath.Join(top, v, "bin"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		for _, dir := range glob(filepath.Join(top, "*", "bin")) {
			got = append(got, filepath.Base(filepath.Dir(dir)))
		}
		if strings.Join(got, " ") != "100 17 14 9.6 9" {
			t.Errorf("order is %v", got)
		}
	})

	t.Run("NoneSaysWhereAndHow", func(t *testing.T) {
		t.Parallel()
		old := fakeBin(t, "13.9", all...)
		_, err := Start(t.Context(), quick(t, Config{Dir: folder(t), Search: []string{old}, FetchDir: folder(t)}))
		if !errors.Is(err, ErrNoBinaries) {
			t.Fatalf("got %v, want ErrNoBinaries", err)
		}
		for _, want := range []string{old, "13.9 is too old", "apt-get install", "dnf install", "brew install", "ATVIEW_POSTGRES_BIN"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("error does not say %q:\n%v", want, err)
			}
		}
	})

	t.Run("OtherMajorVersionIsRefused", func(t *testing.T) {
		t.Parallel()
		dir := folder(t)
		s := start(t, Config{Dir: dir})
		stop(t, s)
		put(t, filepath.Join(s.cluster, "PG_VERSION"), "99\n")
		_, err := Start(t.Context(), quick(t, Config{Dir: dir}))
		if !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), "99") || !strings.Contains(err.Error(), s.bin.Version) {
			t.Errorf("got %v, want ErrVersion with both versions", err)
		}
		// Put right, it starts as if nothing had been.
		put(t, filepath.Join(s.cluster, "PG_VERSION"), itoa(s.bin.Major)+"\n")
		if err := s.user.own(filepath.Join(s.cluster, "PG_VERSION")); err != nil {
			t.Fatal(err)
		}
		connect(t, start(t, Config{Dir: dir}))
	})

	t.Run("RightMajorVersionIsPreferred", func(t *testing.T) {
		t.Parallel()
		dir := folder(t)
		s := start(t, Config{Dir: dir})
		stop(t, s)
		newer := fakeBin(t, "99.1", all...)
		again := start(t, Config{Dir: dir, Search: []string{newer, s.bin.Dir}})
		if again.bin.Dir != s.bin.Dir {
			t.Errorf("it runs from %s", again.bin.Dir)
		}
	})
}

// TestEnvironment cannot run in parallel: it sets the variable.
func TestEnvironment(t *testing.T) {
	good := fakeBin(t, "16.6", "postgres", "initdb", "pg_ctl")
	t.Setenv("ATVIEW_POSTGRES_BIN", good)
	if bin, err := FindBinaries(context.Background(), Config{Search: []string{fakeBin(t, "17.1", "postgres", "initdb", "pg_ctl")}}); err != nil || bin.Version != "16.6" {
		t.Errorf("found %+v, %v; want the one of the variable", bin, err)
	}

	bad := filepath.Join(good, "nowhere")
	t.Setenv("ATVIEW_POSTGRES_BIN", bad)
	_, err := FindBinaries(context.Background(), Config{})
	if !errors.Is(err, ErrNoBinaries) || !strings.Contains(err.Error(), "ATVIEW_POSTGRES_BIN="+bad) || strings.Contains(err.Error(), "apt-get") {
		t.Errorf("got %v, want an error about the variable alone", err)
	}
}
