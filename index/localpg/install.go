package localpg

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"github.com/rs/zerolog"
)

// fetchDir is where fetched binaries are kept.
func fetchDir(cfg Config) string {
	if cfg.FetchDir != "" {
		return cfg.FetchDir
	}
	if os.Geteuid() == 0 {
		// Root's own cache is closed to the user that Postgres runs as.
		return "/var/cache/atview/postgres"
	}
	cache, err := os.UserCacheDir()
	if err != nil { // no HOME, as a service user has none
		cache = filepath.Join(os.TempDir(), "cache-"+strconv.Itoa(os.Geteuid()))
	}
	return filepath.Join(cache, "atview", "postgres")
}

func librariesBeside(dir string) string { return "" }

func install(ctx context.Context, cfg Config, user account, log zerolog.Logger) (Binaries, error) {
	return Binaries{}, errors.New("not yet")
}
