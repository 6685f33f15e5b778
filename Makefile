# `make` prints what there is. `make demo` and `make test` need Go and git and
# nothing else; the other targets fetch their tools into $(CACHE), outside the
# tree, through the Go module proxy or npm.

GO          = go
PKGS        = ./...
ARGS        =
# Version to report; empty: what Go notes from git (see `go version -m bin/atview`).
VERSION     =
CACHE       = $(HOME)/.cache/atview
# For a whole package's tests, on a slow machine with the race detector on.
TESTTIMEOUT = 15m

GOLANGCI_VERSION = v2.15.0
GOLANGCI         = $(CACHE)/golangci-lint-$(GOLANGCI_VERSION)/golangci-lint
SQLC_VERSION     = v1.31.1
SQLC             = $(CACHE)/sqlc-$(SQLC_VERSION)/sqlc

help: ## Show this list
	@echo 'Usage: make TARGET'
	@echo
	@sed -n 's/^\([a-z][a-z0-9-]*\):.*## \(.*\)/\1|\2/p' Makefile | \
		while IFS='|' read -r target text; do printf '  %-18s %s\n' "$$target" "$$text"; done

demo: build ## Run everything on sample records; prints the URL to open (ARGS='--listen :9090' adds flags)
	bin/atview demo $(ARGS)

# Git refuses to answer in a tree of another user; that must not break a build.
build: ## Build bin/atview
	@echo 'building bin/atview (minutes the first time, seconds afterwards)'
	@vcs=true; git rev-parse HEAD >/dev/null 2>&1 || vcs=false; \
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=$$vcs -ldflags '-s -w -X main.version=$(VERSION)' -o bin/atview ./cmd/atview

# The race detector needs a C compiler. Without one the tests still run.
test: ## Vet and run all tests (PKGS=./index/... for some of them, ARGS='-run Name' for one)
	$(GO) vet $(PKGS)
	@race=-race; [ "$$($(GO) env CGO_ENABLED)" = 1 ] || \
		{ race=; echo 'no C compiler found: running without the race detector'; }; \
	set -x; $(GO) test $$race -timeout $(TESTTIMEOUT) $(ARGS) $(PKGS)

# A module of its own, which pins the peers; they are built and installed into
# $(CACHE)/e2e. Jetstream's tests need Go only, the others Node.js and C++ too.
e2e: ## Test against real peers: Jetstream, PDS, relay, Tap (ARGS='-run TestJetstream -kills 20 -rate 300' for the long form of one)
	cd e2e && $(GO) test -count=1 -v -timeout 30m . $(ARGS)

lint: $(GOLANGCI) ## Run the linters (fetches golangci-lint at first: about two minutes)
	$(GOLANGCI) run $(ARGS) $(PKGS)

bench: ## Run the benchmarks (PKGS=./index/... for some of them)
	$(GO) test -run '^$$' -bench . -benchmem $(ARGS) $(PKGS)

generate: $(SQLC) ## Write again what is generated: Go from queries/*.sql, sample records, golden files
	$(SQLC) generate
	$(GO) run ./examples/gen
	@for dir in $$(grep -rl --include='*_test.go' 'flag.Bool("update"' . | xargs -n1 dirname | sort -u); do \
		(set -x; $(GO) test -count=1 -timeout $(TESTTIMEOUT) "$$dir" -update) || exit 1; \
	done

# Golden files and sample records are not in here: tests compare them.
verify-generated: $(SQLC) ## Check that the Go of queries/ and the web assets are those of their sources
	$(SQLC) diff
	cd web && npm ci --no-audit --no-fund && npm run check

web: ## Build the console's assets into web/dist (needs Node.js)
	cd web && npm ci --no-audit --no-fund && npm run build

ci: ## Do what CI does: install what is missing (Debian, as root), lint, test
	CI=true bash .ci/run

clean: ## Remove what was built here (not the data of demo and dev: that is .atview)
	rm -rf bin web/node_modules

$(GOLANGCI):
	@echo 'fetching golangci-lint $(GOLANGCI_VERSION)'
	GOBIN=$(CACHE)/golangci-lint-$(GOLANGCI_VERSION) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)

# sqlc holds Postgres' own parser, which is C: this takes a while and a compiler.
$(SQLC):
	@echo 'fetching sqlc $(SQLC_VERSION)'
	GOBIN=$(CACHE)/sqlc-$(SQLC_VERSION) $(GO) install github.com/sqlc-dev/sqlc/cmd/sqlc@$(SQLC_VERSION)

.PHONY: help demo build test e2e lint bench generate verify-generated web ci clean
