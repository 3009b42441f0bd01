# Everything runs in .venv, which is made on first use and remade when pyproject.toml or constraints.txt change.
# Works with GNU make 3.81 and later.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip

# The first Python of 3.11 or later; another one is chosen with `make PYTHON=/path/to/python …`.
CANDIDATES := python3 python3.13 python3.12 python3.11 python3.14 python
PYTHON ?= $(shell for name in $(CANDIDATES); do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$name"; break; }; done)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run learn-full demo-refund test test-all test-interop lint format types contracts bench bench-loop bench-language bench-log bench-learn bench-pools bench-telemetry bench-world-model bench-docs clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' Makefile

run: $(VENV)/.installed-run  ## install, then the main job: one round of learning in a PointMaze, in about three minutes
	$(BIN)/aether learn examples/maze.toml --rounds 1

learn-full: $(VENV)/.installed-run  ## the same for three rounds
	$(BIN)/aether learn examples/maze.toml --rounds 3

demo-refund: $(VENV)/.installed-run  ## a language agent refunds exactly once, across a kill -9; OPENAI_BASE_URL and AETHER_MODEL for a real model
	$(BIN)/python -m examples.refund.demo

test: $(VENV)/.installed-bench lint types contracts  ## install, then lint, types, import contracts and all tests but the slow ones
	$(BIN)/python -m pytest -q -m "not slow"

test-all: $(VENV)/.installed-bench lint types contracts  ## the same with the slow tests
	$(BIN)/python -m pytest -q

test-interop: $(VENV)/.installed-dev  ## send sessions to Phoenix and MLflow, each from PyPI in a venv of its own, and read their spans back
	$(BIN)/python -m tests.interop

lint: $(VENV)/.installed-dev  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.installed-dev  ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.installed-bench  ## mypy, strict, of code, benchmarks with their peers, and tests
	$(BIN)/mypy

contracts: $(VENV)/.installed-dev  ## who may import whom
	$(BIN)/lint-imports

bench: bench-loop bench-language bench-log bench-pools bench-telemetry bench-world-model bench-learn  ## every benchmark; PROFILE=short bounds each to 10 minutes

bench-loop: $(VENV)/.installed-dev  ## the loop's benchmarks, beside their peers
	$(BIN)/python -m benchmarks.loop

bench-language: $(VENV)/.installed-bench  ## language sessions: the gateway, kills around an effect, beside LangGraph
	$(BIN)/python -m benchmarks.language

bench-log: $(VENV)/.installed-bench  ## the log's promises in figures, beside LangGraph, DBOS and eventsourcing
	$(BIN)/python -m benchmarks.log

bench-pools: $(VENV)/.installed-dev  ## many sessions in one pool, with their calls together and one by one
	$(BIN)/python -m benchmarks.pools

bench-telemetry: $(VENV)/.installed-dev  ## telemetry as a projection: export, record, queries, datasets, beside their peers
	$(BIN)/python -m benchmarks.telemetry

bench-world-model: $(VENV)/.installed-dev  ## what the world model adds: success, prediction, coverage, planning, robustness
	$(BIN)/python -m benchmarks.world_model

bench-learn: $(VENV)/.installed-dev  ## learning from the log: what a round gains, promotions, training on Ray beside plain torch
	$(BIN)/python -m benchmarks.learn

bench-docs: $(VENV)/.installed-dev  ## render docs/benchmarks.md from build/bench.jsonl
	$(BIN)/python -m benchmarks.render

clean:  ## remove .venv, build/ and caches (never a log)
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# torch goes first and by itself, so that pip takes the build that this machine's index offers for it.
$(VENV)/.torch: constraints.txt
	@test ! -L $(VENV) || { \
		echo "$(VENV) is a link, and what it points to would be emptied. Remove the link, or make it anew there." >&2; \
		exit 1; }
	@test -n "$(PYTHON)" || { \
		echo "aetherloop needs Python 3.11 or later; none of these is: $(CANDIDATES)." >&2; \
		echo "Install one, or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "aetherloop needs Python 3.11 or later; $(PYTHON) is $$("$(PYTHON)" -V 2>&1)." >&2; exit 1; }
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "$(PYTHON) cannot make a virtual environment: its venv or ensurepip module is missing." >&2; \
		echo "On Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	"$(PYTHON)" -m venv --clear $(VENV)
	$(PIP) install --quiet --constraint constraints.txt torch
	@touch $@

$(VENV)/.installed-run: $(VENV)/.torch pyproject.toml constraints.txt
	$(PIP) install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.torch pyproject.toml constraints.txt
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev,interop]'
	@touch $(VENV)/.installed-run $@

$(VENV)/.installed-bench: $(VENV)/.installed-dev
	$(PIP) install --quiet --constraint constraints.txt --editable '.[dev,interop,bench]'
	@touch $@
