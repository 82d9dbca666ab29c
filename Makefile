# Everything a person or CI runs. `make help` lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

MODULE  := github.com/understudy-proxy/understudy
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X $(MODULE)/internal/telemetry.version=$(VERSION)

# The version is stamped by LDFLAGS: a checkout that git does not trust, as in
# many containers, must build all the same.
export GOFLAGS += -buildvcs=false

# The binary needs no libc. The same setting for all targets but the race
# detector, which needs C, lets them share what they compile.
export CGO_ENABLED := 0

GOLANGCI_VERSION := v2.15.0
GOLANGCI := .cache/bin/golangci-lint-$(GOLANGCI_VERSION)

H2SPEC_VERSION := v2.2.1+incompatible
H2SPEC := .cache/bin/h2spec-$(H2SPEC_VERSION)

GRPCURL_VERSION := v1.9.3
GRPCURL := .cache/bin/grpcurl

# The steps of make check, from quick to slow. Bad shadows need Linux.
STEPS := build gofmt vet tidy cross lint test race fuzz-short
ifeq ($(shell uname),Linux)
STEPS += isolation-quick
endif

FUZZTIME ?= 60s
LOADS ?= get,post-16m
PLATFORMS := linux/amd64 linux/arm64 darwin/arm64

##@ Everyday

help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} \
		/^##@ / {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build bin/understudy
	go build -ldflags '$(LDFLAGS)' -o bin/understudy ./cmd/understudy

demo: build ## Bring up the demo: a shop, its shadow with planted faults, and traffic
	bin/understudy demo

test: ## Run all tests
	go test ./...

check: ## Run everything the fast ring of CI runs, and install what it needs
	@MAKE='$(MAKE)' .ci/steps $(STEPS)

##@ The steps of check

gofmt: ## Fail if a file is not gofmt-ed
	@unformatted=$$(gofmt -l cmd internal test); \
		[ -z "$$unformatted" ] || { echo "not gofmt-ed:"; echo "$$unformatted"; exit 1; }

vet: ## Run go vet
	go vet ./...

tidy: ## Fail if go.mod or go.sum is not what the code needs
	go mod tidy -diff
	go mod verify

cross: ## Build for every platform we ship
	@for platform in $(PLATFORMS); do \
		echo "go build $$platform"; \
		GOOS=$${platform%/*} GOARCH=$${platform#*/} go build -o /dev/null ./cmd/...; \
	done
	GOOS=darwin GOARCH=arm64 go vet ./...

lint: $(GOLANGCI) ## Run golangci-lint
	$(GOLANGCI) run ./...

race: ## Run all tests under the race detector
	@.ci/need gcc openssl curl
	CGO_ENABLED=1 go test -race ./...

fuzz-short: ## Fuzz every target for five seconds
	@.ci/fuzz 3s

isolation-quick: build ## Run bad shadows for a moment each; LOADS=post-4k,stream for the other half
	go run ./test/isolation -quick -loads $(LOADS)
	go run ./test/isolation -quick -protocols

peers: ## Test against Redis, dnsmasq, dig, haproxy, openssl and curl
	@.ci/need redis-server dnsmasq dig haproxy openssl curl
	PATH="$$PATH:/usr/sbin" go test -tags peers -run '^TestPeer' ./internal/proxy

##@ Longer runs

fuzz: ## Fuzz every target for FUZZTIME (60s)
	@.ci/fuzz $(FUZZTIME)

bench: build ## Measure against nginx and haproxy; QUICK=1 for a short run without verdict
	@.ci/need nginx haproxy
	go run ./test/bench $(if $(QUICK),-quick)

bench-protocols: build ## Measure TLS, HTTP/2 and gRPC against nginx and Envoy; QUICK=1 as for bench
	@.ci/need nginx envoy h2load
	go run ./test/bench -protocols $(if $(QUICK),-quick)

bench-compare: build ## Measure what it costs to have answers compared; QUICK=1 as for bench
	go run ./test/bench -compare $(if $(QUICK),-quick)

bench-replay: build ## Measure how well a replay keeps its schedule
	go run ./test/bench -replay -rate 5000 $(if $(QUICK),-quick)

peers-http: $(GRPCURL) ## Have curl, nghttp, openssl and grpcurl speak with a built proxy
	@.ci/need curl nghttp openssl
	PATH="$(CURDIR)/.cache/bin:$$PATH" go test -count=1 -tags peers ./test/peers

interop: ## Run gRPC's own interoperability tests, case by case
	go test -count=1 -v ./test/interop

h2spec: build $(H2SPEC) ## Run h2spec, the conformance tests of HTTP/2
	go run ./test/h2spec -h2spec $(H2SPEC)

browser: build ## Have headless Chromium speak HTTP/3 with the proxy
	@.ci/need chromium python3 openssl curl
	.ci/browser bin/understudy

isolation: build ## Run the whole isolation suite, against nginx too: half an hour
	@.ci/need nginx
	go run ./test/isolation -proxy understudy,nginx -out docs/isolation.md

isolation-protocols: build ## Run bad shadows of HTTP/2, gRPC, WebSockets and TCP; QUICK=1 for a short run
	go run ./test/isolation -protocols $(if $(QUICK),-quick) -out docs/isolation-protocols.md

##@ Tools

golden: ## Rewrite the golden files of the tests
	go test ./test/house -update

clean: ## Remove what the targets above have built
	rm -rf bin .cache

# A pinned linter, built from source by the Go toolchain at hand: one that was
# built by an older Go refuses newer code.
$(GOLANGCI):
	@echo "building golangci-lint $(GOLANGCI_VERSION), once"
	@GOBIN=$(CURDIR)/.cache/bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	@mv .cache/bin/golangci-lint $@

$(GRPCURL):
	@echo "building grpcurl $(GRPCURL_VERSION), once"
	@GOBIN=$(CURDIR)/.cache/bin go install github.com/fullstorydev/grpcurl/cmd/grpcurl@$(GRPCURL_VERSION)

$(H2SPEC):
	@echo "building h2spec $(H2SPEC_VERSION), once"
	@GOBIN=$(CURDIR)/.cache/bin go install github.com/summerwind/h2spec/cmd/h2spec@$(H2SPEC_VERSION)
	@mv .cache/bin/h2spec $@

.PHONY: help build demo test check gofmt vet tidy cross lint race fuzz-short isolation-quick peers fuzz bench bench-protocols bench-compare bench-replay peers-http interop h2spec browser isolation isolation-protocols golden clean
