"""A run directory belongs to one configuration and, at any time, to one process."""

import dataclasses
import json
import pathlib
import subprocess
import sys

import pytest

from launch import configs
from optimus import rundir
from optimus.config import ConfigError, override
from optimus.rundir import RunDirError, load_config, owned, prepare

SMOKE = configs.find("smoke")
ROOT = pathlib.Path(rundir.__file__).resolve().parents[1]


def test_a_new_directory_holds_its_configuration(tmp_path):
    run_dir = tmp_path / "runs" / "smoke"
    prepare(run_dir, SMOKE)
    assert load_config(run_dir / "config.json") == SMOKE
    assert [path.name for path in run_dir.iterdir()] == ["config.json"]


def test_the_same_configuration_may_come_again(tmp_path):
    prepare(tmp_path, SMOKE)
    prepare(tmp_path, SMOKE)
    assert load_config(tmp_path / "config.json") == SMOKE


@pytest.mark.parametrize(
    ("assignment", "named"),
    [
        ("seed=7", "seed is 0 there and 7 here"),
        ("meta.learning_rate=0.5", "phases.0.meta.learning_rate is 0.001 there and 0.5 here"),
        ("task.dim=11", "task.dim is 10 there and 11 here"),
        ("max_staleness=3", "max_staleness is None there and 3 here"),
        ("optimizer.encoders=2", "optimizer.encoders is 1 there and 2 here"),
    ],
)
def test_another_configuration_is_refused_by_its_difference(tmp_path, assignment, named):
    prepare(tmp_path, SMOKE)
    with pytest.raises(RunDirError) as caught:
        prepare(tmp_path, override(SMOKE, [assignment]))
    message = str(caught.value)
    assert f"{tmp_path} holds a run of another configuration ({named})" in message
    assert "--run-dir" in message and "\n" not in message
    assert load_config(tmp_path / "config.json") == SMOKE


def test_a_run_of_another_task_is_refused(tmp_path):
    prepare(tmp_path, SMOKE)
    with pytest.raises(RunDirError, match="another configuration"):
        prepare(tmp_path, configs.find("physics-small"))


@pytest.mark.parametrize("key", rundir.RESUMABLE)
def test_what_only_changes_how_long_it_runs_may_change(tmp_path, key):
    prepare(tmp_path, SMOKE)
    value = getattr(SMOKE, key)
    longer = dataclasses.replace(
        SMOKE, **{key: not value if isinstance(value, bool) else value + 1}
    )
    prepare(tmp_path, longer)
    assert load_config(tmp_path / "config.json") == longer


def test_a_resumable_change_does_not_hide_another_one(tmp_path):
    prepare(tmp_path, SMOKE)
    with pytest.raises(RunDirError, match="seed is 0 there"):
        prepare(tmp_path, dataclasses.replace(SMOKE, updates=99, seed=1))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ('{"name": "smoke", ', "is not JSON"),
        ("[1, 2]", "want a JSON object"),
        ('{"name": "smoke"}', "config: missing task, updates"),
        ('{"nmae": "smoke"}', "unknown key 'nmae'; did you mean 'name'?"),
    ],
)
def test_a_corrupt_config_json_is_one_line(tmp_path, text, message):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        prepare(tmp_path, SMOKE)
    assert str(path) in str(caught.value) and message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_text() == text


def test_a_binary_config_json_is_one_line(tmp_path):
    (tmp_path / "config.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not JSON"):
        load_config(tmp_path / "config.json")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot read .*config.json: No such file"):
        load_config(tmp_path / "config.json")


def test_a_file_is_no_run_directory(tmp_path):
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(RunDirError, match="is not a directory"):
        prepare(path, SMOKE)
    with pytest.raises(RunDirError, match="cannot write"):
        prepare(path / "below", SMOKE)


# ------------------------------------------------------------------------------------------ owner


HOLD = """
import pathlib, sys
from optimus.rundir import owned
with owned(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    first = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with first:
        try:
            assert first.stdout.readline() == "held\n"
            with pytest.raises(RunDirError) as caught, owned(tmp_path):
                pass
        finally:
            first.kill()  # without a chance to clean up
    assert f"{tmp_path} is being run by another process" in str(caught.value)
    assert "\n" not in str(caught.value)
    with owned(tmp_path):
        pass


def test_the_lock_is_released_when_the_run_fails(tmp_path):
    with pytest.raises(ZeroDivisionError), owned(tmp_path):
        raise ZeroDivisionError
    with owned(tmp_path), pytest.raises(RunDirError), owned(tmp_path):
        pass
    with owned(tmp_path):
        pass


def test_the_configuration_on_disk_is_plain_json(tmp_path):
    prepare(tmp_path, SMOKE)
    values = json.loads((tmp_path / "config.json").read_text())
    assert values["task"] == {"kind": "analytic", "family": "quadratic", "dim": 10}
