"""The evaluator as a role of a real run: judged to the end, restarted, optional, nothing left."""

from __future__ import annotations

import json
import pathlib
import re
import signal
import urllib.request

import pytest

from launch.evaluation import records
from optimus.rundir import checkpoint
from tests.launch import run_tools as tools

pytestmark = [tools.distributed, pytest.mark.story]

RUN = (
    "train",
    "smoke",
    "--launch",
    "local_mp",
    "--prometheus",
    "0",
    "--set",
    "evaluator=true",
    "--set",
    "optimizer.dim=8",
    "--set",
    "optimizer.heads=1",
    "--set",
    "updates=40",
    "--set",
    "evaluation.tasks=3",
    "--set",
    "evaluation.steps=4",
)


def test_it_judges_the_last_checkpoint_although_it_was_killed(tmp_path: pathlib.Path) -> None:
    run_dir = tmp_path / "run"
    process = tools.start(*RUN, "--run-dir", str(run_dir))
    try:
        assert process.stdout is not None
        url = re.search(r"http://127\.0\.0\.1:\d+/metrics", process.stdout.readline())
        assert url is not None

        def judging() -> bool:
            assert process.poll() is None, f"ended early: {process.communicate()[0]}"
            return bool(tools.events(run_dir, "evaluator-0", "begin"))

        tools.wait_until(judging, 120.0, "an evaluation")
        with urllib.request.urlopen(url[0], timeout=20) as answer:
            scraped = answer.read().decode()
        assert 'optimus_role_wanted{role="evaluator"} 1.0' in scraped
        tools.node(run_dir, "evaluator").send_signal(signal.SIGKILL)
        output, _ = process.communicate(timeout=180)
        assert process.returncode == 0, output
        assert not tools.processes_of(run_dir)
    finally:
        tools.finish(process, run_dir)

    judged = {r["step"]: records.score_of(r) for r in records.evaluations(run_dir)}
    best = min(judged, key=lambda step: (judged[step], step))
    assert max(judged) == 40 and checkpoint.best_step(run_dir / "checkpoints") == best
    assert f"evaluated checkpoints: update {best}, score" in output
    assert "restart 1 of at most" in (run_dir / "logs" / "evaluator" / "0.log").read_text()
    assert tools.events(run_dir, "launcher-0", "ended")[-1]["state"] == "finished"
    last = [
        json.loads(line)
        for line in (run_dir / "metrics" / "stream-0.jsonl").read_text().splitlines()
    ]
    assert max(record.get("sampled", 0) for record in last) >= 8, "the stream says what it did"
