# Everything a newcomer needs: `make run`, `make test`, `make check`. `make help` lists the rest.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.stamp-installed
DOCS_VENV := .venv-docs

.PHONY: help setup system run quick test test-root test-user hermes test-hermes test-browser pictures check format docs dist soak bench lock clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 13

setup: $(STAMP)  ## .venv with Tenure and its tools
$(STAMP): pyproject.toml requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Tenure needs Python 3.11 or later; run: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

system:  ## install the system packages that some tests need (Debian, as root)
	@sh scripts/system-packages.sh

run: setup  ## the founding scenario, live, in a temporary home (under 2 minutes)
	@$(BIN)/python -m scenario run

quick: setup  ## the tests to run while working: no processes (under 1 minute)
	@$(BIN)/python scripts/run_tests.py quick

test: setup system  ## the whole test suite, with coverage of domain/ and store/
	@$(BIN)/python scripts/run_tests.py all

test-root: setup system  ## as root: the tests in which the user matters
	@$(BIN)/python -m pytest -q -p no:cacheprovider -m root $$(grep -rl mark.root tests --include='test_*.py')

test-user: setup system  ## as root: the whole test suite as an ordinary user, in a copy
	@scripts/as_ordinary_user.sh make test

hermes: setup  ## install real Hermes Agents into ~/.cache, each in its own environment
	@$(BIN)/python scripts/hermes_venvs.py

test-hermes: setup system hermes  ## the tests with real Hermes Agents (at most 8 minutes)
	@$(BIN)/python scripts/run_tests.py hermes

test-browser: setup system  ## the page in a real Chromium (at most 2 minutes)
	@$(BIN)/python -m pytest -q -p no:cacheprovider -m browser tests/browser

pictures: setup system  ## screenshots into build/pictures; renews those of the README
	@TENURE_PICTURES=build/pictures $(BIN)/python -m pytest -q -m browser tests/browser/test_browser_pictures.py
	@mkdir -p docs/images && cp build/pictures/overview.png build/pictures/gateway-killed.png docs/images/

check: setup  ## lint, format, types, import layers, language rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --config-file tests/mypy.ini
	$(BIN)/lint-imports
	$(BIN)/python scripts/check_circles.py
	$(BIN)/python scripts/check_words.py

format: setup  ## format the code with ruff
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(DOCS_VENV)/.stamp-installed  ## the documentation site in build/docs, every link checked
	NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build --strict
$(DOCS_VENV)/.stamp-installed: requirements-docs.lock
	$(PYTHON) -m venv $(DOCS_VENV)
	$(DOCS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-docs.lock
	@touch $@

dist: setup  ## the wheel and the source distribution, into dist/
	rm -rf dist
	$(BIN)/python -m hatchling build

soak: setup  ## the founding scenario for 10 minutes, with random kills and freezes
	@$(BIN)/python -m scenario soak --seconds 600

bench: setup  ## measure Tenure beside APScheduler; writes benchmarks/results.{md,json}
	@$(BIN)/python -m benchmarks

lock: setup  ## renew requirements-*.lock
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/pip-compile -q --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
	  --no-emit-options --no-header --strip-extras --allow-unsafe --generate-hashes --extra dev \
	  -o requirements-dev.lock pyproject.toml
	$(BIN)/pip-compile -q --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
	  --no-emit-options --no-header --strip-extras --allow-unsafe --generate-hashes --extra docs \
	  -o requirements-docs.lock pyproject.toml

clean:  ## remove everything that was built
	rm -rf $(VENV) $(DOCS_VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* dist build
