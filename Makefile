.DEFAULT_GOAL := help
PY ?= python3
BIN := .venv/bin
# Most tests wait for processes: three at a time keep two cores busy.
JOBS ?= 3

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.venv/.ready: pyproject.toml requirements.lock requirements-uv.lock
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Kinestream needs Python 3.11 or newer; $(PY) is $$($(PY) --version). Try: make PY=python3.11 setup"; exit 1; }
	@$(PY) -m venv .venv || { echo "python3 -m venv failed. On Debian: apt-get install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch .venv/.ready

setup: .venv/.ready  ## build .venv with everything the commands and tests need

demo: setup  ## a simulated floor of 20 robots on a local Apache Kafka, live in the terminal
	@$(BIN)/kinestream demo

test: setup  ## all tests, on Apache Kafka and on the in-process test broker
	@$(BIN)/pytest -n $(JOBS) --dist worksteal $(ARGS)

lint: setup  ## style, types and import directions
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy -p kinestream
	@$(BIN)/lint-imports

chaos: setup  ## two workers, Apache Kafka, 30 kills, then every frame audited (12 minutes)
	@$(BIN)/kinestream chaos

bench: setup  ## what is fast, each figure beside its peer's (minutes; docs/performance.md)
	@$(BIN)/kinestream bench codec
	@$(BIN)/kinestream bench spool
	@$(BIN)/kinestream bench worker
	@$(BIN)/kinestream bench memory

bench-peers: .venv-bench/.ready  ## peers of `bench worker` and `bench files`, in an environment of their own

.venv-bench/.ready: bench/requirements.txt
	@$(PY) -m venv .venv-bench
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -r bench/requirements.txt
	@touch .venv-bench/.ready

lock: ## renew requirements.lock from pyproject.toml (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --all-extras pyproject.toml -o requirements.lock

.PHONY: help setup demo test lint bench bench-peers chaos lock
