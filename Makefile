# Two commands are all the set-up there is: `make demo`, `make test`. Each creates .venv when it is missing.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/.ready

.PHONY: setup demo test lint bench services

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@"$(PYTHON)" -c 'import sys; v = sys.version.split()[0]; sys.exit(0 if sys.version_info[:2] == (3, 11) else \
		"quantalpha needs Python 3.11, found %s; install it and name it: make PYTHON=/path/to/python3.11 setup" % v)'
	@echo "Setting up .venv from requirements.lock (two to four minutes, once)"
	@"$(PYTHON)" -m venv .venv
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet -r requirements.lock
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: $(READY)
	@$(BIN)/quantalpha demo

test: $(READY)
	@$(BIN)/python -m pytest -n 2

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/nbstripout --verify --extra-keys "metadata.papermill cell.metadata.papermill cell.metadata.execution" notebooks/*.ipynb notebooks/*/*.ipynb

bench: $(READY)
	@for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

# PostgreSQL, Redis and InfluxDB of the system's packages on free loopback ports, until Ctrl-C; prints their URLs for .env
services:
	@"$(PYTHON)" tests/services.py run
