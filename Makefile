# `make train` and `make test` set up everything they need in .venv and run.

PYTHON ?= python3
CONFIG ?= configs/oracle.py
BIN := .venv/bin

.PHONY: train table1 rivals test test-newest test-oldest lint clean

train: .venv/installed
	$(BIN)/python bin/train.py --config=$(CONFIG) $(FLAGS)

# The paper's Table 1 and its rivals, under one budget, VARIANT=paper for the original code's;
# OUT=FOLDER holds the runs and the report.
OUT ?= runs/methods
VARIANT ?= compare
COMPARE := bin/compare.py --config=configs/oracle.py:$(VARIANT) --out=$(OUT)
RIVALS := mle,seqgan,reinforce,maligan,rankgan,gumbel_softmax,wgan,wgan_gp

table1: .venv/installed
	$(BIN)/python $(COMPARE) $(FLAGS)

rivals: .venv/installed
	$(BIN)/python $(COMPARE) --methods=$(RIVALS) $(FLAGS)

test: .venv/installed lint
	$(BIN)/python -m pytest -n 2 --dist worksteal

# A short form of it, of what leans most on JAX's interfaces and on Orbax's: under a newer Python with
# the newest releases there are for it, or with the oldest that setup.cfg admits.
NEWEST ?= python3.13
OLDEST ?= python3.11
INTERFACES := tests/end_to_end_test.py::test_kill_9_and_the_same_command_again \
	tests/sampling_test.py

test-newest test-oldest: test-%: .venv-%/installed
	.venv-$*/bin/python -m pytest -n 2 --dist loadfile $(INTERFACES)

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

%/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $*
	$*/bin/python -m pip install -qq --upgrade pip
	sed -n 's/^    \([A-Za-z-]*\)>=/\1==/p' setup.cfg > $*/oldest.txt
	$*/bin/python -m pip install -qq $(CONSTRAINTS) --config-settings editable_mode=compat \
		--editable '.[test]'
	touch $@

.venv-newest/installed: PYTHON = $(NEWEST)
.venv-oldest/installed: PYTHON = $(OLDEST)
.venv-oldest/installed: CONSTRAINTS = --constraint .venv-oldest/oldest.txt

clean:
	rm -rf .venv .venv-newest .venv-oldest .mypy_cache .pytest_cache .ruff_cache seqgan_jax.egg-info
