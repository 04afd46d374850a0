# The targets a person or CI runs. "make" alone lists them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# ARGS is handed to the program that the target runs, e.g. make demo ARGS=--once
ARGS ?=

# How long each fuzz target runs.
FUZZTIME ?= 30s

BIN   := bin
TOOLS := .tools/bin

# What the local stack runs. The other tools are built where they are used.
STACK_TOOLS := kubernetes versitygw traefik temporal prometheus cosign
TEST_TOOLS  := opa
LINT_TOOLS  := golangci-lint workflowcheck

# Tests run programs and scripts of the repository, which Go's cache of test
# results does not know of; so nothing is taken from it.
GOTEST = go test -count=1 -timeout 40m

# Packages of unit and adapter tests; ./e2e has the machine to itself afterwards.
PACKAGES = $$(go list ./... | grep -v '/e2e$$')

export PATH := $(CURDIR)/$(TOOLS):$(PATH)

.PHONY: help
help: ## list the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: tools build ## bring the stack up and run the releases of the README; ARGS=--once tears it down after, ARGS=--yes never asks
	$(BIN)/devstack demo $(ARGS)

.PHONY: up
up: tools build ## start the local stack in the background (state and logs in .waybill/)
	$(BIN)/devstack up --detach $(ARGS)

.PHONY: down
down: build ## stop the local stack
	$(BIN)/devstack down $(ARGS)

.PHONY: tools
tools: ## build the pinned tools of the local stack into .tools/ (about 20 minutes on 2 cores the first time)
	@deploy/tools/install.sh $(STACK_TOOLS)

.PHONY: build
build: ## build waybill, waybilld and devstack into bin/
	@mkdir -p $(BIN)
	go build -o $(BIN)/ ./cmd/...

.PHONY: test
test: tools ## run go vet, all tests (the end-to-end ones last) and the policies' own tests
	@deploy/tools/install.sh $(TEST_TOOLS)
	go vet ./...
	$(GOTEST) -p 2 $(ARGS) $(PACKAGES)
	$(GOTEST) $(ARGS) ./e2e
	$(TOOLS)/opa test policies/

.PHONY: lint
lint: ## run golangci-lint and Temporal's determinism check of the workflows
	@deploy/tools/install.sh $(LINT_TOOLS)
	$(TOOLS)/golangci-lint run $(ARGS) ./...
	$(TOOLS)/workflowcheck -config workflows/workflowcheck.yaml ./workflows/...

.PHONY: fmt
fmt: ## format the Go code as the linter wants it
	@deploy/tools/install.sh golangci-lint
	$(TOOLS)/golangci-lint fmt ./...

.PHONY: fuzz
fuzz: ## fuzz every parser of what comes from outside, each for FUZZTIME (30s); what it finds stays in testdata/fuzz
	@grep -rEo '^func Fuzz[A-Za-z]+' --include='*_test.go' --exclude-dir=.tools . | sed -E 's|/[^/]*:func | |' | sort | \
	while read -r package target; do \
	  echo "$$package $$target"; \
	  go test "$$package" -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s $(ARGS) </dev/null; \
	done

.PHONY: vuln
vuln: ## check dependencies for known vulnerabilities (needs the Go vulnerability database)
	@deploy/tools/install.sh govulncheck
	@status=0; $(TOOLS)/govulncheck $(ARGS) ./... || status=$$?; \
	case $$status in \
	  0) ;; \
	  3) echo "make vuln: vulnerable code is reached, see above" >&2 ;; \
	  *) echo "make vuln: could not check; the vulnerability database (vuln.go.dev) may be out of reach from here" >&2 ;; \
	esac; exit $$status

.PHONY: bench
bench: tools ## measure history size, orchestration overhead, time to weight 0 and memory (docs/performance.md)
	go test ./e2e -run '^$$' -bench . -benchtime 1x -timeout 60m $(ARGS)

.PHONY: replay-record
replay-record: tools ## record golden histories from real runs of the code that is checked out; VERSION=v2 names the new folder
	@test -n "$(VERSION)" || { echo "make replay-record: say which version of the workflows this is, e.g. VERSION=v2" >&2; exit 2; }
	WAYBILL_RECORD=$(CURDIR)/replaytests/testdata WAYBILL_RECORD_VERSION=$(VERSION) \
	  go test ./e2e -run '^(TestOutcomes|TestApproverLeaves|TestOperatorsCommands|TestThreat20.*)$$' -count=1 -v -timeout 30m $(ARGS)
