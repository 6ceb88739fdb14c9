# Everything one does with this repository; `make` alone explains itself.
#
# Every build here uses the same flags, so that all of it shares one cache: a
# build of the store's tree takes minutes the first time and nothing afterwards.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

GO ?= go
BIN := bin/lianfen
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)

LINT_VERSION := v2.15.0
LINT := bin/golangci-lint-$(LINT_VERSION)

SBOM_VERSION := v1.9.0
SBOM := bin/cyclonedx-gomod-$(SBOM_VERSION)

# Time for each fuzz target, and the packages whose targets run. The default
# leaves out what imports the store: fuzzing instruments all that a package
# imports, so the store's tree would be built once more.
FUZZTIME ?= 30s
FUZZ ?= $(LIGHT)
# In make test a number of inputs, not a time: on a busy machine a fuzzer that
# runs into its time limit while it starts reports that as a failure.
SHORT ?= 5000x
BENCH ?= .
KILLS ?= 50
SOAK ?= 10m
SEEDS ?= 1000
SEED ?= 1
# A part of the names of mutants, or all.
MUTANTS ?= all
CASES ?= 2000000
DAYS ?= 2500

# The packages whose tests do not import the store. Assigned to a variable before
# use: an assignment fails where an argument would hide that the listing failed.
LIGHT = $$($(GO) list -test -f '{{.ImportPath}} {{.Deps}}' ./... | sed -n '/cockroachdb\/pebble/!s/^\([^ ]*\)\.test .*/\1/p')

.PHONY: help
help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/lianfen.
	$(GO) build -ldflags '-X main.version=$(VERSION)' -o $(BIN) ./cmd/lianfen

.PHONY: demo
demo: build ## Play a whole business day against a switch of your own, and show it.
	$(BIN) demo

# The tests come last, so that their summary is what one sees at the end.
.PHONY: test
test: vet modules docs-check demo fuzz-short unit ## Run everything that CI runs.

.PHONY: check
check: test lint race ## Run test, lint and race: all there is to check. Minutes, at first.

.PHONY: quick
quick: vet ## Run what is done in seconds: format, vet, floors, tests without the store.
	@unformatted=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
	if [ -n "$$unformatted" ]; then echo "not formatted (make fmt):"; echo "$$unformatted"; exit 1; fi
	packages="$(LIGHT)"; $(GO) test $$packages

.PHONY: lint
lint: $(LINT) ## Lint; builds golangci-lint first if it is not there (4 minutes, once).
	$(LINT) config verify
	$(LINT) run ./...

.PHONY: fmt
fmt: $(LINT) ## Format all Go files.
	$(LINT) fmt ./...

.PHONY: fuzz
fuzz: ## Fuzz each target for FUZZTIME (30s); FUZZ=./ledger chooses packages.
	@packages="$(FUZZ)"; \
	targets=$$(for package in $$packages; do \
		folder=$$($(GO) list -f '{{.Dir}}' $$package); \
		{ grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$$folder"/*_test.go || true; } | sed "s|^func |$$package |"; \
	done); \
	if [ -z "$$targets" ]; then echo "no fuzz target in:" $$packages; exit 1; fi; \
	while read -r package target; do \
		echo "fuzz $$package $$target for $(FUZZTIME)"; \
		$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package </dev/null; \
	done <<< "$$targets"

.PHONY: bench
bench: ## Run the benchmarks; BENCH=Decode chooses.
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem ./...

.PHONY: bench-switch
bench-switch: build ## Measure the switch beside its floors, with a million accounts: minutes.
	$(BIN) bench auth

.PHONY: bench-quick
bench-quick: build ## The same in half a minute; to see that it works, not how fast it is.
	$(BIN) bench auth --quick

.PHONY: bench-swaps
bench-swaps: build ## Measure durable swaps between two programmes, beside the journal alone.
	$(BIN) bench swaps

.PHONY: bench-settle
bench-settle: build ## Settle a made-up day of ten million items, beside SQLite and sort|awk: minutes.
	$(BIN) bench settle

PROFILE := cmd/lianfen/release.pgo

.PHONY: pgo
pgo: build ## Measure the switch once and keep its profile for make release.
	$(BIN) bench auth --accounts 100000 --duration 5s --recovery 0 --cpu-profile $(PROFILE) || test $$? -eq 1

.PHONY: release
release: ## Build bin/lianfen with that profile, if there is one; minutes, as everything is built once more.
	$(GO) build $(if $(wildcard $(PROFILE)),-pgo=$(PROFILE)) -trimpath -ldflags '-X main.version=$(VERSION)' -o $(BIN) ./cmd/lianfen

# Each build has a folder and a cache of its own, so that neither the path nor what was
# built before can be what makes them the same.
.PHONY: reproducible
reproducible: ## Build the release of HEAD twice, from two folders with a cache each, and compare; many minutes.
	@set -e; work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; \
	for n in one another-folder/two; do \
		git clone -q . "$$work/$$n"; \
		GOCACHE="$$work/cache/$$n" $(MAKE) -s -C "$$work/$$n" release; \
		(cd "$$work/$$n/bin" && sha256sum lianfen) | tee -a "$$work/sums"; \
	done; \
	test "$$(sort -u "$$work/sums" | wc -l)" -eq 1 || { echo "the two builds differ"; exit 1; }; \
	echo "both builds of $$(git describe --tags --always) are the same"

.PHONY: sbom
sbom: $(SBOM) ## Write bin/lianfen.cdx.json: every module of the program, its licence and hash (CycloneDX).
	@mkdir -p bin
	$(SBOM) mod -json -licenses -assert-licenses -std -noserial -output bin/lianfen.cdx.json .

.PHONY: soak
soak: ## Kill the switch under load KILLS (50) times; nothing answered may be missing or doubled.
	$(GO) test ./cmd/lianfen -run TestKill -v -timeout 30m -kills=$(KILLS)

.PHONY: soak-issuers
soak-issuers: ## Play terminals, switch and a faulty issuer for SOAK (10m); then all three must say the same.
	$(GO) test ./cmd/lianfen -run TestIssuerSoak -v -timeout 0 -issuer-soak=$(SOAK)

.PHONY: sim
sim: build ## Play the whole system from SEEDS (1000) seeds from SEED (1) on, faults and all; all books must agree.
	$(BIN) sim --seed $(SEED) --seeds $(SEEDS)

.PHONY: mutants
mutants: ## Break what settles in each way of internal/tidy/testdata/mutants.txt, and see the tests notice it.
	$(GO) test ./internal/tidy -run 'TestMutants' -v -timeout 0 -mutants=$(MUTANTS)

.PHONY: swaps-campaign
swaps-campaign: ## Try swaps: CASES (2000000) of each property of figures, DAYS (2500) of calls, SEEDS schedules of issuers.
	$(GO) test ./exchange/quote -v -timeout 0 -cases=$(CASES)
	$(GO) test ./tariff -run 'Bonus|Campaign|Steps' -v -timeout 0 -cases=$(CASES)
	$(GO) test ./ledger/book -run Swap -v -timeout 0 -swap-seeds=$(DAYS)
	$(GO) test ./internal/sim -run Swap -v -timeout 0 -swap-seeds=$(SEEDS)

.PHONY: race
race: ## Run all tests with the race detector; needs a C compiler.
	$(GO) test -race ./...

.PHONY: race-light
race-light: ## The same for what does not import the store.
	packages="$(LIGHT)"; $(GO) test -race $$packages

.PHONY: docs
docs: build ## Write docs/protocol.md and docs/cli from the program.
	$(BIN) docs docs

.PHONY: man
man: build ## Write man pages into bin/man.
	$(BIN) docs --man bin/man

.PHONY: hooks
hooks: ## Install a pre-commit hook that runs quick.
	@hook=$$(git rev-parse --git-path hooks)/pre-commit; \
	mkdir -p "$$(dirname "$$hook")"; \
	printf '#!/bin/sh\nexec make quick\n' > "$$hook"; \
	chmod +x "$$hook"; \
	echo "installed $$hook"

.PHONY: clean
clean: ## Remove what was built here; Go's own cache stays.
	rm -rf bin

# The steps of test.

.PHONY: vet
vet:
	$(GO) vet ./...

.PHONY: modules
modules:
	$(GO) mod tidy -diff
	$(GO) mod verify

.PHONY: unit
unit:
	$(GO) test ./...

.PHONY: fuzz-short
fuzz-short:
	@$(MAKE) --no-print-directory fuzz FUZZTIME=$(SHORT)

# Compares files, not commits, so that it also works while one is editing.
.PHONY: docs-check
docs-check: build
	@fresh=$$(mktemp -d); trap 'rm -rf "$$fresh"' EXIT; \
	$(BIN) docs "$$fresh"; \
	for document in "$$fresh"/*; do \
		diff -ru "docs/$${document##*/}" "$$document" || \
			{ echo "docs/$${document##*/} is not what the program says: make docs"; exit 1; }; \
	done; \
	echo "generated documents are up to date"

$(LINT):
	GOBIN=$(CURDIR)/bin $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	mv bin/golangci-lint $(LINT)

$(SBOM):
	GOBIN=$(CURDIR)/bin $(GO) install github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@$(SBOM_VERSION)
	mv bin/cyclonedx-gomod $(SBOM)
