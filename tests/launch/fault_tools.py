"""A small real program to hurt: synthetic quadratics, a tiny model, every process killable."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from optimus.config import Estimator, Layout, MetaOptimizer, ServedTask, TrainConfig, to_dict
from optimus.model.config import OptimizerConfig
from tests.launch import run_tools as tools
from tests.one_phase import one_phase

ROOT = Path(__file__).resolve().parents[2]
LAYOUT = Layout(actors=2, groups=2, lanes=3, workers=4, per_process=2, restarts=1000)


def config(**changes: Any) -> TrainConfig:
    """12 lanes on 4 workers in 2 processes; some episodes are poisoned, some diverge."""
    values: dict[str, Any] = dict(
        name="faults",
        updates=10**6,
        synchronous=False,
        task=ServedTask(dim=6, sleep=0.03, poison=41, nonfinite=37, slow=29),
        optimizer=OptimizerConfig(dim=8, encoders=1, heads=2, b_decay=0.9),
        estimator=Estimator(truncation=2, horizon=10, noise="rademacher"),
        meta=MetaOptimizer(batch=4),
        layout=LAYOUT,
        checkpoint_every=5,
        keep_checkpoints=4,
        call_timeout=4.0,
        max_staleness=50,
    )
    return one_phase(**{**values, **changes})


class Run:
    """`optimus train` on a configuration, with the ledger on.

    Args:
      folder: where the run directory is made. configuration: of the run.
      arguments: of `optimus train`. prefix: goes before the command; see `network_tools.Hosts`.
    """

    def __init__(
        self,
        folder: Path,
        configuration: TrainConfig,
        *arguments: str,
        prefix: Sequence[str] = (),
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.config, self.run_dir = configuration, folder / "run"
        self._seen, self._updates = 0, 0  # bytes of the learner's metrics, updates in them
        request = folder / "request.json"
        request.write_text(json.dumps(to_dict(configuration)))
        os.environ["OPTIMUS_LEDGER"] = "1"
        try:
            self.process = tools.start(
                "train",
                str(request),
                "--run-dir",
                str(self.run_dir),
                "--launch",
                "local_mp",
                "--no-isolate",
                *arguments,
                prefix=prefix,
            )
        finally:
            del os.environ["OPTIMUS_LEDGER"]

    def updates(self) -> int:
        """Updates ever made, those that were rolled back included."""
        path = self.run_dir / "metrics" / "learner-0.jsonl"
        if path.exists():
            with open(path, "rb") as file:  # only what is new: a soak asks many thousand times
                file.seek(self._seen)
                new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._seen += len(whole)
            self._updates += whole.count(b'"event": "update"')
        return self._updates

    def progress(self, count: int = 3, seconds: float = 90.0) -> float:
        """Waits for `count` more updates; returns the seconds it took."""
        began, before = time.monotonic(), self.updates()

        def done() -> bool:
            assert self.process.poll() is None, f"ended: {self.process.communicate()[0]}"
            return self.updates() >= before + count

        tools.wait_until(done, seconds, f"{count} more updates than {before}")
        return time.monotonic() - began

    def nodes(self, role: str) -> list[psutil.Process]:
        """The role's processes (not their supervisors), by index."""
        found = []
        for process in tools.processes_of(self.run_dir):
            try:
                words = process.cmdline()
            except psutil.NoSuchProcess:
                continue
            if (
                words[1:3] == ["-m", "launch.program.node"]
                and words[words.index("--role") + 1] == role
            ):
                found.append((int(words[words.index("--index") + 1]), process))
        return [process for _, process in sorted(found, key=lambda pair: pair[0])]

    def kill(self, role: str, index: int = 0) -> float:
        """`kill -9`, then waits until another process has the role; returns the seconds."""
        victim, began = self.nodes(role)[index], time.monotonic()
        victim.kill()

        def back() -> bool:
            assert self.process.poll() is None, f"ended: {self.process.communicate()[0]}"
            now = self.nodes(role)
            return len(now) > index and victim.pid not in [process.pid for process in now]

        tools.wait_until(back, 60.0, f"another {role} {index}")
        return time.monotonic() - began

    def events(self, file: str, event: str) -> list[dict]:
        return tools.events(self.run_dir, file, event)

    def roster(self) -> dict[str, list[str]]:
        return json.loads((self.run_dir / "roster.json").read_text())

    def stop(self) -> tuple[float, str]:
        """SIGTERM; (seconds until everything was gone, output)."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        output, _ = self.process.communicate(timeout=40)
        assert self.process.returncode == 0, output
        assert not tools.processes_of(self.run_dir)
        return time.monotonic() - began, output

    def check_ledger(self) -> dict[str, Any]:
        """Replays the whole run from its ledger in a process of its own; the counts."""
        code = "import sys; from tests.launch import fault_tools; fault_tools.audit(sys.argv[1])"
        done = subprocess.run(
            [sys.executable, "-c", code, str(self.run_dir)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout.splitlines()[-1])


def audit(folder: str) -> None:
    """Checks a stopped run's ledger against its newest checkpoint; prints counts as JSON."""
    from launch.program import environment

    environment.apply()  # as in the learner, so that rounding is the same
    from launch import builders
    from optimus.meta.update import theta_from_arrays
    from optimus.rundir import checkpoint, load_config
    from tests.learner import ledger_audit as ledger

    run_dir = Path(folder)
    configuration = load_config(run_dir / "config.json")
    entries = ledger.surviving(run_dir)
    ledger.check(entries, configuration)
    found, _ = checkpoint.load_latest(run_dir / "checkpoints")
    assert found is not None and found.step == len(entries), (found, len(entries))
    assert int(found.arrays["adam/count"]) == len(entries)
    theta = ledger.replay(configuration, entries, builders.initial_theta(configuration))
    saved = theta_from_arrays(found.arrays, builders.parameter_layout(configuration))
    assert theta.tobytes() == saved.tobytes(), "the replayed weights differ"
    lines = (run_dir / ledger_file()).read_text().splitlines()
    print(
        json.dumps(
            {
                "updates": len(entries),
                "samples": sum(len(e.samples) for e in entries),
                "rolled_back": len(lines) - len(entries),
                "epochs": entries[-1].epoch if entries else 0,
            }
        )
    )


def ledger_file() -> str:
    return "ledger.jsonl"
