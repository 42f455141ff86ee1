# Everything runs in .venv, which each target makes or brings up to date by itself.
# PYTHON=python3.12 make test      another Python, 3.11 or newer
# make demo ARGS=--stay            the demo, left up to click through

PYTHON ?= python3
ARGS ?=
SHELL := /bin/sh

# Called as modules, for the path of this folder may hold spaces.
RUN := .venv/bin/python -m
PIP := $(RUN) pip --disable-pip-version-check --quiet --quiet

.PHONY: demo test test-heavy bench clean

demo: .venv/.ready-to-run
	@$(RUN) scenarios.demo $(ARGS)

# Four at a time also on two cores: half of the time is spent waiting for servers and disks.
test: .venv/.ready-to-test
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy
	.venv/bin/lint-imports
	$(RUN) pytest -m "not heavy" --numprocesses 4 $(ARGS)

# What needs Ceph, Chromium, n8n or Node-RED is skipped, in words, where that is not installed; scripts in .ci do it.
# Most of it waits for servers: three at a time. What kills processes, fills disks or races has the machine to itself.
# Exit status 5 of pytest: nothing to run there, as with ARGS="-k …".
WAITING := tests/clients tests/browser tests/flows tests/handlers tests/web

test-heavy: .venv/.ready-to-test
	$(RUN) pytest -m heavy $(WAITING) --numprocesses 3 --dist loadgroup $(ARGS) || [ $$? -eq 5 ]
	$(RUN) pytest -m heavy $(WAITING:%=--ignore %) $(ARGS) || [ $$? -eq 5 ]

bench: .venv/.ready-to-test
	$(RUN) tests.bench $(ARGS)

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage
	find guard handlers scenarios tests -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Guard needs Python 3.11 or newer; name one: make PYTHON=python3.11"; exit 1; }
	@echo "Making .venv ..."
	@$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

.venv/.ready-to-run: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing Guard into .venv ..."
	@$(PIP) install --constraint constraints.txt --editable .
	@touch $@

.venv/.ready-to-test: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing Guard and its tools for tests into .venv ..."
	@$(PIP) install --constraint constraints.txt --editable '.[dev]'
	@touch .venv/.ready-to-run $@
