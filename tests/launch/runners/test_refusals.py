"""Each runner says what it cannot run, and a run that names none gets the first that can."""

from __future__ import annotations

import dataclasses

import pytest

from launch import configs, runners
from optimus.config import ConfigError, Estimator
from tests.one_phase import with_phase

SMOKE = configs.find("smoke")
BPTT = with_phase(SMOKE, estimator=Estimator("bptt", truncation=5, horizon=20))
SERVED = configs.find("physics-small")


@pytest.mark.parametrize(
    ("launch", "config", "why"),
    [
        ("inprocess", SMOKE, None),
        ("fused", SMOKE, None),
        ("fused", BPTT, None),
        ("inprocess", SERVED, None),
        ("fused", SERVED, "task.kind 'physics' is no loss in JAX"),
        ("inprocess", BPTT, "estimator.kind 'bptt' needs --launch fused"),
        ("local_mp", BPTT, "estimator.kind 'bptt' needs --launch fused"),
        ("local_mt", configs.find("classical"), "task.kind 'classical' needs --launch fused"),
        ("inprocess", dataclasses.replace(SMOKE, synchronous=False), "synchronous is false"),
        ("fused", dataclasses.replace(SMOKE, synchronous=False), "synchronous is false"),
    ],
)
def test_what_a_runner_cannot_run_is_one_line(launch, config, why):
    found = runners.CANNOT[launch](config)
    assert (found is None) if why is None else (found.startswith(why) and "\n" not in found)


@pytest.mark.parametrize("missing", [None, "launchpad not installed: ..."])
def test_the_first_runner_that_can_is_the_default(monkeypatch, missing):
    monkeypatch.setattr(runners, "distributed_missing", lambda: missing)
    expected = "inprocess" if missing else "local_mp"
    assert runners.default(SMOKE) == runners.default(SERVED) == expected
    assert runners.default(BPTT) == runners.default(configs.find("rosenbrock")) == "fused"
    nowhere = dataclasses.replace(BPTT, synchronous=False)
    with pytest.raises(ConfigError, match=r"^local_mp: .*; inprocess: .*; fused: synchronous is"):
        runners.default(nowhere)
