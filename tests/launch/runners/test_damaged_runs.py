"""A run directory that was damaged or edited is understood, or refused in one line, at once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from launch import builders
from launch.runners import distributed, train
from learner.identity import FILE
from optimus import rundir
from optimus.config import TrainConfig, override, to_dict
from optimus.errors import UserError
from optimus.rundir import checkpoint
from tests.launch.run_dirs import config

SHORT = override(config(), ["updates=2", "checkpoint_every=1", "estimator.horizon=10"])
LONGER = override(SHORT, ["updates=3"])


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two updates in process, and its result."""
    run_dir = tmp_path_factory.mktemp("template") / "run"
    train.train(SHORT, run_dir, "inprocess", lambda _: None)
    return run_dir


@pytest.fixture
def run_dir(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "run"))


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused is refused before any process is started or any update made."""

    def fail(*_: object) -> bool:
        raise AssertionError("it was started")

    monkeypatch.setattr(distributed, "run", fail)


def refusal(chosen: TrainConfig, run_dir: Path, launch: str = "inprocess") -> str:
    """The one line by which a resume is refused; nothing is changed by it."""
    before = {path: path.stat().st_mtime_ns for path in run_dir.rglob("*") if path.name != ".lock"}
    with pytest.raises(UserError) as caught:
        train.train(chosen, run_dir, launch, lambda _: None)
    after = {path: path.stat().st_mtime_ns for path in run_dir.rglob("*") if path.name != ".lock"}
    before.pop(run_dir, None), after.pop(run_dir, None)
    assert before.keys() == after.keys()
    line = str(caught.value)
    assert "\n" not in line and caught.value.final
    return line


def resumed(chosen: TrainConfig, run_dir: Path) -> str:
    """What a resume says."""
    said: list[str] = []
    train.train(chosen, run_dir, "inprocess", said.append)
    return "\n".join(said)


# ---------------------------------------------------------------------------------- configuration


@pytest.mark.parametrize("changes", [[], ["seed=3"], ["meta.learning_rate=0.5"]])
def test_without_its_configuration_a_run_is_not_resumed(run_dir: Path, changes: list[str]) -> None:
    (run_dir / "config.json").unlink()
    line = refusal(override(LONGER, changes), run_dir)
    assert line.startswith(f"{run_dir / 'config.json'} is missing")
    assert "restore it, or use another --run-dir" in line
    assert not (run_dir / "config.json").exists()


def test_a_configuration_edited_by_hand_is_not_that_of_the_checkpoints(run_dir: Path) -> None:
    values = json.loads((run_dir / "config.json").read_text())
    values["phases"][0]["meta"]["learning_rate"] = 0.5
    (run_dir / "config.json").write_text(json.dumps(values | {"updates": 3}))
    line = refusal(rundir.load_config(run_dir / "config.json"), run_dir)
    assert line == (
        f"checkpoint {run_dir / 'checkpoints' / '2'} is of another configuration "
        "(phases.0.meta.learning_rate is 0.001 there and 0.5 here); use another --run-dir, or that "
        "configuration to resume it"
    )


def edit(run_dir: Path, at: int, /, **changes: object) -> None:
    path = run_dir / "checkpoints" / str(at) / checkpoint.MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_checkpoints_of_another_run(run_dir: Path) -> None:
    edit(run_dir, 2, config=to_dict(override(SHORT, ["seed=5"])))
    assert "(seed is 5 there and 0 here)" in refusal(LONGER, run_dir)
    edit(run_dir, 2, config=to_dict(SHORT), run_id="abc")
    assert "the newest checkpoint of the run 'abc'" in refusal(LONGER, run_dir)
    edit(run_dir, 2, config={"format": 3})
    assert "its configuration: format: got 3" in refusal(LONGER, run_dir)


def test_a_manifest_of_before_it_held_the_configuration_says_nothing(run_dir: Path) -> None:
    path = run_dir / "checkpoints" / "2" / checkpoint.MANIFEST
    manifest = json.loads(path.read_text())
    del manifest["config"]
    path.write_text(json.dumps(manifest | {"config_hash": "41d3bb412c053ac8"}))  # an old schema's
    assert "resuming from update 2" in resumed(LONGER, run_dir)


# --------------------------------------------------------------------------------------- identity

DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: path.write_text(path.read_text()[:20]),
    "empty": lambda path: path.write_text(""),
    "a list": lambda path: path.write_text("[1, 2]"),
    "deep": lambda path: path.write_text("[" * 100_000),
    "wrong types": lambda path: path.write_text(
        '{"run_id": 1, "epoch": "x", "next_episode": null}'
    ),
    "binary": lambda path: path.write_bytes(b"\xff\xfe\0"),
    "missing": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("launch", ["inprocess", "local_mp"])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_identity_is_one_line(
    run_dir: Path, damage: Callable[[Path], object], launch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("launch.runners.distributed_missing", lambda: None)
    damage(run_dir / FILE)
    assert str(run_dir / FILE) in refusal(LONGER, run_dir, launch)


def test_an_identity_older_than_the_checkpoint_is_one_line(run_dir: Path) -> None:
    """Of a backup, say: it would give out epochs and ids again."""
    old = (run_dir / FILE).read_text()
    resumed(LONGER, run_dir)
    (run_dir / FILE).write_text(old)
    line = refusal(override(LONGER, ["updates=4"]), run_dir)
    assert ", epoch 1, the newest checkpoint of the run '" in line and ", epoch 2; restore" in line


# ------------------------------------------------------------------------------------ checkpoints


@pytest.mark.parametrize("damage", ["missing", "truncated", "of another configuration"])
def test_without_its_first_checkpoint_a_run_ends_well(run_dir: Path, damage: str) -> None:
    """The start is made anew, bit for bit: it follows from the configuration."""
    first, reference = run_dir / "checkpoints" / "0", run_dir / "eval.jsonl"
    expected = json.loads(reference.read_text())
    reference.unlink()
    if damage == "missing":
        shutil.rmtree(first)
    elif damage == "truncated":
        (first / checkpoint.STATE).write_bytes(b"")
    else:
        manifest = json.loads((first / checkpoint.MANIFEST).read_text())
        manifest["config"]["seed"] = 7
        (first / checkpoint.MANIFEST).write_text(json.dumps(manifest))
    said = resumed(SHORT, run_dir)
    assert "the start is made anew from the configuration" in said and "Traceback" not in said
    found = json.loads(reference.read_text())
    assert found | {"time": 0} == expected | {"time": 0}
    assert "evaluating" not in resumed(SHORT, run_dir), "once"


POINTERS = ["", "ten", "-1", "99", "1_0", "\x00\xff", "²", "1" * 5000]


@pytest.mark.parametrize("text", POINTERS, ids=lambda text: text[:5].encode().hex())
@pytest.mark.parametrize("name", [checkpoint.LATEST, checkpoint.BEST, checkpoint.HELD])
def test_pointers_with_garbage_name_nothing(run_dir: Path, name: str, text: str) -> None:
    (run_dir / "checkpoints" / name).write_text(text)
    (run_dir / "checkpoints" / "²").mkdir()
    (run_dir / "checkpoints" / "007").mkdir()
    assert "this run is finished at update 2" in resumed(SHORT, run_dir)


FOLDERS = ["eval.jsonl", "identity.json", "config.json", "checkpoints/LATEST", "checkpoints/BEST"]


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_where_a_file_should_be(run_dir: Path, name: str) -> None:
    path = run_dir / name
    path.unlink(missing_ok=True)
    path.mkdir()
    line = refusal(LONGER, run_dir)
    assert str(path) in line
    assert any(what in line for what in ("is not a file", "no ordinary file", "Is a directory"))


@pytest.mark.parametrize("name", ["checkpoints", "metrics", "logs"])
def test_a_file_where_a_folder_should_be(run_dir: Path, name: str) -> None:
    shutil.rmtree(run_dir / name, ignore_errors=True)
    (run_dir / name).write_text("")
    assert refusal(LONGER, run_dir) == f"{run_dir / name} is not a directory"


MANIFESTS = {
    "step": {"step": "2"},
    "a flag": {"step": True},
    "evaluations": {"evaluations": "many"},
    "below zero": {"evaluations": -1},
    "first episode": {"first_episode": None},
    "an id that no sample can carry": {"first_episode": 2**70},
    "too large an epoch": {"epoch": 2**63},
    "too many evaluations": {"evaluations": 10**30},
    "open episodes": {"open_episodes": [1]},
    "run id": {"run_id": 7},
    "sha256": {"sha256": ["0"]},
    "another step": {"step": 1},
}


def newest(run_dir: Path) -> str:
    """What is said of the checkpoint to go on from; it must be that of step 1."""
    said: list[str] = []
    found = builders.newest_checkpoint(run_dir, said.append)
    assert found is not None and found.step == 1
    assert len(said) == 1 and said[0].startswith(f"checkpoint {run_dir / 'checkpoints' / '2'}")
    assert said[0].endswith("; using step 1 instead") and "\n" not in said[0]
    return said[0]


@pytest.mark.parametrize("change", MANIFESTS.values(), ids=MANIFESTS)
def test_a_manifest_of_wrong_types_is_passed_over(run_dir: Path, change: dict) -> None:  # type: ignore[type-arg]
    edit(run_dir, 2, **change)
    assert newest(run_dir)


def test_a_manifest_that_lacks_a_part_or_is_none_is_passed_over(run_dir: Path) -> None:
    path = run_dir / "checkpoints" / "2" / checkpoint.MANIFEST
    manifest = json.loads(path.read_text())
    del manifest["first_episode"]
    path.write_text(json.dumps(manifest))
    assert "lacks first_episode; using step 1" in newest(run_dir)
    for text in ("", "[]", "[" * 100_000, '{"step": 2'):
        path.write_text(text)
        assert newest(run_dir)
    assert "resuming from update 1" in resumed(LONGER, run_dir)


def test_samples_that_nobody_will_ever_send_are_not_waited_for(run_dir: Path) -> None:
    """The lanes go on with their own episodes: none is of another schedule."""
    edit(run_dir, 2, first_episode=2**40)
    with pytest.raises(UserError, match=r"lacks samples.* at step 2; refused so far: .*'unknown_e"):
        train.train(LONGER, run_dir, "inprocess", lambda _: None)


def test_checkpoints_of_a_later_version_are_not_written_over(run_dir: Path) -> None:
    edit(run_dir, 2, format=2)
    assert "has format 2, this version of optimus reads up to 1" in refusal(LONGER, run_dir)


def test_a_configuration_of_a_later_version(run_dir: Path) -> None:
    (run_dir / "config.json").write_text(json.dumps(to_dict(LONGER) | {"format": 3}))
    assert "format: got 3, this version of optimus reads 1 to 2" in refusal(LONGER, run_dir)


def test_lines_of_others_in_eval_jsonl_are_no_result(run_dir: Path) -> None:
    with open(run_dir / "eval.jsonl", "a") as file:
        file.write('{"step": 2}\n[]\n{"step": 2, "start": "x", "end": 1}\n{"ki')
    said = resumed(SHORT, run_dir)
    assert "95 % bootstrap" in said and "evaluating start and end" not in said


def test_nothing_at_all_starts_anew(tmp_path: Path) -> None:
    """A directory with a lock and metrics alone holds nothing that could be harmed."""
    (tmp_path / "metrics").mkdir()
    (tmp_path / ".lock").write_text("")
    assert "resuming" not in resumed(SHORT, tmp_path)
