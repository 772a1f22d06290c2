# `make demo` and `make test` are all that a newcomer needs; both create .venv where it is missing.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
# torch comes from wherever pip finds the pinned version; see README.md for its CPU build.
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test lint check-types pytest test-t5x clean

$(VENV)/.installed: setup.py constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)
	$(PIP_INSTALL) -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP_INSTALL) -e .[dev]
	touch $@

demo: $(VENV)/.installed
	$(BIN)/flan-jax demo

test: lint check-types pytest

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

check-types: $(VENV)/.installed-dev
	$(BIN)/mypy

pytest: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile -q

test-t5x: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q -m t5x tests/engines -rs

clean:
	rm -rf $(VENV) build dist *.egg-info
