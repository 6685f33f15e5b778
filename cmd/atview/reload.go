package main

import (
	"bytes"
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/atview/atview/index"
	"github.com/atview/atview/schema"
)

// runIndex runs the index, and when the lexicons change, plans and applies the
// change and goes on with the new ones. Reads and the sources go on meanwhile.
func (a *app) runIndex(ctx context.Context) error {
	changed := a.watchLexicons(ctx)
	for {
		run, stop := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- a.index.Run(run) }()
		var next *schema.Catalog
		for next == nil {
			select {
			case err := <-done:
				stop()
				return err
			case <-changed:
				next = a.readLexicons()
			}
		}
		stop()
		if err := <-done; err != nil {
			return err
		}
		if err := a.change(ctx, next); err != nil {
			a.log.Error().Err(err).Msg("the changed lexicons cannot be applied; going on with those before")
		}
	}
}

// followLexicons is for a process without the role index: API and sources go
// over to changed lexicons, and the tables are somebody else's.
func (a *app) followLexicons(ctx context.Context) error {
	changed := a.watchLexicons(ctx)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
		if next := a.readLexicons(); next != nil {
			if err := a.follow(ctx, next); err != nil {
				a.log.Error().Err(err).Msg("the changed lexicons cannot be applied; going on with those before")
			}
		}
	}
}

// readLexicons loads the lexicons again; nil when nothing has changed or they
// do not load.
func (a *app) readLexicons() *schema.Catalog {
	cat, err := loadCatalog(a.s, a.log)
	if err != nil {
		a.log.Error().Err(err).Msg("the changed lexicons do not load; going on with those before")
		return nil
	}
	if same(cat, a.catalog) {
		return nil
	}
	return cat
}

func same(a, b *schema.Catalog) bool {
	return slices.EqualFunc(a.Lexicons, b.Lexicons, func(x, y schema.Lexicon) bool {
		return x.NSID == y.NSID && bytes.Equal(x.JSON, y.JSON)
	})
}

// change brings tables, index, API and sources to new lexicons.
func (a *app) change(ctx context.Context, cat *schema.Catalog) error {
	cat, err := index.KeepNames(ctx, a.pool, cat)
	if err != nil {
		return err
	}
	if err := migrateTables(ctx, a.pool, cat, a.s, a.log); err != nil {
		return err
	}
	ix, err := a.newIndex(cat)
	if err != nil {
		return err
	}
	if err := a.follow(ctx, cat); err != nil {
		return err
	}
	a.mu.Lock()
	a.index = ix
	a.mu.Unlock()
	return nil
}

// follow brings API and sources to new lexicons.
func (a *app) follow(ctx context.Context, cat *schema.Catalog) (err error) {
	if a.api != nil {
		if cat, err = index.KeepNames(ctx, a.reads, cat); err != nil {
			return err
		}
		if err := a.api.Swap(cat); err != nil {
			return err
		}
	}
	a.mu.Lock()
	a.catalog = cat
	a.mu.Unlock()
	if a.runner != nil {
		wanted, err := a.wanted()
		if err != nil {
			return err
		}
		a.runner.SetCollections(wanted)
		if a.backfill != nil {
			a.backfill.SetCollections(wanted, collectionsOf(cat))
		}
	}
	a.log.Info().Int("collections", len(cat.Collections)).Msg("lexicons changed; going on with the new ones")
	return nil
}

// watchLexicons sends when files in the lexicon folders have changed and been
// left alone for a moment, and on SIGHUP.
func (a *app) watchLexicons(ctx context.Context) <-chan struct{} {
	changed := make(chan struct{}, 1)
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		a.log.Warn().Err(err).Msg("lexicon folders are not watched; send SIGHUP after a change")
	}
	var events <-chan fsnotify.Event
	if err == nil {
		events = watcher.Events
		for _, dir := range a.s.Lexicons {
			watchTree(watcher, dir)
		}
	}
	go func() {
		defer signal.Stop(hangup)
		if watcher != nil {
			defer watcher.Close()
		}
		// An editor writes a file in several steps, and git writes many files.
		const settle = 300 * time.Millisecond
		quiet := time.NewTimer(settle)
		quiet.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-hangup:
				quiet.Reset(0)
			case ev := <-events:
				if info, err := os.Stat(ev.Name); err == nil && info.IsDir() {
					watchTree(watcher, ev.Name)
				}
				if strings.HasSuffix(ev.Name, ".json") || ev.Has(fsnotify.Create) {
					quiet.Reset(settle)
				}
			case <-quiet.C:
				select {
				case changed <- struct{}{}:
				default:
				}
			}
		}
	}()
	return changed
}

func watchTree(watcher *fsnotify.Watcher, dir string) {
	_ = filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			return watcher.Add(path)
		}
		return nil
	})
}
