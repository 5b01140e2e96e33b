# `make train` and `make test` set up everything they need in .venv and run.

PYTHON ?= python3
CONFIG ?= configs/oracle.py
BIN := .venv/bin

.PHONY: train table1 rivals test lint clean

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

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -qq --upgrade pip
	$(BIN)/python -m pip install -qq --config-settings editable_mode=compat --editable '.[test]'
	touch $@

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache seqgan_jax.egg-info
