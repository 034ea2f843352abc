# Two commands for a newcomer: `make demo` and `make test`. Both make the virtual environment themselves.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A program that starts in the repository root must import the installed package, never the folders beside it.
export PYTHONSAFEPATH := 1

SOURCES := $(shell find engine ipc connectors tools exports -name '*.py' -o -name '*.pyi' -o -name 'py.typed' | LC_ALL=C sort)
NATIVE := $(wildcard ipc/*.c ipc/*.h tools/bench/*.c)
EXPLORATION := $(wildcard tests/exploration/*.c tests/exploration/*.h)
STRESS := $(wildcard tests/smoke/*.c tests/smoke/*.h)
# The strict editable install links file by file, so it is renewed when a file comes or goes or a C source changes.
STAMP := $(VENV)/.installed-$(shell { echo '$(SOURCES)'; cat pyproject.toml constraints.txt $(NATIVE); } | sha256sum | cut -c1-16)

# The official dYdX client pins coincurve below 21, ccxt pins 21: it lives, with its protobuf and grpcio, beside the rest.
DYDX_CLIENT := $(VENV)/dydx-client
DYDX_CLIENT_STAMP := $(DYDX_CLIENT)/.installed-$(shell sha256sum constraints-dydx-client.txt | cut -c1-16)

.PHONY: help setup dydx-client demo test soak explore torture smoke smoke-arm lint format bench bench-ipc clean

help:
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP) ## make .venv and install latentspeed with its developer tools

$(STAMP):
	@.ci/check-system $(PYTHON)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (quick when nothing changed)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]' \
		--config-settings editable_mode=strict
	@rm -f $(VENV)/.installed-* && touch $@

dydx-client: setup $(DYDX_CLIENT_STAMP) ## the official dYdX client in an environment of its own, for its tests

$(DYDX_CLIENT_STAMP):
	@test -x $(DYDX_CLIENT)/bin/python || $(PYTHON) -m venv $(DYDX_CLIENT)
	@echo "installing into $(DYDX_CLIENT)"
	@$(DYDX_CLIENT)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-dydx-client.txt \
		dydx-v4-client
	@rm -f $(DYDX_CLIENT)/.installed-* && touch $@

demo: setup ## two strategies trade through one gateway on a local venue; the books are compared
	$(BIN)/latentspeed demo

# Four workers: most of the time a test waits for a clock, not for a processor.
test: setup dydx-client ## all tests
	$(BIN)/pytest -n 4 --dist loadgroup

soak: setup ## scripted chaos, then everything must agree (VENUE=hyperliquid SEED=7 MINUTES=5)
	$(BIN)/latentspeed soak $(if $(VENUE),--venue $(VENUE)) $(if $(SEED),--seed $(SEED)) \
		$(if $(MINUTES),--minutes $(MINUTES))

explore: setup ## every state of the shared-memory protocol's configurations, then every mutant (minutes)
	PYTHONPATH=tests $(BIN)/python -m exploration.explore

torture: setup ## kills and stops over shared memory: 10 million records, 1,000 kills, a few minutes (SEED=7)
	$(BIN)/python tests/torture/torture.py $(if $(SEED),--seed $(SEED))

smoke: ## the shared-memory protocol in C threads, natively and under ThreadSanitizer
	$(MAKE) --no-print-directory -C tests/smoke native
	$(MAKE) --no-print-directory -C tests/smoke tsan

smoke-arm: ## the same on an emulated aarch64
	$(MAKE) --no-print-directory -C tests/smoke arm

lint: setup ## ruff, mypy --strict, clang-format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict -p latentspeed
	$(BIN)/clang-format --dry-run --Werror $(NATIVE) $(EXPLORATION) $(STRESS)

format: setup ## rewrite the sources in the project's format
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format --quiet .
	$(BIN)/clang-format -i $(NATIVE) $(EXPLORATION) $(STRESS)

bench: setup ## thousand orders a second for thirty seconds through the local venue
	$(BIN)/latentspeed bench orders

bench-ipc: setup ## the shared memory beside a C ring, iceoryx2, pyzmq and others, on two cores
	@$(BIN)/python -c 'import iceoryx2, zmq' 2>/dev/null || \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt iceoryx2 pyzmq
	$(BIN)/latentspeed bench ipc

clean: ## remove .venv and everything that was built
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
