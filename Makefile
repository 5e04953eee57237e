# Everything a developer does here. Each target sets up what it needs by itself, once, into .venv.
.DEFAULT_GOAL := help
.PHONY: help run run-storage serve emulator test test-fast mutants check soak bench bench-import package audit lock openapi clean

PORT ?= 7071
EMULATOR_PORT ?= 7072
FOR_PYTHON ?= 3.13
PYTHON := .venv/bin/python
export PYTHONUNBUFFERED := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help: ## say what there is
	@echo "make run       the gateway and an emulator of Azure OpenAI; prints a line that draws a picture"
	@echo "make run-storage  the same, with its state in Azurite, the emulator of Azure Storage (needs npm)"
	@echo "make serve     the gateway alone on PORT (default 7071), with the settings of the environment"
	@echo "make emulator  the emulator alone on EMULATOR_PORT (default 7072)"
	@echo "make test      everything that CI runs: make check, then the tests"
	@echo "make test-fast the tests but for the few that take a third of the time"
	@echo "make mutants   whether the tests notice changes of the code: a sample of 200 (half an hour; ARGS=--help)"
	@echo "make check     formatting, linters, types, and the direction of imports"
	@echo "make soak      ten minutes of mixed and faulty calls: nothing lost, nothing hanging, memory flat"
	@echo "make bench     what the gateway costs, beside others: docs/performance.md (20 minutes; ARGS=--quick: 2)"
	@echo "make bench-import  what a cold start costs, and which imports take it (a minute)"
	@echo "make lock      requirements*.txt from requirements*.in: the newest versions within their ranges, with hashes"
	@echo "make package   dist/gateway.zip, ready to run in Azure: packages and byte code for Python FOR_PYTHON (default 3.13)"
	@echo "make openapi   openapi.json, the description of the API, anew from the code"
	@echo "make audit     known holes in the packages that run in Azure"
	@echo "make clean     remove what these commands have made"

run: .venv/.local
	@exec $(PYTHON) -m localhost.demo --port $(PORT)

run-storage: .venv/.local .cache/azurite/.done
	@exec $(PYTHON) -m localhost.demo --port $(PORT) --storage

serve: .venv/.local
	@exec $(PYTHON) -m localhost --port $(PORT)

emulator: .venv/.local
	@exec $(PYTHON) -m emulator --port $(EMULATOR_PORT)

test: check .cache/clients/.done .cache/azurite/.done
	$(PYTHON) -m pytest -n auto --dist worksteal

test-fast: .venv/.dev .cache/clients/.done .cache/azurite/.done
	$(PYTHON) -m pytest -n auto --dist worksteal -m "not slow"

mutants: .venv/.dev .cache/azurite/.done
	@exec $(PYTHON) -m tools.mutants $(ARGS)

check: .venv/.dev
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy
	.venv/bin/lint-imports

soak: .venv/.dev
	$(PYTHON) -m tests.faults.soak

bench: .venv/.dev
	@exec $(PYTHON) -m bench $(ARGS)

bench-import: .venv/.dev
	@exec $(PYTHON) -m bench.imports $(ARGS)

package: .venv/.dev
	@exec $(PYTHON) -m tools.package --python $(FOR_PYTHON) $(FILES)

openapi: .venv/.dev
	@$(PYTHON) -m tools.openapi

# Fails where a package cannot be looked up: what is not known is not safe.
audit: .cache/lock/.done
	.cache/lock/bin/pip-audit --strict --require-hashes --disable-pip --requirement requirements.txt

# The exact versions and hashes of all packages, for every Python and platform, from the ranges in requirements*.in.
lock: .cache/lock/.done
	for name in requirements requirements-local requirements-dev requirements-lock; do \
		.cache/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
			--no-emit-index-url --custom-compile-command "make lock" $$name.in --output-file $$name.txt || exit 1; \
	done

.venv/bin/python:
	@python=$$(tools/find-python) && echo "Setting up .venv with $$python" && "$$python" -m venv .venv

.cache/lock/.done: .venv/bin/python requirements-lock.txt
	@rm -rf .cache/lock && $(PYTHON) -m venv .cache/lock
	@.cache/lock/bin/python -m pip install --quiet -r requirements-lock.txt
	@touch $@

.venv/.local: .venv/bin/python requirements-local.txt
	@echo "Installing packages (once, about half a minute) ..."
	@$(PYTHON) -m pip install --quiet -r requirements-local.txt
	@touch $@

.venv/.dev: .venv/.local requirements-dev.txt
	@echo "Installing the packages for development (once, about a minute) ..."
	@$(PYTHON) -m pip install --quiet -r requirements-dev.txt
	@touch $@

# The other SDKs of tests/clients: openai 1.x for Python beside the newest, and openai for Node where there is npm.
.cache/clients/.done: .venv/.dev tests/clients/package.json
	@rm -rf .cache/clients && mkdir -p .cache/clients/node
	@echo "Installing the SDKs that the gateway is tested with ..."
	@$(PYTHON) -m pip install --quiet --target .cache/clients/python-1 "openai>=1.50,<2"
	@cp tests/clients/package.json .cache/clients/node/
	@if command -v npm >/dev/null; then \
		npm install --prefix .cache/clients/node --no-audit --no-fund --no-package-lock --loglevel=error; \
	else echo "No npm: the tests with the Node SDK will be skipped."; fi
	@touch $@

# Azurite, the emulator of Azure Storage, where there is npm: for `make run-storage` and the tests.
.cache/azurite/.done: tests/storage/package.json
	@rm -rf .cache/azurite && mkdir -p .cache/azurite
	@cp tests/storage/package.json .cache/azurite/
	@if command -v npm >/dev/null; then \
		echo "Installing Azurite, the emulator of Azure Storage ..."; \
		npm install --prefix .cache/azurite --no-audit --no-fund --no-package-lock --loglevel=error; \
	else echo "No npm: the tests with Azurite will be skipped."; fi
	@touch $@

clean:
	rm -rf .venv .cache dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
