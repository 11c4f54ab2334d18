# What people call; each line calls hack/ or cargo. `make help` lists the targets.
export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/sluice/target
export INSTA_UPDATE ?= no
SHELL_SCRIPTS = $(shell grep -rlE '^#!.*bash' hack .ci router/tests)

.PHONY: help demo demo-down test lint unit crashes mutants sweep api bench-evidence bench-operator bench-rollback bench-router bench-server clients fuzz e2e cluster cluster-down images ground crds

help:           ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

demo: images    ## watch a good version roll out and a bad one roll back, on a real node
	hack/models
	$(CARGO_TARGET_DIR)/release/demo

demo-down:      ## remove everything that the demo made
	hack/cluster down

test: lint unit clients crashes mutants sweep e2e ## everything: lint, unit, property, API-server and node tests, false rollbacks

lint:           ## format, clippy, shell scripts, licences
	hack/ground deny
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets -- -D warnings
	shellcheck -x -a $(SHELL_SCRIPTS)
	PATH="$$PATH:$$(dirname $(CARGO_TARGET_DIR))/tools/bin" cargo deny --log-level error check bans licenses sources

unit: ground    ## unit, property and API-server tests
	hack/binaries api >/dev/null
	hack/stores >/dev/null
	SLUICE_OPERATOR=$(CARGO_TARGET_DIR)/debug/operator RUST_TEST_THREADS=4 cargo test --workspace
	@# Again, to show which phases, verbs and faults its worlds have covered.
	cargo test --quiet --workspace --test matrix -- --nocapture

clients: ground ## clients of the Open Inference Protocol from PyPI, and the OpenAPI document, against a model server
	cargo build --quiet -p model-server --bin model-server
	hack/clients

crashes: ground ## the operator is killed before and after each of its writes, about 9 minutes
	hack/binaries api >/dev/null
	cargo build --quiet -p operator --bin operator
	SLUICE_OPERATOR=$(CARGO_TARGET_DIR)/debug/operator cargo test -p e2e --test api_faults -- --ignored --nocapture --test-threads 1

mutants: ground ## wrong decisions on purpose: the tests must notice each
	hack/mutants

fuzz: ground    ## bytes that nobody should send, SECONDS (60) for each of 10 readers; not part of `make test`
	hack/fuzz $(or $(SECONDS),60)

sweep: ground   ## a few harmless rollouts, to notice when too many are rolled back
	cargo run --release --quiet -p bench -- sweep --rollouts 10

e2e: images     ## the whole story on a real node
	hack/stores >/dev/null
	cargo build --release --bin broken-server
	hack/images broken-server
	hack/models
	hack/with-cluster cargo test --workspace --test node -- --ignored --nocapture --test-threads=1 the_whole_story

bench-evidence: ground ## false rollbacks, detection, drift: the figures of docs/, with peers
	cargo build --release -p bench -p model-server
	hack/bench-evidence

bench-operator: ground ## the operator beside 1,000 ModelDeployments: time, memory, CPU, requests
	cargo build --release -p operator --bin operator -p e2e --bin bench-operator
	hack/bench-operator

bench-router: ground ## the router beside nginx, HAProxy, Pingora and hyper, on one core: R1 to R8
	cargo build --profile lean -p router --bin router
	cargo build --release -p bench
	hack/bench-router

bench-server: ground ## the model server beside FastAPI, LitServe, TorchServe and the model alone: S1 to S8
	cargo build --release -p model-server -p bench -p limits
	hack/bench-server

bench-rollback: images ## 300 rollbacks by a person on a real node: how long each takes
	hack/models
	hack/with-cluster cargo test -p e2e --test node -- --ignored --nocapture a_person_rolls_back_many_times

cluster:        ## start the node (CLUSTER=kind: with kind and docker)
	hack/cluster up

cluster-down:   ## remove the node without a trace
	hack/cluster down

images: ground  ## build the images of operator, router and model server
	cargo build --release --bin operator --bin model-server --bin demo
	cargo build --profile lean -p router --bin router
	hack/images

ground:         ## get what builds and tests need
	hack/ground

crds: ground    ## write crds/ and the chart's copy from the types
	hack/crds
