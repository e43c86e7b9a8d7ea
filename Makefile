# Every target sets up what it needs. `make help` lists them.
PY := .venv/bin/python
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

.DEFAULT_GOAL := help
.PHONY: help setup native assets train quick test test-all newest stress soak sanitize lint docs doctor lock clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

setup:  ## the environment in .venv (CPython 3.10: everything; 3.11 and newer: in process; PYTHON=... chooses)
	@sh scripts/setup.sh

native: setup  ## compile the simulator, its TensorFlow op and its generated gradient (the last two: CPython 3.10)
	@fast=; [ "$$(cat .venv/environment)" = base ] || fast=--fast; $(PY) -m workers.physics.build $$fast >/dev/null
	@[ "$$(cat .venv/environment)" != base ] || $(PY) -m workers.physics.assets >/dev/null

assets: setup  ## fetch the humanoid and the motion clips
	@$(PY) -m workers.physics.assets

train: native  ## meta-train physics-small (arguments: ARGS="--run-dir D")
	@launch=inprocess; [ "$$(cat .venv/environment)" = base ] || launch=local_mp; \
	exec .venv/bin/optimus train physics-small --launch $$launch $(ARGS)

quick: native  ## lint, types and the quick tests, 2 minutes
	@$(PY) scripts/run_tests.py quick

test: native  ## lint, types and all that a change needs, 15 minutes (some: ARGS="-k pes", not paths)
	@$(PY) scripts/run_tests.py test

test-all: native  ## test, and the slow tests, long stories, newest Python, stress and sanitizers, 2 hours
	@$(PY) scripts/run_tests.py all

newest: native  ## the core tests on CPython >= 3.12 with the newest JAX, in an environment of its own
	@$(PY) scripts/run_tests.py newest

stress: native  ## 10,000 random rollouts of the simulator, 1,000 of them with gradient
	@$(PY) scripts/run_tests.py stress

sanitize: native  ## the simulator's C++ under the address and undefined-behaviour sanitizers (minutes)
	@$(PY) scripts/run_tests.py sanitize

soak: native  ## half an hour of random faults against a real program, then the ledger (arguments: ARGS="--minutes 5")
	@$(PY) -m benchmarks.soak $(ARGS)

lint: setup  ## ruff, mypy, docstrings
	@$(PY) scripts/run_tests.py lint format types docstrings

docs:  ## the documentation as a site in build/site, strictly checked (needs no other target)
	@sh scripts/setup.sh docs
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -m mkdocs build --strict && echo "build/site/index.html"

doctor: native  ## check every native library and engine
	@.venv/bin/optimus doctor

lock:  ## resolve requirements/*.in again (maintainers; needs uv)
	@sh scripts/lock.sh

clean:  ## remove the environment, what was built and the caches; runs/ stays
	rm -rf .venv .venv-newest .venv-docs build dist *.egg-info workers/physics/native/lib .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
