# Development loop of kuttab. Bare `make` lists the targets.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
JOBS ?= 2
BENCH := .venv-bench

.DEFAULT_GOAL := help
.PHONY: help quickstart test check fix unit types walls lint bench bench-search bench-ask bench-rungs generate clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk 'BEGIN {FS = ":.*## "} {printf "  %-14s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev
	@touch $@

quickstart: $(STAMP) ## Set up and run the first experiment
	@$(BIN)/kuttab run examples/quickstart.yaml --data .kuttab/quickstart

test: $(STAMP) ## Set up and run everything that CI runs
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet .
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --cov --cov-report=

check: lint walls types unit ## Format, lint, walls, types, unit and contract tests (under two minutes)

lint: $(STAMP) ## Formatting and style
	@$(BIN)/ruff format --check . && $(BIN)/ruff check .

walls: $(STAMP) ## Which room may import which
	@$(BIN)/lint-imports

types: $(STAMP) ## mypy --strict
	@$(BIN)/mypy

unit: $(STAMP) ## Unit and contract tests
	@$(BIN)/python -m pytest -q -n $(JOBS) -m 'not slow' tests/unit tests/contract tests/docs

fix: $(STAMP) ## Format and mend what can be mended by itself
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

bench: $(STAMP) ## Benchmarks of the control plane
	@$(BIN)/python benchmarks/control_plane.py

$(BENCH)/.installed: pyproject.toml
	@test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	@$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

bench-search: $(BENCH)/.installed ## Search quality beside other libraries (many hours; may be interrupted and continued), then docs/benchmarks.md
	@nice -n 19 $(BENCH)/bin/python -W ignore benchmarks/search_quality.py run
	@$(BENCH)/bin/python -W ignore benchmarks/search_quality.py report --output docs/benchmarks.md

bench-ask: $(BENCH)/.installed ## CPU time of one ask and tell, beside Optuna's samplers
	@nice -n 19 $(BENCH)/bin/python -W ignore benchmarks/ask_cost.py --peers

bench-rungs: $(STAMP) ## Multi-fidelity searches on simulated workers
	@nice -n 19 $(BIN)/python benchmarks/multi_fidelity.py

generate: $(STAMP) ## Write generated files again
	@$(BIN)/python -m kuttab.wiring.generate

clean: ## Remove caches
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage* htmlcov dist build
