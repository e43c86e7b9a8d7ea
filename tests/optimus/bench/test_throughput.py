"""`optimus bench throughput`: options of the three things it measures, and their one command."""

import pytest
import tyro

from launch.cli import bench
from optimus.errors import ConfigError


def parsed(*words):
    return tyro.cli(bench.Bench, args=["throughput", *words]).which


def test_options_of_each_have_no_prefix():
    command = parsed("--loss", "physics", "--seconds", "0.25", "--threads", "1,2,4")
    assert (command.loss, command.seconds, command.of_loss.threads) == ("physics", 0.25, "1,2,4")
    command = parsed("--meta", "--n", "20", "--lanes", "40")
    assert command.meta and (command.of_meta.n, command.of_meta.lanes) == (20, 40)
    command = parsed("--fleet", "--workers", "3", "--no-stagger", "--json")
    assert command.fleet and command.of_fleet == bench.FleetSpeed(3, stagger=False, json=True)


def test_one_of_them_must_be_chosen(tmp_path):
    command = bench.Bench(bench.Throughput(out=tmp_path))
    with pytest.raises(ConfigError, match="want --loss physics, --meta or --fleet"):
        command.run(print)
