# Every target works in a fresh checkout: what it needs is installed into .venv first, once.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

# Tried by running each: a version manager's shim exists for versions that are not active, and some
# distributions ship Python without ensurepip. Expanded only where .venv is made.
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3 python; do \
	"$$python" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& { echo "$$python"; break; }; done)

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DOCS_STAMP := $(VENV)/.installed-docs
GPU_STAMP := $(VENV)/.installed-gpu
# -qq: errors show, the build backend's notices on editable installs do not.
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check --no-input

# The scripts of a virtual environment hold absolute paths, so one that was moved with its checkout is made anew.
MOVED := $(if $(wildcard $(STAMP)),$(filter-out $(CURDIR),$(shell cat $(STAMP))))

.PHONY: help venv demo test test-all lint bench gpu docs clean moved

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | column -t -s '|' 2>/dev/null \
		|| sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1: \2/p' Makefile

venv: $(STAMP) ## create .venv and install opmux into it, editable, with what tests and the demo need
	@true

$(STAMP): pyproject.toml $(if $(MOVED),moved)
	@if [[ -n "$(MOVED)" ]] || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		python="$(PYTHON)"; \
		if [[ -z "$$python" ]]; then \
			echo "No Python 3.11 or newer with venv and ensurepip was found on PATH; run: make PYTHON=/path/to/python3" >&2; \
			exit 1; \
		fi; \
		echo "Creating $(VENV) with $$("$$python" --version)"; \
		"$$python" -m venv --clear $(VENV); \
	fi
	@echo "Installing opmux and its tools into $(VENV)"
	@$(PIP) install --upgrade pip 'setuptools>=77'
	@$(PIP) install --editable '.[test,dev,demo]'
	@mkdir -p $(VENV)/src
	@ln -sfn ../.. $(VENV)/src/opmux
	@printf '%s' '$(CURDIR)' > $@

$(DOCS_STAMP): $(STAMP)
	@$(PIP) install --editable '.[docs]'
	@touch $@

# Without a driver the benchmark says what is missing, before much is installed. The extra ctk has the libraries of CUDA
# that CuPy, as a peer, compiles with and calls.
$(GPU_STAMP): $(STAMP)
	@$(BIN)/python -c "import ctypes; ctypes.CDLL('libcuda.so.1')" 2>/dev/null || $(BIN)/python -m benchmarks gpu
	@$(PIP) install --editable '.[cuda]' 'cupy-cuda13x[ctk]'
	@touch $@

demo: $(STAMP) ## train on real handwritten digits, on every backend and with the dispatcher choosing
	@$(BIN)/opmux demo

test: $(STAMP) ## lint, types, import rules, tests, conformance of every installed backend
	@$(BIN)/python .ci/checks.py

test-all: $(STAMP) ## the same, with the tests that are too slow for every commit
	@$(BIN)/python .ci/checks.py --slow

lint: $(STAMP) ## only lint, types and import rules
	@$(BIN)/python .ci/checks.py --lint

BENCH ?= gemm elementwise reductions call_cost sim collectives
bench: $(STAMP) ## run the benchmarks (BENCH="gemm reductions"), each into build/bench/NAME.json
	@mkdir -p build/bench
	@for name in $(BENCH); do $(BIN)/python -m benchmarks "$$name" --json "build/bench/$$name.json"; done

# What tells most comes first: what is there, then trials, each in a process of its own. A GPU that is not there or does not
# answer ends it; else all is run and reported, whatever failed. WITHIN bounds the suite, and the next time goes on with it.
WITHIN ?=
gpu: $(GPU_STAMP) ## with an NVIDIA GPU: trials, conformance of cuda, its benchmark, into build/gpu/ (WITHIN=600: seconds)
	@mkdir -p build/gpu
	@$(BIN)/opmux doctor || true
	@status=0; \
	$(BIN)/python -m tests.backends.cuda.hardware --json build/gpu/trials.json || status=$$?; \
	if (( status > 1 )); then exit $$status; fi; \
	$(BIN)/opmux conformance --backend cuda --workers "$$(nproc)" $(if $(WITHIN),--resume --within $(WITHIN)) \
		--json build/gpu/conformance.json --markdown build/gpu/conformance.md || status=$$?; \
	$(BIN)/python -m benchmarks gpu --json build/gpu/benchmarks.json || status=$$?; \
	if [[ build/gpu/benchmarks.json -nt build/gpu/trials.json ]]; then \
		$(BIN)/python -m benchmarks page build/gpu/benchmarks.json > build/gpu/benchmarks.md || status=$$?; \
	fi; \
	exit $$status

docs: $(DOCS_STAMP) ## build the documentation into docs/_build/html; a warning is an error
	@$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

clean: ## remove what was built, but not .venv
	@rm -rf build dist docs/_build docs/opset demo-output *.egg-info \
		.mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +
