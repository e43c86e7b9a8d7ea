"""Each runner says what it cannot run, and a run that names none gets the first that can."""

from __future__ import annotations

import dataclasses

import pytest

from launch import configs, runners
from launch.cli.bench import FleetSpeed
from launch.fleet import benchmark
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


@pytest.mark.parametrize("command", [None, "python -m pip install 'optimus[distributed]'"])
def test_what_is_not_installed_is_told_with_a_command_where_there_is_one(monkeypatch, command):
    monkeypatch.setattr(runners.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(runners, "distributed_command", lambda: command)
    message = runners.distributed_missing()
    assert message.startswith("launchpad and reverb not installed: ")
    assert message.endswith(f" ({command})" if command else " the extra [distributed]")


def test_the_benchmark_of_the_program_says_what_it_needs_before_it_starts(monkeypatch, tmp_path):
    monkeypatch.setattr(runners.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="--fleet: launchpad and reverb not installed"):
        benchmark.main(FleetSpeed(workers=1), tmp_path / "out")
    assert not (tmp_path / "out").exists()
