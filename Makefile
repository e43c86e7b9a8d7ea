# Every target sets up what it needs. `make help` lists them.
PY := .venv/bin/python
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

.DEFAULT_GOAL := help
.PHONY: help setup native assets train test newest stress soak sanitize lint doctor lock clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

setup:  ## the environment in .venv (CPython 3.10: everything; 3.11 and newer: in process; PYTHON=... chooses)
	@sh scripts/setup.sh

native: assets  ## compile the simulator, its TensorFlow op and its generated gradient (the last two: CPython 3.10)
	@fast=; [ "$$(cat .venv/environment)" = base ] || fast=--fast; $(PY) -m workers.physics.build $$fast

assets: setup  ## fetch the humanoid and the motion clips
	@$(PY) -m workers.physics.assets

train: native  ## meta-train physics-small (arguments: ARGS="--run-dir D")
	@launch=inprocess; [ "$$(cat .venv/environment)" = base ] || launch=local_mp; \
	exec .venv/bin/optimus train physics-small --launch $$launch $(ARGS)

test: lint native  ## lint, type check, all tests, and the quicker core tests on CPython >= 3.12 (some: ARGS="-k pes", not paths)
	@# the core tests two at a time, then the others, which start programs of their own; 5: ARGS chose none
	@core=0; $(PY) -m pytest -q -n 2 tests/optimus $(ARGS) || core=$$?; [ $$core = 0 ] || [ $$core = 5 ] || exit $$core; \
	rest=0; $(PY) -m pytest -q --ignore tests/optimus tests $(ARGS) || rest=$$?; [ $$rest = 0 ] || [ $$rest = 5 ] || exit $$rest; \
	[ $$core = 0 ] || [ $$rest = 0 ] || { echo 'make test: ARGS="$(ARGS)" chooses no test' >&2; exit 5; }
	@[ "$$(cat .venv/environment)" = base ] || $(MAKE) --no-print-directory newest

newest:  ## the core tests that are not slow on CPython >= 3.12 with the newest JAX, in an environment of its own
	@sh scripts/setup.sh newest; code=$$?; \
	if [ $$code = 3 ]; then echo 'newest: core tests on CPython >= 3.12 SKIPPED, for the reason above'; exit 0; fi; \
	[ $$code = 0 ] || exit $$code; XLA_FLAGS= .venv-newest/bin/python -m pytest -q -n 2 -m 'not slow' tests/optimus $(ARGS) || [ $$? = 5 ]

stress: native  ## 10,000 random rollouts of the simulator, 1,000 of them with gradient
	@OPTIMUS_STRESS=1 $(PY) -m pytest -q -s -o faulthandler_timeout=0 tests/workers/physics/simulation/test_robustness.py $(ARGS)

soak: native  ## half an hour of random faults against a real program, then the ledger (arguments: ARGS="--minutes 5")
	@$(PY) -m benchmarks.soak $(ARGS)

sanitize: native  ## the simulator's C++ under the address and undefined-behaviour sanitizers (minutes)
	@OPTIMUS_SANITIZE=1 $(PY) -m pytest -q -o faulthandler_timeout=0 tests/workers/physics/simulation/test_sanitize.py $(ARGS)

lint: setup  ## ruff and mypy
	@$(PY) -m ruff check -q
	@$(PY) -m mypy --no-error-summary

doctor: native  ## check every native library and engine
	@.venv/bin/optimus doctor

lock:  ## resolve requirements/*.in again (maintainers; needs uv)
	@sh scripts/lock.sh

clean:  ## remove the environment, what was built and the caches; runs/ stays
	rm -rf .venv .venv-newest build dist *.egg-info workers/physics/native/lib .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
