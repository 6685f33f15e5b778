package localpg

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rs/zerolog"
)

// prepareCluster makes the data directory ready to be started: created if
// missing, with password, port and settings.
func (s *Server) prepareCluster(ctx context.Context, step *stepLog) error {
	major, err := clusterMajor(s.cluster)
	if err != nil {
		return err
	}
	if major != 0 && filepath.Dir(s.cluster) != s.cfg.Dir {
		if _, err := os.Stat(filepath.Join(s.cfg.Dir, "cluster.path")); errors.Is(err, fs.ErrNotExist) {
			// The data folder that this cluster belonged to is gone, and one of
			// the same name begins anew. One predecessor is kept, for regrets.
			if err := s.setAside(); err != nil {
				return err
			}
			major = 0
		}
	}
	if major == 0 {
		if err := s.createCluster(ctx); err != nil {
			return fmt.Errorf("create cluster in %s: %w", s.cluster, err)
		}
		s.fresh = true
		step.done("created the cluster", func(e *zerolog.Event) { e.Str("user", s.user.name) })
	}
	if err := recordPlace(s.cfg.Dir, s.cluster); err != nil {
		return fmt.Errorf("place of the cluster: %w", err)
	}
	if err := s.loadPassword(ctx); err != nil {
		return err
	}
	return s.loadPort()
}

func (s *Server) setAside() error {
	aside := s.cluster + ".removed"
	s.log.Warn().Str("cluster", s.cluster).Str("kept_as", aside).
		Msg("the data folder of an older cluster is gone; the cluster is set aside")
	if err := os.RemoveAll(aside); err != nil {
		return fmt.Errorf("older cluster: %w", err)
	}
	if err := os.Rename(s.cluster, aside); err != nil {
		return fmt.Errorf("older cluster: %w", err)
	}
	return nil
}

// clusterMajor is the major version of Postgres that made the cluster, and 0
// if there is no cluster.
func clusterMajor(cluster string) (int, error) {
	text, err := os.ReadFile(filepath.Join(cluster, "PG_VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		// A cluster is moved into place complete, so a folder without a
		// version is none of ours, and not ours to overwrite.
		if entries, err := os.ReadDir(cluster); err == nil && len(entries) > 0 {
			return 0, fmt.Errorf("cluster %s: the folder is not empty and has no PG_VERSION: not a Postgres cluster; move it away", cluster)
		}
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("version of the cluster: %w", err)
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("version of the cluster %s: %w", cluster, err)
	}
	return major, nil
}

// createCluster fills s.cluster and the password file, by initdb or from the
// template.
func (s *Server) createCluster(ctx context.Context) error {
	parent := filepath.Dir(s.cluster)
	if err := removeUnfinished(parent); err != nil {
		return err
	}
	staging, err := os.MkdirTemp(parent, "new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(staging) // what a failure left; after success it is empty

	from := ""
	if s.cfg.Template != "" {
		if from, err = s.template(ctx); err != nil {
			return fmt.Errorf("template: %w", err)
		}
	}
	if from != "" {
		err = s.copyCluster(from, staging)
	} else {
		err = s.initialise(ctx, staging)
	}
	if err != nil {
		return err
	}
	// The password goes first: without a cluster it is overwritten by the next
	// try, whereas a cluster without its password would have to be broken into.
	if err := os.Rename(filepath.Join(staging, "password"), s.passwordFile()); err != nil {
		return err
	}
	return os.Rename(filepath.Join(staging, "cluster"), s.cluster)
}

// removeUnfinished clears away what a process left that was killed while it
// made something. The caller holds the lock of dir.
func removeUnfinished(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, "new-*"))
	if err != nil {
		return err
	}
	for _, path := range left {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return nil
}

// initialise makes dir/cluster and dir/password.
func (s *Server) initialise(ctx context.Context, dir string) error {
	password := rand.Text() // 130 bits
	if err := writeFile(filepath.Join(dir, "password"), password+"\n"); err != nil {
		return err
	}
	if err := os.Chmod(dir, dirMode()); err != nil {
		return err
	}
	cluster := filepath.Join(dir, "cluster")
	if err := os.Mkdir(cluster, 0o700); err != nil {
		return err
	}
	if err := s.user.own(cluster); err != nil {
		return err
	}
	// A copy for initdb, which runs as another user than the owner of the file
	// proper when we are root.
	copied := filepath.Join(dir, "pw")
	if err := writeFile(copied, password+"\n"); err != nil {
		return err
	}
	defer os.Remove(copied)
	if err := s.user.own(copied); err != nil {
		return err
	}

	args := []string{
		"--pgdata=" + cluster, "--username=" + Name, "--pwfile=" + copied,
		"--encoding=UTF8", "--auth=scram-sha-256", "--no-instructions",
	}
	if s.cfg.Fast {
		// Segments of 16 MB, the default, are half of what a copy copies.
		args = append(args, "--no-sync", "--wal-segsize=4")
	}
	var out []byte
	var err error
	for _, locale := range locales(s.bin.Major) {
		cmd := s.user.command(ctx, s.bin, "initdb", append(args, locale...)...)
		if out, err = cmd.CombinedOutput(); err == nil {
			break
		}
		if !bytes.Contains(out, []byte("locale")) {
			break
		}
		// initdb has removed what it made, but not the folder it was given.
	}
	if err != nil {
		if bytes.Contains(out, []byte("could not look up effective user ID")) {
			err = fmt.Errorf("%w (Postgres wants its user to have an entry in /etc/passwd: add one, or run as a named user)", err)
		}
		return fmt.Errorf("initdb: %w: %s", err, lastLines(string(out), 5))
	}

	conf, err := os.OpenFile(filepath.Join(cluster, "postgresql.conf"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = conf.WriteString("\n# atview writes this file at each start. Your own settings: ALTER SYSTEM.\ninclude_if_exists '" + confFile + "'\n")
	return errors.Join(err, conf.Close())
}

// locales are arguments for initdb, the best first; not every system knows
// them all. Text is ordered by bytes, as AT Protocol orders it and as no update
// of the C library can change; upper and lower case are Unicode's, for search.
func locales(major int) [][]string {
	plain := []string{"--locale=C"}
	if major >= 17 {
		// Postgres' own, the same on every system.
		return [][]string{{"--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"}, plain}
	}
	return [][]string{
		{"--locale=C", "--lc-ctype=C.UTF-8"},
		{"--locale=C", "--lc-ctype=en_US.UTF-8"}, // macOS
		plain,
	}
}

// template is the folder with a finished cluster and its password for this
// user and version, made if missing. Several processes may do so at once: each
// builds its own under a name of its own, and the first to rename wins.
func (s *Server) template(ctx context.Context) (string, error) {
	if err := makeDir(s.cfg.Template); err != nil {
		return "", err
	}
	name := fmt.Sprintf("pg-%s-%s", s.bin.Version, s.user.name)
	dir := filepath.Join(s.cfg.Template, name)
	if _, err := os.Stat(filepath.Join(dir, "cluster", "PG_VERSION")); err == nil {
		return dir, nil
	}
	building, err := os.MkdirTemp(s.cfg.Template, "building-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(building)
	if err := s.initialise(ctx, building); err != nil {
		return "", err
	}
	if err := os.Rename(building, dir); err != nil {
		if _, statErr := os.Stat(filepath.Join(dir, "cluster", "PG_VERSION")); statErr == nil {
			return dir, nil // another process was first
		}
		return "", err
	}
	return dir, nil
}

func (s *Server) copyCluster(from, to string) error {
	if err := os.Chmod(to, dirMode()); err != nil {
		return err
	}
	password, err := os.ReadFile(filepath.Join(from, "password"))
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(to, "password"), string(password)); err != nil {
		return err
	}
	source := filepath.Join(from, "cluster")
	return filepath.WalkDir(source, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(source, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, "cluster", rel)
		if entry.IsDir() {
			err = os.Mkdir(target, 0o700)
		} else {
			err = copyFile(path, target)
		}
		if err != nil {
			return err
		}
		return s.user.own(target)
	})
}

func copyFile(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = dst.ReadFrom(src) // copy_file_range where the system has it
	return errors.Join(err, dst.Close())
}

func (s *Server) passwordFile() string { return filepath.Join(s.cfg.Dir, "password") }

// loadPassword reads the password, or sets a new one if the file is gone: who
// may read the cluster's files needs no password anyway.
func (s *Server) loadPassword(ctx context.Context) error {
	text, err := os.ReadFile(s.passwordFile())
	if err == nil && len(bytes.TrimSpace(text)) > 0 {
		s.password = string(bytes.TrimSpace(text))
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("password of the private Postgres: %w", err)
	}
	s.log.Warn().Str("file", s.passwordFile()).Msg("the password file is gone; setting a new password")
	password := rand.Text()
	cmd := s.user.command(ctx, s.bin, "postgres", "--single", "-D", s.cluster, "postgres")
	cmd.Stdin = strings.NewReader("ALTER ROLE " + Name + " PASSWORD '" + password + "'\n")
	if out, err := cmd.CombinedOutput(); err != nil || bytes.Contains(out, []byte("ERROR:")) {
		return fmt.Errorf("new password for the private Postgres: %w: %s", err, lastLines(string(out), 3))
	}
	if err := writeFile(s.passwordFile(), password+"\n"); err != nil {
		return fmt.Errorf("password of the private Postgres: %w", err)
	}
	s.password = password
	return nil
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "; ")
}
