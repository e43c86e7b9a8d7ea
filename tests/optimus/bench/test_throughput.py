"""`optimus bench throughput`: options of the three things it measures, and their one command."""

import errno
import os
import subprocess

import pytest
import tyro

from launch.cli import bench
from optimus.bench import storage, throughput
from optimus.errors import ConfigError, UserError


def parsed(*words):
    return tyro.cli(bench.Bench, args=["throughput", *words]).which


def test_options_of_each_have_no_prefix():
    command = parsed("--loss", "physics", "--seconds", "0.25", "--threads", "1,2,4")
    assert (command.loss, command.seconds, command.of_loss.threads) == ("physics", 0.25, "1,2,4")
    command = parsed("--meta", "--n", "20", "--lanes", "40")
    assert command.meta and (command.of_meta.n, command.of_meta.lanes) == (20, 40)
    command = parsed("--fleet", "--workers", "3", "--no-stagger", "--json")
    assert command.fleet and command.of_fleet == bench.FleetSpeed(3, stagger=False, json=True)


def test_a_measurement_that_fails_is_one_line(monkeypatch, tmp_path):
    cell = throughput.Cell("optimus", 1, 4, 2, 0.1)
    for words, message in (("", "exit code 9"), ("Traceback\nLast: line\n", "Last: line")):
        done = subprocess.CompletedProcess([], 9, "", words)
        monkeypatch.setattr(subprocess, "run", lambda *_, done=done, **__: done)
        with pytest.raises(UserError, match=message):
            throughput.in_process_of_its_own(cell)
    for name, value in (("n", "3"), ("seconds", "nan")):
        with pytest.raises(ConfigError, match=f"{name}: got {value}, want"):
            bench.Bench(parsed("--meta", f"--{name}", value)).run(print)


def test_files_that_cannot_be_used_are_one_line(tmp_path):
    (tmp_path / "file").touch()
    few = dict(functions="sphere", dims="2", methods="return_zero", starts=1, steps=2)
    for out in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(ConfigError, match=f"--out {tmp_path}/file.*: .* is no folder"):
            bench.Bench(bench.Classical(out=out, **few)).run(print)
    if os.geteuid():
        (tmp_path / "shut").mkdir(mode=0o500)
        with pytest.raises(UserError, match="Permission denied"):
            bench.Bench(bench.Classical(out=tmp_path / "shut" / "a", **few)).run(print)


def test_a_full_disk_is_one_line_and_code_1(tmp_path, monkeypatch):
    def full(path, text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(storage, "write_atomically", full)
    few = dict(functions="sphere", dims="2", methods="return_zero", starts=1, steps=2)
    with pytest.raises(UserError, match=f"cannot write {tmp_path}: No space left") as caught:
        bench.Bench(bench.Classical(out=tmp_path, **few)).run(print)
    assert caught.value.exit_code == 1


def test_one_of_them_must_be_chosen(tmp_path):
    command = bench.Bench(bench.Throughput(out=tmp_path))
    with pytest.raises(ConfigError, match="want --loss physics, --meta or --fleet"):
        command.run(print)
