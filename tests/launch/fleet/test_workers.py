"""How many workers: a number is always typed, and compared with what can be busy."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from launch.cli import main as command_line
from launch.cli import worker
from launch.cli.fleet import Scale
from launch.cli.train import Train
from launch.cli.worker import Worker
from launch.configs import find
from launch.fleet import starting, usable_workers
from launch.fleet.inventory import Host
from launch.program import members
from launch.runners import train
from optimus.config import ConfigError, Layout, TrainConfig
from optimus.wire import Head
from optimus.wire.membership import PROTOCOL
from tests.launch import fault_tools
from tests.launch.fleet.told import HEAD, LOOK, RUN, WORKER, Told


@pytest.mark.parametrize("words", [[], ["1.5"], ["many"], ["--total", "0"], ["1", "2"]])
def test_scale_wants_one_number(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command_line.parse(["fleet", "scale", *words, "--inventory", "hosts.yaml"])
    assert caught.value.code == 2
    capsys.readouterr()


@pytest.mark.parametrize("total", [0, 7])
def test_scale_takes_what_is_typed(total: int) -> None:
    found = command_line.parse(["fleet", "scale", str(total), "--inventory", "hosts.yaml"])
    assert found.command == Scale(Path("hosts.yaml"), total=total)  # type: ignore[attr-defined]


@pytest.mark.parametrize("total", [-1, 100_001, 10**30])
def test_scale_refuses_what_cannot_be(total: int) -> None:
    with pytest.raises(ConfigError, match=f"scale {total}: want 0 ... 100000 workers"):
        Scale(Path("hosts.yaml"), total=total).run(print)


def test_usable_workers_are_the_trajectories_of_the_widest_phase() -> None:
    assert usable_workers(find("physics-flagship")) == 20  # one trajectory a lane
    assert usable_workers(find("physics-small")) == 40  # antithetic pairs
    assert usable_workers(find("smoke")) == 0  # evaluates its own losses
    flagship = find("physics-flagship")
    wider = flagship.phases[1].__class__(
        updates=flagship.phases[1].updates,
        estimator=flagship.phases[1].estimator,
        meta=flagship.phases[1].meta.__class__(batch=60),
        layout=Layout(actors=1, groups=2, lanes=30, workers=1),
    )
    phases = (flagship.phases[0], wider, *flagship.phases[2:])
    assert usable_workers(TrainConfig(**{**vars(flagship), "phases": phases})) == 60


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Told:
    return Told(monkeypatch)


def _start(fleet: Told, workers: int | None, cores: int = 1) -> list[str]:
    """Lanes: 2 x 3, so 12 trajectories; the head has a worker of its own."""
    layout = Layout(actors=1, groups=2, lanes=3, workers=1, per_process=1, restarts=1000)
    config = fault_tools.config(name="r", layout=layout)
    look = {**LOOK, "run": None, "alive": False, "programs": {}, "cores": cores}
    fleet.answers = {"h1": {**look, "finished": ""}, "w1": {**look, "finished": ""}}
    variables = {} if workers is None else {"optimus_workers": workers}
    hosts = [HEAD, Host("w1", False, variables)]
    assert starting.start(hosts, config, "r", 20100, 21000, 4, fleet.lines.append)
    return [line for line in fleet.lines if line.startswith("warning")]


@pytest.mark.parametrize(("workers", "cores"), [(11, 1), (None, 11)])
def test_a_start_with_workers_for_every_lane_is_silent(
    fleet: Told, workers: int | None, cores: int
) -> None:
    assert _start(fleet, workers, cores) == []


@pytest.mark.parametrize(("workers", "cores"), [(64, 1), (None, 64)])
def test_a_start_with_more_workers_than_lanes_says_so(
    fleet: Told, workers: int | None, cores: int
) -> None:
    (warning,) = _start(fleet, workers, cores)
    assert "65 loss workers" in warning and "12 would be used, 53 idle" in warning


def test_a_start_refuses_ports_that_are_none(fleet: Told) -> None:
    with pytest.raises(ConfigError, match="--worker-port 21000: w1 wants <= 20536"):
        _start(fleet, 45_000)
    assert not any(request["action"] == "start" for request in fleet.requests)


@pytest.mark.parametrize(
    ("run", "total", "message"),
    [
        ({"own": 1, "usable": 12}, 9, ""),
        ({"own": 1, "usable": 12}, 10, "13 loss workers"),  # two more supervisord runs on the head
        ({"own": 1, "usable": 12}, 1000, "12 would be used, 991 idle"),
        ({"own": 1, "usable": 12}, 0, ""),
        ({}, 1000, ""),  # an earlier version started it
    ],
)
def test_a_scale_above_the_lanes_says_so(
    fleet: Told, run: dict[str, Any], total: int, message: str
) -> None:
    held = {**LOOK, "run": {**RUN, **run}, "finished": None}
    fleet.answers = {"h1": held, "w1": held}
    assert starting.scale([HEAD, WORKER], total, fleet.lines.append)
    warnings = [line for line in fleet.lines if line.startswith("warning")]
    assert len(warnings) == bool(message) and all(message in line for line in warnings)
    asked = [r["run"]["workers"] for r in fleet.requests if r["action"] == "start"]
    assert asked == [total]


@pytest.mark.parametrize(("count", "warned"), [(40, 0), (41, 1)])
def test_a_worker_that_joins_compares_its_own(
    count: int, warned: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    head = Head(PROTOCOL, "", "head:20101", "head:20102", "run")
    monkeypatch.setattr(worker, "_joined", lambda _: (find("physics-small"), head))
    monkeypatch.setattr(worker, "stop_on_signals", threading.Event)
    monkeypatch.setattr(members, "serve_workers", lambda *_: None)
    assert Worker("head:20100", count, advertise="here").run(said.append) == 0
    assert sum("40 would be used, 1 idle" in line for line in said) == warned


@pytest.mark.parametrize(("workers", "warned"), [(40, 0), (41, 1)])
def test_train_compares_its_own_too(
    workers: int, warned: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(train, "train", lambda *_: None)
    change = f"layout.workers={workers}"
    assert Train("physics-small", launch="inprocess", set=(change,)).run(said.append) == 0
    assert len(said) == warned and all("40 would be used, 1 idle" in line for line in said)


@pytest.mark.parametrize("count", [0, -1, 1025, 10**9])
def test_a_worker_process_has_a_count_that_can_be(count: int) -> None:
    with pytest.raises(ConfigError, match=f"--count {count}: want 1 ... 1024"):
        Worker("head:20100", count).run(print)


@pytest.mark.parametrize(
    "place", ["", "head", "head:", ":1", "head:x", "-x:1", "a b:1", "h:1\n", "h:1\r", "h:123456"]
)
def test_a_coordinator_is_a_host_and_a_port(place: str) -> None:
    with pytest.raises(ConfigError, match="want host:port"):
        Worker(place).run(print)
