"""The sbatch script, refused where it cannot be, and run by a real Slurm while a node dies."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from launch.configs import find
from launch.fleet.slurm import Slurm
from launch.runners import distributed_missing
from optimus import rundir
from optimus.config import ConfigError, Layout, to_dict
from optimus.errors import UserError
from tests.launch import fault_tools, network_tools
from tests.launch import run_tools as tools
from tests.launch.fleet import cluster


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nodes": 0}, "--nodes 0: want 1"),
        ({"cpus": 0}, "--cpus 0: want 1"),
        ({"workers": 0}, "--workers 0: want 1"),
        ({"time": "soon"}, "--time soon: want Slurm's format"),
        ({"port": 80}, "--port 80: want 1024"),
        ({"port": 65534}, "--port 65534: want 1024"),
        ({"run_dir": Path("/tmp/with space")}, "--run-dir /tmp/with space"),
        ({"sbatch": ("partition=spot",)}, "--sbatch partition=spot: want an option"),
        ({"sbatch": ("--",)}, "--sbatch --: want an option"),
        ({"time": "\u0661:00"}, "--time \u0661:00: want Slurm's format"),
        ({"address": "-x"}, "--address -x: want a name or address"),
        ({"address": "$(reboot)"}, "--address $(reboot): want a name or address"),
        ({"set": ("name=../x",), "run_dir": None}, "name: got '../x'"),
        ({"config": "classical"}, "runs fused"),
        ({"config": "smoke"}, "no worker serves the loss of 'smoke'"),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    values = {"config": "physics-small", "run_dir": tmp_path, **changes}
    with pytest.raises(ConfigError) as caught:
        Slurm(**values).run(print)  # type: ignore[arg-type]
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "end", ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1b", "\x85", "\u2028", "\u2029"]
)
def test_no_value_ends_its_line(tmp_path: Path, end: str) -> None:
    smuggled = f"{end}#SBATCH --uid=0"
    for changes in (
        {"sbatch": (f"--comment=a{smuggled}",)},
        {"sbatch": (f"--comment=a{end}",)},
        {"time": f"1:00{smuggled}"},
        {"time": f"1:00{end}"},
        {"address": f"a{smuggled}"},
        {"address": f"a{end}"},
        {"run_dir": tmp_path / f"a{smuggled.replace('/', '')}"},
    ):
        values = {"config": "physics-small", "run_dir": tmp_path, **changes}
        with pytest.raises(
            ConfigError, match=f"--{next(iter(changes)).replace('_', '-')} "
        ) as caught:
            Slurm(**values).run(print)  # type: ignore[arg-type]
        assert str(caught.value).isprintable()
    with pytest.raises(ConfigError, match="name: got"):
        Slurm("physics-small", tmp_path, (f"name={json.dumps(f'a{smuggled}')}",)).run(print)
    assert not (tmp_path / "run.sbatch").exists()


@pytest.mark.parametrize(
    ("config", "changes", "message"),
    [
        ("physics-flagship", {"nodes": 9, "cpus": 16}, "129 loss workers,.*more than 20 losses"),
        ("physics-flagship", {"nodes": 2, "cpus": 16, "workers": 19}, ""),
        (
            "physics-flagship",
            {"nodes": 2, "cpus": 16, "workers": 20},
            "21 loss .* 20 would be used",
        ),
        ("physics-small", {"nodes": 2, "cpus": 38}, ""),  # 20 lanes of two trajectories
        ("physics-small", {"nodes": 2, "cpus": 39}, "41 loss workers,.* 40 would be used, 1 idle"),
        ("smoke", {"nodes": 1}, ""),  # no loss is served
    ],
)
def test_workers_are_compared_with_lanes(
    tmp_path: Path, config: str, changes: dict[str, Any], message: str
) -> None:
    said: list[str] = []
    assert Slurm(config, tmp_path, **changes).run(said.append) == 0
    warnings = [line for line in said if line.startswith("warning")]
    assert len(warnings) == bool(message)
    assert not message or re.search(message, warnings[0])


def test_the_script_is_bash_and_holds_what_was_asked(tmp_path: Path) -> None:
    wanted = Slurm(
        "physics-small",
        tmp_path,
        nodes=5,
        cpus=3,
        time="2-00",
        sbatch=("--partition=spot", "--account=a"),
    )
    assert wanted.run(print) == 0
    script = tmp_path / "run.sbatch"
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    text = script.read_text()
    for line in (
        "#SBATCH --nodes=5",
        "#SBATCH --time=2-00",
        "#SBATCH --partition=spot",
        "#SBATCH --account=a",
        f"#SBATCH --output={tmp_path}/slurm-%j.log",
    ):
        assert line in text.splitlines()
    for known in ("${nodes[@]", "${#nodes[@]", "${steps[@]", "B:USR1@"):
        text = text.replace(known, "")
    assert "@" not in text


@pytest.mark.story
@pytest.mark.timeout(500)
@pytest.mark.skipif(distributed_missing() is not None, reason=str(distributed_missing()))
def test_a_job_outlives_a_node_and_resumes_from_the_queue(tmp_path: Path) -> None:
    try:
        slurm = cluster.Slurm(tmp_path, 3)
    except network_tools.Unavailable as error:
        pytest.skip(str(error))
    began = time.monotonic()

    def note(line: str) -> None:
        print(f"[{time.monotonic() - began:6.1f} s] {line}", flush=True)

    run_dir = tmp_path / "run"
    layout = Layout(actors=1, groups=2, lanes=3, workers=1, per_process=1, restarts=1000)
    configuration = fault_tools.config(name="slurm", updates=100_000, layout=layout)
    request = tmp_path / "config.json"
    request.write_text(json.dumps(to_dict(configuration)))

    def script(updates: int) -> Path:
        wanted = Slurm(
            str(request),
            run_dir,
            (f"updates={updates}",),
            nodes=3,
            cpus=2,
            address="localhost",
            port=20700,
        )
        assert wanted.run(note) == 0
        return run_dir / "run.sbatch"

    def updates() -> int:
        path = run_dir / "metrics/learner-0.jsonl"
        return path.read_text().count('"event": "update"') if path.exists() else 0

    def more(count: int) -> None:
        goal = updates() + count
        tools.wait_until(lambda: updates() >= goal, 90.0, f"update {goal}: {log()}")
        note(f"update {updates()} written")

    def log() -> str:
        return "\n".join(path.read_text() for path in run_dir.glob("slurm-*.log"))

    def workers() -> set[int]:
        lines = {p.pid: p.info["cmdline"] or [] for p in psutil.process_iter(["cmdline"])}
        there = ["worker", "--coordinator", "localhost:20700"]
        return {pid for pid, words in lines.items() if words[2:5] == there}  # python optimus ...

    try:
        number = slurm.tell("sbatch", "--parsable", str(script(100_000)))
        assert number.isdigit()
        note(f"sbatch: job {number}")
        more(5)
        tools.wait_until(lambda: len(workers()) == 2, 60.0, "a worker process on n2 and n3")
        note("n3 loses its power")
        before = workers()
        slurm.kill("n3")
        more(10)
        kept = workers()
        assert len(kept) == 1 and kept < before
        tools.wait_until(
            lambda: "down" in slurm.tell("sinfo", "-h", "-n", "n3", "-o", "%T"),
            60.0,
            "n3 counts as down",
        )
        note("Slurm knows that n3 is down")
        later = time.monotonic() + 7  # longer than KillWait: a job that were to end would have
        while time.monotonic() < later:
            more(5)
        assert slurm.job(number)["JobState"] == "RUNNING" and workers() == kept
        note("n3 is back; then a signal as before the time limit")
        slurm.boot("n3")
        with pytest.raises(UserError, match="another process"):  # a job that runs is left alone
            script(updates() + 120)
        slurm.tell("scancel", "--batch", "--signal=USR1", number)
        tools.wait_until(lambda: "requeue" in log(), 60.0, "the job goes back into the queue")
        assert "stopped; this resumes" in log()  # the head wrote its last checkpoint and ended well

        def pending() -> bool:
            return slurm.job(number).get("JobState") == "PENDING"

        tools.wait_until(pending, 60.0, "the job waits in the queue")
        script(updates() + 120)  # the next start of the job reads request.json again
        time.sleep(5)  # the old credential is revoked to the second
        slurm.tell("scontrol", "update", f"jobid={number}", "StartTime=now")  # not in two minutes
        note("requeued")
        tools.wait_until(lambda: "start 2: head on" in log(), 150.0, "its second start")
        note("second start")
        tools.wait_until(lambda: slurm.job(number)["JobState"] == "COMPLETED", 150.0, "completion")
        note(f"COMPLETED at update {updates()}")
        assert "resuming from update" in log()
        tools.wait_until(lambda: not workers(), 20.0, "no worker left")
        assert not tools.processes_of(run_dir)
    finally:
        for line in log().splitlines():
            note(f"    {line}")
        slurm.close()


def test_the_files_of_a_job_that_runs_are_left_alone(tmp_path: Path) -> None:
    """A job that is put back into the queue reads them again."""
    Slurm("physics-small", run_dir=tmp_path).run(print)
    before = (tmp_path / "request.json").read_text()
    with rundir.owned(tmp_path), pytest.raises(UserError, match="another process"):
        Slurm("physics-small", run_dir=tmp_path, set=("updates=7",)).run(print)
    rundir.prepare(tmp_path, find("physics-small"))
    with pytest.raises(UserError, match="seed is 0 there and 5 here"):
        Slurm("physics-small", run_dir=tmp_path, set=("seed=5",)).run(print)
    assert (tmp_path / "request.json").read_text() == before


def test_a_job_with_nothing_left_to_do_is_refused(tmp_path: Path) -> None:
    config = find("physics-small")
    rundir.prepare(tmp_path, config)
    (tmp_path / "checkpoints" / "30").mkdir(parents=True)
    for updates in (7, 30):
        with pytest.raises(ConfigError, match="at update 30 already: want more, --set updates=N"):
            Slurm("physics-small", run_dir=tmp_path, set=(f"updates={updates}",)).run(print)
    assert Slurm("physics-small", run_dir=tmp_path, set=("updates=31",)).run(print) == 0
