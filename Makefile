# An index of commands; the programs behind them are in crates/devstack, services/ and tests/.
# Demo and tests share one build profile, so one cold build serves both.

LANDSCAPE ?= deploy/landscape
SAMPLE ?= $(wildcard $(dir $(LANDSCAPE:/=))sample)
CARGO ?= cargo
BIN := target/debug

.DEFAULT_GOAL := help
.PHONY: help install build demo demo-down dev test edges check fmt lint tidy deny chart bench image image-test clean-demo cluster-test

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

install: ## the Debian packages that are missing (as root or with sudo)
	@crates/devstack/install.sh

build: install ## all services, the command line and the development stack
	$(CARGO) build --locked --workspace

demo: install ## real Kafka, registry, two plants and the fleet on this machine; LANDSCAPE=dir SAMPLE=dir for your own, SECURE=1 locked down
	$(CARGO) build --locked --workspace
	@$(BIN)/millrace-devstack demo --landscape $(LANDSCAPE) $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(SECURE),--secure)

demo-down: ## end a running demo; its data stays under target/demo
	@if [ -x $(BIN)/millrace-devstack ]; then $(BIN)/millrace-devstack down; else echo "no demo is running"; fi

clean-demo: demo-down ## end it and forget its data
	rm -rf target/demo

dev: install ## Kafka and registry for development, shared by all tests until Ctrl-C
	$(CARGO) run --locked -p millrace-devstack -- up

test: install ## everything that must pass: format, dependencies, lints, unit, contract, house-rule and end-to-end tests
	$(CARGO) fmt --all --check
	@tests/tidy/deny.sh
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) build --locked --workspace
	$(BIN)/millrace-devstack run -- $(CARGO) test --locked --workspace

edges: install ## a source and plants that misbehave at random, SEEDS=50 of them; make test runs three
	$(CARGO) build --locked --workspace
	MILLRACE_EDGES=$(or $(SEEDS),50) $(BIN)/millrace-devstack run -- $(CARGO) test --locked -p millrace-e2e --test it -- edges::whatever --nocapture

check: ## quick: does it compile, is the sample landscape sound
	$(CARGO) check --locked --workspace --all-targets
	$(CARGO) run --locked -q -p millrace -- landscape check --landscape $(LANDSCAPE)
	$(CARGO) run --locked -q -p millrace -- landscape test --landscape $(LANDSCAPE)

fmt: ## format all code
	$(CARGO) fmt --all

lint: ## lints as errors
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

tidy: ## the house rules alone
	$(CARGO) test --locked -p millrace-tidy

deny: install ## licences, bans and sources of every dependency; ADVISORIES=1 known holes, too
	@ADVISORIES=$(ADVISORIES) tests/tidy/deny.sh

image: ## the container image millrace:dev of this commit, with docker, podman or buildah
	@deploy/image/build.sh millrace:dev

image-test: ## builds the image without a daemon and runs what is in it against a real Kafka (root; the first time 20 min)
	@crates/devstack/install.sh buildah debootstrap
	$(CARGO) build --locked -p millrace-devstack -p millrace-image
	$(BIN)/millrace-devstack run -- $(BIN)/millrace-image test

chart: build ## the chart alone: both Helms, Kubernetes' schemas, every workload as its pod would run
	$(BIN)/millrace-devstack run -- $(CARGO) test --locked -p millrace-chart

cluster-test: install ## the chart by the real Helm on a real Kubernetes API, and the fleet run from it (4 to 7 min; the first time 10 more)
	@crates/devstack/install.sh openssl
	$(CARGO) build --locked --workspace
	@$(BIN)/millrace-cluster

bench: install ## speed and memory, in ratios of one run (tests/bench)
	$(CARGO) build --locked --release --workspace
	$(CARGO) run --locked --release -p millrace-bench
