package main

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// metrics are read from the components' own counters when Prometheus asks: the
// paths that events take know nothing of it.
func (a *app) metrics() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), appCollector{a})
	return reg
}

type appCollector struct{ a *app }

var (
	descEvents      = prometheus.NewDesc("atview_index_events_total", "Events folded.", nil, nil)
	descRecords     = prometheus.NewDesc("atview_index_records_total", "Changes of records: put, deleted, or ignored because the tables had newer.", []string{"outcome"}, nil)
	descFlagged     = prometheus.NewDesc("atview_index_flagged_total", "Records put that break their lexicon.", nil, nil)
	descDeadLetters = prometheus.NewDesc("atview_index_dead_letters_total", "Events that could not be stored.", nil, nil)
	descBusy        = prometheus.NewDesc("atview_index_busy_seconds_total", "Time spent in transactions, over all partitions.", nil, nil)
	descPosition    = prometheus.NewDesc("atview_index_position", "Stream sequence number that a partition is folded up to.", []string{"lane", "partition"}, nil)
	descLag         = prometheus.NewDesc("atview_index_last_event_age_seconds", "How long ago the log stored the last folded event.", []string{"lane", "partition"}, nil)
	descSource      = prometheus.NewDesc("atview_source_events_total", "Events read from a source, by kind.", []string{"source", "kind"}, nil)
	descSourceLag   = prometheus.NewDesc("atview_source_lag_seconds", "Age of the newest event when it was read.", []string{"source"}, nil)
	descRejects     = prometheus.NewDesc("atview_source_rejects_total", "What a source sent that is no event, by reason.", []string{"source", "reason"}, nil)
	descConnected   = prometheus.NewDesc("atview_source_connected", "1 while the source reads.", []string{"source"}, nil)
	descRepos       = prometheus.NewDesc("atview_backfill_repositories", "Repositories that are read whole, by state.", []string{"state"}, nil)
	descRepoRecords = prometheus.NewDesc("atview_backfill_records_total", "Records published by reading repositories whole.", nil, nil)
	descRepoBytes   = prometheus.NewDesc("atview_backfill_bytes_total", "Bytes of repositories read.", nil, nil)
	descHostsPaused = prometheus.NewDesc("atview_backfill_hosts_paused", "Hosts that are left alone for a while.", nil, nil)
	descConnections = prometheus.NewDesc("atview_database_connections", "Connections to Postgres, by use and state.", []string{"pool", "state"}, nil)
)

// Describe says nothing: which metrics there are depends on the roles.
func (appCollector) Describe(chan<- *prometheus.Desc) {}

func (c appCollector) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	if ix := c.a.currentIndex(); ix != nil {
		s := ix.Status()
		counter(descEvents, float64(s.Events))
		counter(descRecords, float64(s.Put), "put")
		counter(descRecords, float64(s.Deleted), "deleted")
		counter(descRecords, float64(s.Ignored), "ignored")
		counter(descRecords, float64(s.Kept), "kept")
		counter(descRecords, float64(s.Swept), "swept")
		counter(descFlagged, float64(s.Flagged))
		counter(descDeadLetters, float64(s.DeadLetters))
		counter(descBusy, s.Busy.Seconds())
		for lane, positions := range s.Lanes {
			for p, at := range positions {
				gauge(descPosition, float64(at.Seq), lane, strconv.Itoa(p))
				if !at.EventAt.IsZero() {
					gauge(descLag, time.Since(at.EventAt).Seconds(), lane, strconv.Itoa(p))
				}
			}
		}
	}
	if c.a.runner != nil {
		for _, s := range c.a.runner.Stats().Sources {
			for kind, n := range s.Events {
				counter(descSource, float64(n), s.Name, string(kind))
			}
			for reason, n := range s.Rejects {
				counter(descRejects, float64(n), s.Name, string(reason))
			}
			gauge(descSourceLag, s.Lag.Seconds(), s.Name)
			connected := 0.0
			if s.Status.Connected {
				connected = 1
			}
			gauge(descConnected, connected, s.Name)
		}
	}
	if c.a.backfill != nil {
		s := c.a.backfill.Stats()
		for state, n := range map[string]int64{"queued": s.Queued, "fetching": s.Fetching, "published": s.Published, "done": s.Done, "failed": s.Failed, "gone": s.Gone} {
			gauge(descRepos, float64(n), state)
		}
		counter(descRepoRecords, float64(s.RecordsPublished))
		counter(descRepoBytes, float64(s.BytesRead))
		gauge(descHostsPaused, float64(s.HostsPaused))
	}
	if c.a.pool != nil {
		gauge(descConnections, float64(c.a.pool.Stat().AcquiredConns()), "index", "busy")
		gauge(descConnections, float64(c.a.pool.Stat().IdleConns()), "index", "idle")
	}
	if c.a.reads != nil {
		gauge(descConnections, float64(c.a.reads.Stat().AcquiredConns()), "api", "busy")
		gauge(descConnections, float64(c.a.reads.Stat().IdleConns()), "api", "idle")
	}
}
