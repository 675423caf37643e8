PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= 2
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo docs release test test-core test-long test-strangers lint format clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP)  ## create .venv and install the package with its development tools

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --editable ".[dev,demo]"
	touch $@

demo: setup  ## compose a data set of handwritten digits, train, evaluate, predict, write a report
	$(BIN)/python -m demo --output runs/demo

docs: setup  ## build the documentation site in both languages: build/docs/site
	$(BIN)/python -m docs.build_site

release: setup  ## VERSION=0.2.0: build, check and tag a version; DRY_RUN=1: without the tag
	$(BIN)/python -m pip install --quiet --editable ".[release]"
	$(BIN)/python -m release "$(VERSION)" $(if $(DRY_RUN),--dry-run)

PYTEST := $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal
CORE := tests/test_imports.py tests/test_architecture.py tests/test_reference.py tests/training \
	tests/checkpoint tests/jobs/test_train.py

test: lint  ## lint, then the tests, WORKERS of them side by side
	$(PYTEST) -m "not long" --durations 30

test-core: setup  ## imports, the reference's numbers, resumed training runs: three minutes
	$(PYTEST) -m "not slow and not long" $(CORE)

test-long: setup  ## the tests that make test leaves out: larger models, many processes, many kills
	$(PYTEST) -m long --durations 30

EXAMPLES ?= 10000
COMMANDS ?= 200

test-strangers: setup  ## random files of other tools: EXAMPLES of each kind, COMMANDS whole commands
	CENTERNET2_EXAMPLES=$(EXAMPLES) CENTERNET2_COMMANDS=$(COMMANDS) $(PYTEST) tests/properties

lint: setup  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup  ## rewrite the sources in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the environment, caches and the demo's output
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache build dist runs/demo
	find src tests demo -name __pycache__ -type d -prune -exec rm -rf {} +
