# make reproduce   measure the claims of every paper and print them beside the paper's values
# make test        lint, types, layers, doctests, tests, notebooks, every experiment at smoke scale
# make docs        the documentation, in docs/_build/html; warnings are errors
# make install     only set up .venv
PYTHON ?= python3
SCALE ?= smoke
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help install reproduce test docs lint lock index bench clean

help:
	@sed -n 's/^# //p' Makefile | head -4

# The stamp depends on what is installed, so that a second run installs nothing.
$(VENV)/installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

install: $(VENV)/installed

reproduce: install
	$(BIN)/dlmath run --all --scale $(SCALE) --refresh-stale

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pyright

test: lint
	$(BIN)/pytest

docs: install
	JAX_COMPILATION_CACHE_DIR="$(CURDIR)/.cache/jax" $(BIN)/python -m sphinx -W --keep-going --quiet -b html docs docs/_build/html
	@echo docs/_build/html/index.html

bench: install
	$(BIN)/python -m benchmarks

# Record measured costs and verdicts of the latest runs in experiments/ and the README.
index: install
	$(BIN)/dlmath index

# Needs uv; prints a lock without addresses.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-annotate --no-header \
	  --group dev --extra cluster --extra review --extra docs pyproject.toml --output-file requirements.lock

clean:
	rm -rf $(VENV) results .cache docs/_build .pytest_cache .ruff_cache .import_linter_cache
