"""Prometheus and TensorBoard out of a run directory: real server, real events file, promtool."""

from __future__ import annotations

import json
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest

from launch.monitoring import prometheus, tensorboard
from launch.monitoring.prometheus import MonitoringError, exposition
from launch.monitoring.status import read_status
from optimus.config import ConfigError
from optimus.rundir.histogram import BOUNDS, Histogram, quantile, total
from optimus.rundir.metrics import MetricsWriter

ROOT = pathlib.Path(__file__).resolve().parents[3]
CONFIG = {
    "name": 'a "quoted"\nname',
    "updates": 100,
    "task": {"kind": "physics"},
    "layout": {"actors": 1, "workers": 2},
}


@pytest.fixture
def run_dir(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    learner = MetricsWriter(tmp_path, "learner")
    learner.write("learner_started", version=[1, 0])
    for step in range(1, 6):
        learner.write(
            "update",
            step=step,
            meta_loss=-0.1 * step,
            refused={"stale": step},
            evaluations=10 * step,
            gradient_norm=float("nan"),
        )
    learner.close()
    latency = Histogram()
    for seconds in (0.002, 0.02, 0.02, 500.0, float("nan"), -1.0):
        latency.observe(seconds)
    actor = MetricsWriter(tmp_path, "actor")
    actor.write(
        "alive",
        version=[1, 5],
        evaluations=3,
        latency=latency.record(),
        pool={"tries": 6, "ok": 5, "timeout": 1},
        time_in={"network": 0.5},
    )
    actor.close()
    return tmp_path


def samples(text: str) -> dict[str, float]:
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            found[name] = float(value)
    return found


# -------------------------------------------------------------------------------------- histograms


def test_a_histogram_counts_sums_and_takes_anything() -> None:
    made = Histogram()
    for seconds in (0.0005, 0.001, 0.002, 1000.0, float("nan"), -3.0):
        made.observe(seconds)
    record = json.loads(json.dumps(made.record()))
    assert record["counts"][0] == 4 and record["counts"][1] == 1 and record["counts"][-1] == 1
    assert record["sum"] == pytest.approx(1000.0035, rel=1e-6)
    both = total([record, record, None, 3, {"counts": [1]}, {"counts": ["x"] * 12, "sum": 1}])
    assert both is not None and sum(both["counts"]) == 12
    assert total([]) is None
    assert quantile(record, 0.5) == BOUNDS[0] and quantile(record, 1.0) == float("inf")


# -------------------------------------------------------------------------------------- prometheus


def test_an_exposition_has_what_alerts_ask_for(run_dir: pathlib.Path) -> None:
    found = samples(exposition(read_status(run_dir), run_dir).decode())
    assert found["optimus_up"] == 1 and found["optimus_step"] == 5
    assert found['optimus_samples_refused_total{reason="stale"}'] == 5
    assert found['optimus_rpc_total{outcome="timeout"}'] == 1
    assert found['optimus_rpc_latency_seconds_bucket{le="0.03"}'] == 5
    assert found['optimus_rpc_latency_seconds_bucket{le="+Inf"}'] == 6
    assert found["optimus_rpc_latency_seconds_count"] == 6
    assert found['optimus_role_wanted{role="physics_worker"}'] == 2
    assert found['optimus_actor_seconds_total{part="network"}'] == 0.5
    assert samples(exposition(None, run_dir).decode()) == {"optimus_up": 0.0}


def test_every_name_in_the_example_rules_is_served(run_dir: pathlib.Path) -> None:
    text = exposition(read_status(run_dir), run_dir).decode()
    rules = (ROOT / "monitoring" / "alerts.yml").read_text()
    wanted = set(re.findall(r"\boptimus_\w+", rules))
    served = ("prometheus.py", "metrics.json")
    source = "".join((ROOT / "launch" / "monitoring" / name).read_text() for name in served)
    for name in wanted:
        short = re.sub(r"_(total|bucket|info)$", "", name).removeprefix("optimus_")
        assert f'"{short}"' in source or f'"optimus_{short}"' in source or name in text, name


def promtool() -> str:
    found = shutil.which("promtool")
    if not found:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    return found


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts_test.yml"],
    ],
    ids=" ".join,
)
def test_promtool_accepts_the_examples(arguments: list[str]) -> None:
    done = subprocess.run(
        [promtool(), *arguments],
        cwd=ROOT / "monitoring",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_what_is_served(run_dir: pathlib.Path) -> None:
    text = exposition(read_status(run_dir), run_dir)
    done = subprocess.run(
        [promtool(), "check", "metrics"], input=text, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.mark.parametrize("text", ["", "x", "-1", "65536", "host:", "1.5", "\u0663"])
def test_a_wrong_place_is_one_clear_line(text: str) -> None:
    with pytest.raises(ConfigError, match="want PORT or HOST:PORT"):
        prometheus.place(text)


def test_places() -> None:
    assert prometheus.place("9464") == ("127.0.0.1", 9464)
    assert prometheus.place("0.0.0.0:0") == ("0.0.0.0", 0)


def test_the_endpoint_serves_and_stops(run_dir: pathlib.Path) -> None:
    server = prometheus.open_server(run_dir, 0)
    port = int(server.server_address[1])
    with prometheus.serving(server):
        _look_at_the_endpoint(run_dir, port)
    with pytest.raises(OSError):
        get(f"http://127.0.0.1:{port}/metrics")


def _look_at_the_endpoint(run_dir: pathlib.Path, port: int) -> None:
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 20
    code, text = get(f"{url}/metrics")
    assert code == 200 and samples(text)["optimus_step"] == 5
    assert get(f"{url}/healthz") == (200, "ok\n")
    assert get(f"{url}/nothing")[0] == 404
    code, text = get(url)
    assert code == 200 and "update" in text and "5/100" in text
    with pytest.raises(MonitoringError, match="cannot listen on"):
        prometheus.open_server(run_dir, port)
    launcher = MetricsWriter(run_dir, "launcher")
    launcher.write("ended", state="failed", cause="disk")
    launcher.close()
    while get(f"{url}/healthz") != (503, "failed disk\n"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    shutil.rmtree(run_dir)
    while samples(get(f"{url}/metrics")[1]) != {"optimus_up": 0.0}:
        assert time.monotonic() < deadline
        time.sleep(0.1)


# ------------------------------------------------------------------------------------- tensorboard


def events(folder: pathlib.Path) -> list[tuple[str, int, float]]:
    """(tag, step, value) of every scalar, read with tensorboardX's own message types."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            event = Event.FromString(data[at + 12 : at + 12 + length])
            at += 16 + length
            found += [(v.tag, event.step, v.simple_value) for v in event.summary.value]
    return found


def test_events_follow_the_records_once_each(run_dir: pathlib.Path) -> None:
    stop = threading.Event()
    stop.set()
    tensorboard.follow(run_dir, stop)
    found = events(run_dir / "tensorboard")
    losses = [(step, round(value, 3)) for tag, step, value in found if tag == "learner-0/meta_loss"]
    assert losses == [(step, round(-0.1 * step, 3)) for step in range(1, 6)]
    assert ("learner-0/refused/stale", 3, 3.0) in found
    assert ("actor-0/evaluations", 5, 3.0) in found, "the learner's step is everybody's clock"
    assert not any("gradient_norm" in tag or "uptime" in tag for tag, _, _ in found)

    tensorboard.follow(run_dir, stop)  # a restart adds nothing twice
    assert len(events(run_dir / "tensorboard")) == len(found)
    learner = MetricsWriter(run_dir, "learner")
    learner.write("update", step=6, meta_loss=-0.6)
    learner.close()
    (run_dir / "tensorboard" / "read.json").write_text("[")  # damaged: written anew, no failure
    shutil.rmtree(run_dir / "tensorboard")
    tensorboard.follow(run_dir, stop)
    assert len(events(run_dir / "tensorboard")) == len(found) + 1


SCRIPT = """
import sys, threading
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"jax", "tensorflow", "launchpad", "courier", "reverb"}:
            raise ModuleNotFoundError(f"blocked by the test: {name}", name=name)
sys.meta_path.insert(0, Blocker())
from pathlib import Path
from launch.monitoring import prometheus, tensorboard
from launch.monitoring.status import read_status
run_dir = Path(sys.argv[1])
prometheus.exposition(read_status(run_dir), run_dir)
stop = threading.Event(); stop.set()
tensorboard.follow(run_dir, stop)
"""


def test_neither_needs_tensorflow_or_jax(run_dir: pathlib.Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(run_dir)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert events(run_dir / "tensorboard")
