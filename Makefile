# Development loop of kuttab. Bare `make` lists the targets.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
JOBS ?= 2
ROOMS := rules admission api store controllers
BENCH := .venv-bench

.DEFAULT_GOAL := help
.PHONY: help quickstart test strangers check fix unit types walls lint bench bench-search bench-ask bench-rungs bench-functions generate clean coverage covered

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk 'BEGIN {FS = ":.*## "} {printf "  %-14s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev
	@touch $@

quickstart: $(STAMP) ## Set up and run the first experiment
	@$(BIN)/kuttab run examples/quickstart.yaml --data .kuttab/quickstart

STRANGERS := $(VENV)/strangers/.installed

$(STRANGERS): $(STAMP)
	@$(BIN)/python -m venv $(VENV)/strangers
	@$(VENV)/strangers/bin/python -m pip install --quiet --disable-pip-version-check 'kubeflow-katib==0.19.0' 'kubernetes<36'
	@touch $@

strangers: $(STRANGERS) ## Install the packages of others that tests drive us with

test: $(STAMP) $(STRANGERS) ## Set up and run everything that CI runs
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet .
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --cov --cov-report= || { \
	  echo "Once more, one at a time, what failed beside others; what fails alone is broken:"; \
	  $(BIN)/python -m pytest --last-failed --last-failed-no-failures none; }
	@$(MAKE) --no-print-directory covered

check: lint walls types unit ## Format, lint, walls, types, unit and contract tests (under two minutes)

lint: $(STAMP) ## Formatting and style
	@$(BIN)/ruff format --check . && $(BIN)/ruff check .

walls: $(STAMP) ## Which room may import which
	@$(BIN)/lint-imports

types: $(STAMP) ## mypy --strict
	@$(BIN)/mypy

unit: $(STAMP) ## Unit and contract tests
	@$(BIN)/python -m pytest -q -n $(JOBS) -m 'not slow' tests/unit tests/contract tests/docs

coverage: $(STAMP) ## How much of the five core rooms their own tests reach; fails under 95 %
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal --cov --cov-report= tests/unit tests/contract tests/flow
	@$(MAKE) --no-print-directory covered

covered:
	@for room in $(ROOMS); do \
	  $(BIN)/coverage report --include="src/kuttab/$$room/*" --skip-covered --precision=1 --fail-under=95 >.coverage-$$room; code=$$?; \
	  printf 'coverage of %-12s %s\n' $$room "$$(grep ^TOTAL .coverage-$$room | grep -o "[0-9.]*%")"; \
	  test $$code = 0 || { cat .coverage-$$room; failed=1; }; rm .coverage-$$room; \
	done; test -z "$$failed"

fix: $(STAMP) ## Format and mend what can be mended by itself
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

bench: $(STAMP) ## Benchmarks of the control plane and the store
	@$(BIN)/python benchmarks/control_plane.py
	@$(BIN)/python benchmarks/store.py

$(BENCH)/.installed: pyproject.toml
	@test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	@$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

bench-search: $(BENCH)/.installed ## Search quality beside other libraries (many hours; may be interrupted and continued), then docs/benchmarks.md
	@nice -n 19 $(BENCH)/bin/python -W ignore benchmarks/search_quality.py run
	@$(BENCH)/bin/python -W ignore benchmarks/search_quality.py report --output docs/benchmarks.md

bench-ask: $(BENCH)/.installed ## CPU time of one ask and tell, beside Optuna's samplers
	@nice -n 19 $(BENCH)/bin/python -W ignore benchmarks/ask_cost.py --peers --output .kuttab/bench/ask_cost.json

bench-rungs: $(BENCH)/.installed ## Multi-fidelity searches on simulated workers
	@nice -n 19 $(BENCH)/bin/python -W ignore benchmarks/multi_fidelity.py --output .kuttab/bench/multi_fidelity.json

bench-functions: $(BENCH)/.installed ## Function trials a second, beside Optuna, Ray Tune and Syne Tune; reports; 20,000 trials
	@$(BENCH)/bin/python benchmarks/functions.py
	@$(BENCH)/bin/python benchmarks/functions.py --reports --idle --large

bench-api: $(STAMP) ## Benchmark of the HTTP API and the db-manager
	@$(BIN)/python benchmarks/api_server.py

fuzz-api: $(STAMP) ## Try the HTTP API with schemathesis, which must be on the PATH
	@$(BIN)/python benchmarks/fuzz_api.py

generate: $(STAMP) ## Write generated files again
	@$(BIN)/python tools/generate.py

clean: ## Remove caches
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage* htmlcov dist build
