# `make demo` and `make test` set up the project's own environment in .venv, and then do their work; nothing else is
# needed beyond Python 3.11 or later.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
JOBS ?= 2
EXTRAS := demo,dev,diffusion,export,train

# A Python that is asked for has an environment of its own: make test PYTHON=/path/to/python3.13
VENV := .venv$(if $(filter file,$(origin PYTHON)),,-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
STUDIES = ablation why-unet local-samples sample-complexity samplers relu
BENCHES = $(sort $(filter-out tests/bench/_%,$(wildcard tests/bench/*.py)))

.DEFAULT_GOAL := help
.PHONY: help venv demo test check lint format types floors tutorials explorer pictures reference docs docs-serve pytest fast search \
	wheel-test bench studies clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do \
		printf '  make %-12s %s\n' "$$name" "$$text"; done

venv: $(INSTALLED) ## the environment alone

$(INSTALLED): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "make: no python3.11 and no python3 on the PATH; set PYTHON=/path/to/python" >&2; exit 1; }
	@test -x $(BIN)/pip || "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "make: $(PYTHON) is older than 3.11; set PYTHON=/path/to/python3.11" >&2; exit 1; }
	test -x $(BIN)/pip || "$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs,$(EXTRAS)]'
	@touch $@

# One thread for each process: tensors here are small, and workers would fight over the cores.
demo pytest fast search wheel-test bench studies explorer: export OMP_NUM_THREADS = 1

demo: $(INSTALLED) ## learn, compile, classify, denoise, sample and diffuse handwritten digits
	$(BIN)/hgm demo

test: lint types floors docs pytest ## every check: lint, format, types, import floors, strict docs, tests

check: lint types floors fast ## the checks that take about two minutes: what runs before a push

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

tutorials: $(INSTALLED) ## the pages of the tutorials, into docs/tutorials/: each is run if it, or hgm, has changed
	$(BIN)/python tutorials/_build.py

explorer: docs/explorer.html ## the explorer on the front page, if hgm has changed

HGM = $(shell find hgm -name '*.py' -o -path '*/explorer/page/*')

docs/explorer.html: docs/explorer.yaml $(HGM) | $(INSTALLED)
	$(BIN)/hgm explore $< -o $@ --values=-1,0,1

pictures: docs/pictures/.drawn ## the pictures of the pages, if hgm has changed

docs/pictures/.drawn: pages/pictures.py $(HGM) | $(INSTALLED)
	$(BIN)/python -m pages.pictures
	@touch $@

reference: $(INSTALLED) ## the pages of the reference, from the code
	$(BIN)/python -m pages.reference

docs docs-serve: export NO_MKDOCS_2_WARNING = 1
docs: tutorials explorer pictures reference ## the site, strictly, into site/
	$(BIN)/python -m mkdocs build --strict

docs-serve: tutorials explorer pictures reference ## the site, at http://127.0.0.1:8000, as the pages change
	$(BIN)/python -m mkdocs serve

pytest: $(INSTALLED) ## all tests but the slow ones, with JOBS=2 workers
	$(BIN)/pytest -n $(JOBS) -m "not slow"

fast: $(INSTALLED) ## the tests that pytest runs by default, but those that go through every canonical tree
	$(BIN)/pytest -n $(JOBS) -m "not (slow or long or docs or export or broad)"

search: $(INSTALLED) ## the whole search for wrong answers: random models and evidence against enumeration, for minutes
	$(BIN)/pytest -n $(JOBS) -m "slow or not slow" tests/search

wheel-test: $(INSTALLED) ## build the wheel, install it alone, and test it from a copy of the tests
	rm -rf build/wheel
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir build/wheel .
	$(BIN)/python -m venv build/wheel/venv
	build/wheel/venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		"$$(echo build/wheel/*.whl)[$(EXTRAS)]"
	cp -r tests pyproject.toml build/wheel/
	cd build/wheel && venv/bin/pytest -n $(JOBS) -m "not slow"

bench: $(INSTALLED) ## the benchmarks; each prints a table
	@set -e; for script in $(BENCHES); do echo "== $$script"; $(BIN)/python "$$script"; done

studies: $(INSTALLED) ## all studies, into docs/studies: hours from the start, seconds where all cells are done
	@set -e; for name in $(STUDIES); do echo "== $$name"; $(BIN)/hgm study $$name; done

clean: ## remove what was built and the caches; environments stay
	rm -rf $(filter-out docs/tutorials/README.md,$(wildcard docs/tutorials/*)) docs/explorer.html docs/pictures docs/reference
	rm -rf site build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
