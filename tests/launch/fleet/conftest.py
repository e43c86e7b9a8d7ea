"""One fleet for all tests here: its wheelhouse is built, and brought to the hosts, once."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest

from launch.runners import distributed_missing
from tests.launch.fleet.deployment import Fleet
from tests.launch.network_tools import Unavailable


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    if distributed_missing() is not None:
        pytest.skip(str(distributed_missing()))
    if importlib.util.find_spec("ansible") is None:
        pytest.skip("ansible-core is not installed")
    try:
        made = Fleet(tmp_path_factory.mktemp("fleet"))
    except Unavailable as error:
        pytest.skip(str(error))
    yield made
    made.hosts.close()
