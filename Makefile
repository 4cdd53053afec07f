# make run: a real call, recorded, sealed and ready to be heard. make test: every promise, in at most eight minutes.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help run install test lint assure fuzz bench clean

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

run: $(VENV)/.run ## place a real encrypted call, seal it, and open the console
	@$(BIN)/callseal up --try

install: $(VENV)/.run ## only install what running needs

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Callseal needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "Install the venv module first: apt-get install python3-venv"; exit 1; }

$(VENV)/.run: requirements.lock pyproject.toml | $(VENV)/bin/python
	@echo "Installing (about 20 seconds the first time) …"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-build.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q src
	@touch $@

$(VENV)/.test: requirements-test.lock pyproject.toml $(VENV)/.run
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-test.lock
	@touch $@

lint: $(VENV)/.test ## style, types and which room may import which
	@$(BIN)/ruff check src tests tools bench fuzz
	@$(BIN)/mypy
	@PYTHONPATH=. $(BIN)/lint-imports --no-cache

test: lint ## every promise, with a seeded sample of the long checks; beside it each parser is fuzzed, three quarters of a minute of the processor each
	@$(BIN)/python -m fuzz --cpu-seconds 45 --seconds 400 --at-once 6 --beside $(BIN)/pytest -m "not long" -n 4 --dist loadfile --no-loadscope-reorder --every-promise

assure-%: $(VENV)/.test ## an issue's full figure, written to docs/assurance/
	@$(BIN)/python -m tests.assurance $*

fuzz: $(VENV)/.test ## ten minutes of the processor for each parser; what is learnt goes into fuzz/corpus
	@$(BIN)/python -m fuzz --keep

bench: $(VENV)/.test ## what a packet and a call cost
	@$(BIN)/python -m bench

lock: ## make the lock files again
	@for part in "" test build; do \
	  uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-annotate --no-header \
	    $${part:+--extra $$part} pyproject.toml -o requirements$${part:+-$$part}.lock; done

clean: ## remove what was installed here (never the data folder)
	@rm -rf $(VENV)
