PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Found in Debian; the report's browser tests need them.
BROWSER := chromium
STAMP := $(VENV)/.installed

.PHONY: help run test test-all lint format bench docs browser clean

help:  ## This list.
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable . --group dev
	@touch $@

run: $(STAMP)  ## Compare augmentations on real images, print a verdict, write a report.
	$(BIN)/vicinal compare digits --methods none,mixup,cutmix,cutout,randaugment --seeds 4 --workers 2

test: $(STAMP)  ## The tests, but for slow training.
	$(BIN)/python -m pytest --numprocesses 2 -m "not slow and not gpu and not network"

test-all: $(STAMP) browser  ## All tests.
	$(BIN)/python -m pytest --numprocesses 2 -m "not gpu and not network"

lint: $(STAMP)  ## Style, types, spelling, and the direction of imports.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell src tests docs benchmarks README.md CONTRIBUTING.md CHANGELOG.md

format: $(STAMP)  ## Put the code into shape.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## The benchmarks, into benchmarks/RESULTS.md.
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group bench
	$(BIN)/python benchmarks/run_all.py

docs: $(STAMP)  ## The documentation, with the catalogue of all cards, into site/.
	NO_MKDOCS_2_WARNING=true $(BIN)/mkdocs build --strict --quiet

browser:  ## A browser for the tests of the report.
	@command -v chromium >/dev/null || (apt-get update -qq && apt-get install -y -qq $(BROWSER) >/dev/null)

clean:  ## Remove what was installed and made here.
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
