# `make train` and `make test` set up everything they need in .venv and run.

PYTHON ?= python3
CONFIG ?= configs/oracle.py
BIN := .venv/bin

.PHONY: train test lint clean

train: .venv/installed
	$(BIN)/python bin/train.py --config=$(CONFIG) $(FLAGS)

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
