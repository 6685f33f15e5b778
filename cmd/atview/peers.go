package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"

	"github.com/atview/atview/ingest"
	"github.com/atview/atview/ingest/identity"
	"github.com/atview/atview/ingest/outbound"
)

// peers is how a process speaks to hosts that the network names.
type peers struct {
	client     *http.Client
	identities *identity.Cache
}

// openPeers makes the client and the identities. Pool may be nil: then
// identities are remembered in memory only.
func openPeers(s *settings, pool *pgxpool.Pool, log zerolog.Logger) (*peers, error) {
	hosts, err := namedHosts(s)
	if err != nil {
		return nil, err
	}
	cfg := outbound.Config{AllowPrivate: s.AllowPrivate, CAFile: s.CAFile, Hosts: hosts}
	client, err := outbound.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("outbound connections: %w", err)
	}
	resolver, err := identity.NewResolver(identity.ResolverConfig{HTTP: client, PLC: strings.TrimSuffix(s.PLCURL, "/"), AllowPrivate: s.AllowPrivate})
	if err != nil {
		return nil, fmt.Errorf("identities: %w", err)
	}
	cache, err := identity.NewCache(identity.CacheConfig{Resolver: resolver, Pool: pool, Log: log.With().Str("component", "identity").Logger()})
	if err != nil {
		return nil, fmt.Errorf("identities: %w", err)
	}
	return &peers{client, cache}, nil
}

// namedHosts are the addresses of hosts that the user has named, which may be
// anywhere.
func namedHosts(s *settings) (map[string]string, error) {
	hosts := map[string]string{}
	for _, entry := range s.Resolve {
		name, address, ok := strings.Cut(entry, "=")
		if !ok || name == "" || address == "" {
			return nil, fmt.Errorf("--resolve %q: want NAME=HOST:PORT", entry)
		}
		hosts[name] = address
	}
	for _, given := range []struct{ flag, url string }{{"--plc-url", s.PLCURL}, {"--relay", s.Relay}} {
		if given.url == "" {
			continue
		}
		host, err := hostOf(given.url)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", given.flag, given.url, err)
		}
		if !slices.ContainsFunc(s.Resolve, func(entry string) bool { return resolves(entry, host) }) {
			hosts[host] = host
		}
	}
	return hosts, nil
}

// resolves says whether an entry of --resolve is about a host and port.
func resolves(entry, hostport string) bool {
	name, _, _ := strings.Cut(strings.ToLower(entry), "=")
	hostport = strings.ToLower(hostport)
	host, _, _ := net.SplitHostPort(hostport)
	below, all := strings.CutPrefix(name, "*")
	return name == hostport || name == host || all && strings.HasSuffix(host, below)
}

var errHTTPURL = errors.New("want http://HOST or https://HOST")

// hostOf is the host and port of an HTTP URL.
func hostOf(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", err
	}
	if u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", errHTTPURL
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port), nil
}

// publicRelay is asked which repositories there are when no source is named:
// Bluesky's own.
const publicRelay = "https://relay1.us-east.bsky.network"

// backfillPlan is what the settings of a backfill come to.
type backfillPlan struct {
	on           bool
	relay        string // "" asks none
	seen, linked bool
}

// planBackfill decides what is read whole. Specs are the sources that were named.
func planBackfill(s *settings, specs []ingest.Spec) (backfillPlan, error) {
	if _, err := namedHosts(s); err != nil {
		return backfillPlan{}, err
	}
	if _, err := readDIDs(s.BackfillDIDs); err != nil {
		return backfillPlan{}, err
	}
	relay := s.Relay
	for _, spec := range specs {
		if relay == "" && spec.Kind == ingest.Firehose {
			relay = spec.HTTP()
		}
	}
	if relay == "" && len(specs) == 0 {
		relay = publicRelay
	}
	var p backfillPlan
	for _, what := range s.Backfill {
		switch what {
		case modeAuto, "none", "off":
			if len(s.Backfill) > 1 {
				return p, fmt.Errorf("--backfill %s: %s stands alone", strings.Join(s.Backfill, ","), what)
			}
			switch {
			case what == "none":
				p.on = true
			case what == modeAuto && (relay != "" || s.BackfillDIDs != ""):
				p = backfillPlan{on: true, relay: relay, seen: true}
			}
		case "listed":
			if relay == "" {
				return p, errors.New("--backfill listed: no relay to ask; name one with --relay")
			}
			p.on, p.relay = true, relay
		case "seen":
			p.on, p.seen = true, true
		case "linked":
			p.on, p.linked = true, true
		default:
			return p, fmt.Errorf("--backfill %q is none of auto, listed, seen, linked, none, off", what)
		}
	}
	if s.BackfillDIDs != "" && !p.on {
		return p, errors.New("--backfill-dids: there is no backfill (--backfill off)")
	}
	return p, nil
}

// identitiesOn decides whether accounts are looked up.
func identitiesOn(s *settings, specs []ingest.Spec) (bool, error) {
	switch s.Identities {
	case "on":
		return true, nil
	case "off":
		return false, nil
	case modeAuto:
	default:
		return false, fmt.Errorf("--identities %q is none of on, off, auto", s.Identities)
	}
	if len(specs) == 0 {
		return true, nil
	}
	for _, spec := range specs {
		// A simulated network's accounts are unknown to the PLC directory.
		if host, err := hostOf(spec.HTTP()); err == nil && !local(host) {
			return true, nil
		}
	}
	return s.PLCURL != publicPLC, nil
}

const publicPLC = "https://plc.directory"

func local(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
