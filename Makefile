# The two commands a new user needs are `make demo` and `make test`.

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

export CGO_ENABLED := 0
# Whatever go.mod says is built with the Go that is here; nothing is downloaded behind your back.
export GOTOOLCHAIN := local

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unversioned)
LDFLAGS := -s -w -X inventorybeacon/cmd/internal/cli.Version=$(VERSION)
TOOLS   := $(CURDIR)/.tools/bin

# Pinned: a newer tool is a change of its own.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
VERSITYGW   := github.com/versity/versitygw/cmd/versitygw@v1.8.0

# The race detector needs a C compiler.
RACE := $(if $(shell command -v gcc),CGO_ENABLED=1 go test -race,$(warning no gcc: tests run without the race detector)go test)

.PHONY: help build demo test test-quick lint tools bench fuzz powercut torture clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

build: ## build bin/beacon and bin/beacon-agent
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/beacon ./cmd/beacon-agent

demo: build ## a beacon, an agent and a sample bundle on this machine; Ctrl-C ends it
	./bin/beacon demo

test: tools lint ## every test, with all its set-up: what CI runs
	BEACON_TEST_FULL=1 BEACON_TEST_VERSITYGW=$(TOOLS)/versitygw ./.ci/race-test $(RACE) -shuffle=on -timeout 25m ./...
	BEACON_TEST_FULL=1 go test -run TestOpenMillion ./uploads/spool # what it bounds is memory, which the race detector multiplies
	$(MAKE) fuzz FUZZTIME=20000x

test-quick: ## what needs no set-up: the same as go test ./...
	go test ./...

lint: $(TOOLS)/staticcheck ## formatting, vet on three systems, staticcheck, tidiness
	./.ci/lint $(TOOLS)/staticcheck

fuzz: ## every fuzz target for FUZZTIME (10s; 20000x is a number of inputs)
	./.ci/fuzz $(or $(FUZZTIME),10s)

bench: build $(TOOLS)/rest-server $(TOOLS)/versitygw ## benchmarks as ratios in one run; NAME=group for one group
	./.ci/system-tools nginx:nginx-light rclone:rclone mkfs.ext4:e2fsprogs
	go run ./cmd/internal/bench -out bench/latest.json $(if $(NAME),-name $(NAME))

powercut: ## cut the power of beacon, parent and agent on ext4 and xfs: IMAGES=500 disks, no acknowledged file lost (root)
	./.ci/system-tools
	go run ./cmd/internal/powercut -images $(or $(IMAGES),500)

# Of how many disks the power is cut before the kills: 500 in the long form.
TORTURE_IMAGES = $(shell n=$$(( $(or $(ROUNDS),1000) / 2 )); echo $$(( n < 24 ? 24 : n > 500 ? 500 : n )))

torture: $(TOOLS)/versitygw ## cut the power, then kill beacons ROUNDS=1000 times between devices and store: nothing lost or doubled
	./.ci/system-tools
	go run ./cmd/internal/torture -versitygw $(TOOLS)/versitygw -rounds $(or $(ROUNDS),1000) -images $(TORTURE_IMAGES)

tools: $(TOOLS)/staticcheck $(TOOLS)/versitygw ## what the tests need beside Go
	./.ci/system-tools

$(TOOLS)/staticcheck:
	GOBIN=$(TOOLS) go install $(STATICCHECK)

$(TOOLS)/versitygw:
	GOBIN=$(TOOLS) go install $(VERSITYGW)

$(TOOLS)/rest-server:
	./.ci/rest-server $@

clean: ## remove what was built
	rm -rf bin build .tools
