# make demo: environment, install, then a Darcy operator from equation to picture, in minutes on a laptop.
# make test: environment, install, then lint, types, floors, documentation and tests.
PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 2

.PHONY: demo test lint types docs clean

demo: .venv/.demo
	$(BIN)/python recipes/darcy.py --preset quick

test: .venv/.test lint types docs
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

lint: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

types: .venv/.test
	$(BIN)/basedpyright --level error

docs: .venv/.test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

.venv/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sciml needs Python 3.11 or newer; set PYTHON=... for make")'
	$(PYTHON) -m venv .venv
	touch $@

.venv/.demo: .venv/.python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[plots]'
	touch $@

.venv/.test: .venv/.demo
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[plots,particles,codecs,cluster,compare,docs,test]'
	touch $@

clean:
	rm -rf .venv site .ruff_cache .pytest_cache .hypothesis
