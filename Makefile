# `make demo` and `make test` set up the project's own environment in .venv and then do their work; nothing else is
# needed beyond Python 3.11 or later.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
JOBS ?= 2

BIN := .venv/bin
INSTALLED := .venv/.installed
BENCHES = $(sort $(filter-out tests/bench/_%,$(wildcard tests/bench/*.py)))

.DEFAULT_GOAL := help
.PHONY: help venv demo test lint format types floors docs pytest bench study-relu clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do \
		printf '  make %-12s %s\n' "$$name" "$$text"; done

venv: $(INSTALLED) ## the environment alone, in .venv

$(INSTALLED): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "make: no python3.11 and no python3 on the PATH; set PYTHON=/path/to/python" >&2; exit 1; }
	@test -x $(BIN)/pip || "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "make: $(PYTHON) is older than 3.11; set PYTHON=/path/to/python3.11" >&2; exit 1; }
	test -x $(BIN)/pip || "$(PYTHON)" -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,dev,docs,export]'
	@touch $@

demo: $(INSTALLED) ## learn, compile, classify, denoise and sample handwritten digits
	$(BIN)/hgm demo

test: lint types floors docs pytest ## every check: lint, format, types, import floors, strict docs, tests

lint: $(INSTALLED) ## ruff: lint and format, checked only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(INSTALLED) ## ruff: fix and format in place
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(INSTALLED) ## mypy
	$(BIN)/mypy

floors: $(INSTALLED) ## no module imports from a floor above its own
	$(BIN)/lint-imports --no-logo

docs: export NO_MKDOCS_2_WARNING = 1
docs: $(INSTALLED) ## the site, strictly, into site/
	$(BIN)/mkdocs build --strict

# One thread for each worker: tensors here are small, and workers would fight over the cores.
pytest: export OMP_NUM_THREADS = 1
pytest: $(INSTALLED) ## the tests alone, with JOBS=2 workers
	$(BIN)/pytest -n $(JOBS)

bench: export OMP_NUM_THREADS = 1
bench: $(INSTALLED) ## the benchmarks; each prints a table
	@set -e; for script in $(BENCHES); do echo "== $$script"; $(BIN)/python "$$script"; done

study-relu: $(INSTALLED) ## the study of ReLU networks with a certificate
	$(BIN)/hgm study relu

clean: ## remove what was built and the caches; .venv stays
	rm -rf site build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
