# Two commands matter: `make demo` and `make test`. Everything runs from a .venv that make builds itself.
SHELL  := /bin/bash
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
TORCH  := $(shell sed -n 's/^\(torch==[0-9.]*\).*/\1/p' constraints.txt)
BENCH  ?=
ARGS   ?=
MINUTES ?= 10
KILLS  ?=
FRAMES ?= 10000000
TARGET ?=
SEED   ?=
export PATH := $(abspath $(BIN)):$(PATH)
# Tests start some thousand processes: without kept bytecode each one compiles all modules anew, a quarter of its CPU.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo test lint format pytest faults soak fuzz audit other-pythons oldest-lightning bench lock clean

help: ## show this
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-22s %s\n", $$1, $$2}'

install: $(VENV)/.installed ## build .venv with everything that tests and the demo need

$(BIN)/python:
	@echo "== a virtual environment in $(VENV)"
	$(PYTHON) -m venv $(VENV)

# PyTorch by a call of its own and first: a range in a larger call would fetch the newest build with gigabytes of CUDA.
$(VENV)/.installed: pyproject.toml constraints.txt hatch_build.py $(wildcard asynclog/*.[ch]) | $(BIN)/python
	@echo "== 1/2 PyTorch ($(TORCH))"
	$(PIP) install "$(TORCH)"
	@echo "== 2/2 asynclogd, editable, with what development needs"
	$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@

$(VENV)/.installed-bench: $(VENV)/.installed
	@echo "== the peers that the benchmarks measure"
	$(PIP) install -c constraints.txt -e '.[bench]'
	@touch $@

demo: install ## train on the digits with two ranks, then show where everything went
	./examples/demo.sh $(ARGS)

test: lint pytest other-pythons oldest-lightning ## everything that CI runs: lint, tests, other Pythons, oldest Lightning

lint: install ## ruff, formatting, mypy --strict, imports, known holes in what is pinned
	@echo "== ruff";         ruff check
	@echo "== ruff format";  ruff format --check
	@echo "== mypy";         mypy
	@echo "== lint-imports"; lint-imports
	@echo "== pip-audit";    $(BIN)/python .ci/audit.py

format: install ## let ruff mend what it can
	ruff check --fix
	ruff format

# Three at a time: on two cores that leaves none idle. A file's tests stay together, for they share fixtures.
pytest: install ## the tests alone; ARGS='-k ring -x' goes to pytest
	pytest -n 3 --dist loadfile $(ARGS)

faults: install ## inject each fault that asynclog survives, and print the matrix
	pytest -n 2 --dist loadfile -m fault --matrix $(ARGS)

soak: install ## random faults for MINUTES=10, or KILLS=200 of the daemon; with SEED=... those of before
	python -m tests.faults.soak --minutes $(MINUTES) $(addprefix --kills ,$(KILLS)) $(if $(SEED),--seed $(SEED))

$(VENV)/.installed-fuzz: $(VENV)/.installed
	@echo "== the fuzzer"
	$(PIP) install -c constraints.txt -e '.[fuzz]'
	@touch $@

fuzz: $(VENV)/.installed-fuzz ## inputs led by coverage: FRAMES=10000000 of all targets, or of TARGET=codec
	python -m tests.fuzz --frames $(FRAMES) $(addprefix --target ,$(TARGET)) $(ARGS)

audit: install ## known holes in what constraints.txt pins; a package that could not be asked about is a failure here, a line in lint
	$(BIN)/python .ci/audit.py --strict

other-pythons: install ## tests that need no torch, on each other Python that this machine has
	.ci/other-pythons

oldest-lightning: install ## what a Trainer asks of a logger, with the oldest Lightning that pyproject.toml promises
	.ci/oldest-lightning

bench: $(VENV)/.installed-bench ## all benchmarks, their tables and charts in docs/; or BENCH='growth guard'. CHECK=1 fails when a promise does not hold, ARGS=--quick is a look
	python bench/everything.py $(if $(CHECK),--check) $(addprefix --only ,$(BENCH)) -- $(ARGS)

lock: $(VENV)/.installed-bench $(VENV)/.installed-fuzz ## write constraints.txt from .venv as it is now
	.ci/lock > .constraints.new
	mv .constraints.new constraints.txt

clean: ## remove what make and the tools made
	rm -rf $(VENV) .venv-3.* .venv-oldest dist build .fuzz .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache demo-out
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
