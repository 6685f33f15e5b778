package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/atview/atview/index"
	"github.com/atview/atview/schema"
	"github.com/atview/atview/web"
)

func (a *app) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", a.readyz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(a.metrics(), promhttp.HandlerOpts{}))
	if a.api != nil {
		mux.Handle("/graphql", a.api)
		mux.Handle("/", web.Handler(web.Config{Queries: a.queries}))
	}
	return mux
}

// readiness is the answer of /readyz.
type readiness struct {
	Ready bool `json:"ready"`
	// Reasons say what is missing.
	Reasons []string `json:"reasons,omitempty"`
	// Behind is how many events of the log this process has yet to fold, by
	// partition.
	Behind map[int]uint64 `json:"behind,omitempty"`
}

// caughtUp is how old the last folded event of a partition that is behind may
// be: under steady load there is always something on the way.
const caughtUp = 10 * time.Second

func (a *app) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 3*time.Second)
	defer cancel()
	out := a.readiness(ctx)
	w.Header().Set("Content-Type", "application/json")
	if !out.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(out) // a client that hung up is not our error
}

func (a *app) readiness(ctx context.Context) readiness {
	var out readiness
	complain := func(format string, args ...any) {
		out.Reasons = append(out.Reasons, fmt.Sprintf(format, args...))
	}
	if a.reads != nil {
		var tables int
		var nsids []string
		for _, c := range a.currentCatalog().Collections {
			nsids = append(nsids, string(c.NSID))
		}
		err := a.reads.QueryRow(ctx, "select count(*) from atview.collection where nsid = any($1)", nsids).Scan(&tables)
		switch {
		case err != nil:
			complain("database: %v", err)
		case tables < len(nsids):
			complain("%d of %d collections have no table yet", len(nsids)-tables, len(nsids))
		}
	}
	if ix := a.currentIndex(); ix != nil {
		status := ix.Status()
		out.Behind = map[int]uint64{}
		for p, at := range status.Lanes[index.LaneLive] {
			last, err := a.stream.Last(ctx, p)
			if err != nil {
				complain("log: %v", err)
				break
			}
			if last > at.Seq && time.Since(at.EventAt) > caughtUp {
				out.Behind[p] = last - at.Seq
			}
		}
		if len(out.Behind) > 0 {
			complain("%d partitions are not caught up", len(out.Behind))
		}
	}
	out.Ready = len(out.Reasons) == 0
	return out
}

func (a *app) currentIndex() *index.Index {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.index
}

func (a *app) currentCatalog() *schema.Catalog {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.catalog
}
