# Everything people and CI run. Needs make and a python3 of 3.11 or later, nothing else.
#   make test ARGS="-k store"    make test WORKERS=0    make lock ARGS=--upgrade    make bench BENCH=append

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
TOOLS := $(VENV)/tools
TYPES := $(VENV)/slack-types
WARM := $(VENV)/warm
ARGS ?=
# More workers than cores, as most tests wait; each more costs 6 s of CPU, for it collects every test itself.
WORKERS ?= 6
STORY ?= rollback

COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command "make lock"

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup browser check plain types test fmt demo playground torture bench lock audit clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## an environment in .venv; does nothing while the locks stay as they are

$(TOOLS): requirements/build.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make setup PYTHON=...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.lock
	@touch $@

$(READY): requirements/dev.lock pyproject.toml $(TOOLS)
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements/dev.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

browser: $(READY) ## what driving a page needs, beside a chromium
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/browser.lock

check: $(READY) ## style, types, who may import whom, and whether a plain install starts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m docs.generate --check
	@$(MAKE) --no-print-directory plain types

plain: $(READY) ## the wheel and the locked packages in an empty environment: doctor, plan lint, serve
	@$(BIN)/python -m tests.plain

types: $(READY) ## our messages against Slack's own types; needs npm
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory $(TYPES)/ready && \
		$(BIN)/python -m tests.slack.types.payloads $(TYPES)/messages.ts && $(TYPES)/node_modules/.bin/tsc -p $(TYPES) && \
		echo "Slack's types agree with our messages."; \
	else echo "NOT CHECKED: messages against Slack's types. npm is missing: apt-get install npm" >&2; test -z "$$CI"; fi

$(TYPES)/ready: $(wildcard tests/slack/types/*.json tests/slack/types/*.ts)
	@mkdir -p $(TYPES)
	cp tests/slack/types/*.json tests/slack/types/*.ts $(TYPES)
	npm install --silent --no-package-lock --no-audit --no-fund --ignore-scripts --prefix $(TYPES)
	@touch $@

test: check browser $(WARM) ## the checks, then the tests
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest --numprocesses=$(WORKERS) $(ARGS)

# Every worker would make the same bytecode for itself: three times the work of collecting. What fails here, the tests tell.
$(WARM): $(READY) $(shell find tests -name '*.py' 2>/dev/null)
	@printf '%s\n' tests/*/ | PYTHONDONTWRITEBYTECODE= xargs -P 2 -n 18 $(BIN)/pytest --collect-only -qq -p no:cacheprovider >/dev/null || :
	@touch $@

fmt: $(READY) ## put the style right, and write the pages that are made from the code
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(BIN)/python -m docs.generate

demo: $(READY) ## a shop, a bad release and a rollback, on this machine; STORY=schema-down, bad-target, forward ... for others
	$(BIN)/python -m bot.playground.demo --story $(STORY) $(ARGS)

playground: $(READY) ## the demo's world with a web page, to drive it by hand
	$(BIN)/rollback-bot playground $(ARGS)

torture: $(READY) ## kill and freeze nodes in the middle of runs, then look for damage
	$(BIN)/python -m tests.torture $(ARGS)

bench: $(READY) ## measure one thing: make bench BENCH=<name of a file in bench/>
	@test -f "bench/$(BENCH).py" || { echo "make bench BENCH=<name>, of:" $(filter-out __init__,$(basename $(notdir $(wildcard bench/*.py)))); exit 2; }
	$(BIN)/python -m bench.$(BENCH) $(ARGS)

lock: | $(TOOLS) ## pin every version and hash again; ARGS=--upgrade for newer ones
	$(COMPILE) $(ARGS) pyproject.toml -o requirements/runtime.lock
	$(COMPILE) $(ARGS) pyproject.toml --all-extras --group dev -c requirements/runtime.lock -o requirements/dev.lock
	$(COMPILE) $(ARGS) --group browser -c requirements/dev.lock -o requirements/browser.lock
	$(COMPILE) $(ARGS) --group build -c requirements/dev.lock -o requirements/build.lock
	$(COMPILE) $(ARGS) --group audit -o requirements/audit.lock
	$(COMPILE) $(ARGS) --group cloud -o requirements/cloud.lock

audit: | $(TOOLS) ## known faults of everything that is locked; asks the network
	@test -x $(VENV)/audit/bin/python || $(BIN)/uv venv --quiet $(VENV)/audit
	$(BIN)/uv pip install --quiet --python $(VENV)/audit/bin/python --require-hashes -r requirements/audit.lock
	@for lock in runtime dev browser build; do echo "$$lock:"; \
		$(VENV)/audit/bin/pip-audit --progress-spinner off --disable-pip --require-hashes -r requirements/$$lock.lock || exit 1; done

clean: ## remove what was made: the environment, caches, builds
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
