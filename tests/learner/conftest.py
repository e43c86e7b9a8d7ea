"""Benches of the learner's tests."""

import pytest

from tests.learner.bench import OPEN, Bench


@pytest.fixture(autouse=True)
def files_are_closed():
    yield
    while OPEN:
        OPEN.pop().close()


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)
