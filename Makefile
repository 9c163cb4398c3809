# make study   environment, data and the default study; prints the path of the report
# make test    environment, lint and tests          make lab       JupyterLab on the notebooks
# make smoke   the whole study in minutes           make publish   small results to results/published
# Another study: make study CONFIG=config/overnight.yaml
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.PHONY: study smoke test lint lab publish lock clean

PYTHON ?= python3
CONFIG ?= config/laptop.yaml
BIN := .venv/bin
STAMP := .venv/.installed
RUN := $(BIN)/snakemake --cores all
SMOKE_REPORT := results/smoke/09_report/index.html
# uv asks the package index that pip is configured with.
INDEX = $(shell echo "$${UV_DEFAULT_INDEX:-$${PIP_INDEX_URL:-$$($(BIN)/python -m pip config get global.index-url 2>/dev/null)}}")
UV = $(if $(INDEX),UV_DEFAULT_INDEX="$(INDEX)") $(BIN)/uv pip

study: $(STAMP)
	$(BIN)/python -m groundsynth unlock
	$(RUN) --configfile $(CONFIG)

smoke: $(STAMP)
	$(BIN)/python -m groundsynth unlock
	$(RUN) --configfile config/smoke.yaml

test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint --configfile config/smoke.yaml
	$(BIN)/lint-imports

lab: $(STAMP)
	test -f $(SMOKE_REPORT) || $(MAKE) smoke
	$(BIN)/jupyter lab --notebook-dir=. notebooks

publish: $(STAMP)
	$(RUN) publish --configfile $(CONFIG)

# One installation per lock file. Torch comes from the same index as everything else.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python %d.%d is too old: groundsynth needs 3.11 or newer; name one with: make study PYTHON=python3.12" % sys.version_info[:2])'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.8
	$(UV) install --python $(BIN)/python --compile-bytecode --requirement requirements.lock
	$(UV) install --python $(BIN)/python --no-deps --editable .
	touch $(STAMP)

# The exact versions, for every platform and for Python 3.11 and newer; names no index.
lock: $(STAMP)
	$(UV) compile --universal --python-version 3.11 --extra dev pyproject.toml -o requirements.lock --no-header --no-annotate

clean:
	rm -rf results/scratch logs .pytest_cache .ruff_cache .import_linter_cache .grimp_cache .hypothesis
