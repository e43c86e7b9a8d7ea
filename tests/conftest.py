"""What all tests share: programs compiled in a hurry, and an environment that no test changes.

The tests compile far more than they compute: without LLVM's optimizations XLA takes a third of the
time, and what a test says of a program does not depend on them. `make newest` sets XLA_FLAGS empty
and so tests what users run, fully optimized. Before anything imports JAX.
"""

import os
from collections.abc import Iterator

import pytest

from launch.program import environment

_QUICK = "--xla_backend_optimization_level=0"

os.environ.setdefault("XLA_FLAGS", _QUICK)
if os.environ["XLA_FLAGS"]:  # programs that tests start have flags of their own
    os.environ.setdefault("OPTIMUS_XLA_FLAGS", f"{environment.XLA_FLAGS} {_QUICK}")


@pytest.fixture(autouse=True)
def _environment_stays() -> Iterator[None]:
    """The command line sets variables for its process; here that process runs other tests too."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)
