# FluxCloud. `make help` lists what there is.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
export PYTHONDONTWRITEBYTECODE =

.PHONY: help setup engines fmt check lint test e2e demo bench vectors clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

$(VENV)/.installed: pyproject.toml constraints.txt scripts/setup.sh scripts/packages.sh
	@PYTHON=$(PYTHON) sh scripts/setup.sh $(VENV)

setup: $(VENV)/.installed ## install what is needed: .venv, and Debian packages where it is root

engines: ## install the real engines that tests and benchmarks run against, where it is root
	@sh scripts/packages.sh dockerd=docker.io haproxy docker-registry curl wrk \
		podman runc /usr/lib/podman/netavark=netavark /usr/lib/podman/aardvark-dns=aardvark-dns

fmt: setup ## format the code
	$(BIN)/ruff format src tests benchmarks
	$(BIN)/ruff check --fix -q src tests benchmarks

lint: setup
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint ## lint, types, layers, unit and property tests
	$(BIN)/pytest -q -n 2 tests/unit tests/property

test: engines check ## set up, check, integration and end-to-end tests: some 20 minutes
	$(BIN)/pytest -q tests/integration tests/e2e

e2e: setup engines ## end-to-end tests alone
	$(BIN)/pytest -q tests/e2e

demo: setup ## a network, an app on three nodes, a node killed under load, nothing lost
	@sh scripts/demo.sh

bench: setup engines ## print the figures of docs/benchmarks.md
	@sh benchmarks/run.sh

vectors: setup ## write the test vectors anew from the unit tests
	FLUXCLOUD_WRITE_VECTORS=1 $(BIN)/pytest -q tests/unit/ledger tests/unit/specfile

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
