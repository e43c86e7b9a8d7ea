"""Configurations of earlier versions are read as what they meant, or refused in one line."""

import copy
import dataclasses
import json
import pathlib

import pytest

from launch import configs
from optimus import rundir
from optimus.config import ConfigError, from_dict, to_dict
from optimus.config.compatibility import layout_in
from tests.one_phase import with_phase

SMOKE = configs.find("smoke")


def first_format(config=SMOKE):
    """A configuration of one phase as format 1 had it: no phases, its parts at the top."""
    tree = json.loads(json.dumps(to_dict(config)))
    del tree["format"]
    (phase,) = tree.pop("phases")
    return tree | {key: phase[key] for key in ("estimator", "meta", "layout")} | {"phases": []}


def in_phases():
    """A fused run of two phases as format 1 had it: every phase has a length."""
    tree = first_format(configs.find("rosenbrock"))
    phase = {key: copy.deepcopy(tree[key]) for key in ("estimator", "meta", "layout")}
    phase["task"] = None
    later = copy.deepcopy(phase)
    later["meta"]["learning_rate"] = 5e-4
    return tree | {"updates": 12, "phases": [{"updates": 4, **phase}, {"updates": 8, **later}]}


def test_a_run_without_phases_is_one_phase():
    assert from_dict(first_format()) == SMOKE


def test_phases_win_over_what_stood_at_the_top():
    tree = in_phases()
    tree["estimator"]["kind"] = "pes"  # dead: the phases have their own
    found = from_dict(tree)
    assert (found.starts, found.lengths, found.updates) == ((0, 4), (4, 8), 12)
    assert [phase.estimator.kind for phase in found.phases] == ["bptt", "bptt"]
    assert [phase.meta.learning_rate for phase in found.phases] == [1e-3, 5e-4]
    assert found.phases[1].updates is None


def test_a_run_that_ends_within_its_first_phase_stays_so():
    found = from_dict(in_phases() | {"updates": 3})
    assert (found.lengths, found.phase_index(2)) == ((3, 0), 0)


@pytest.mark.parametrize("removed", [{"tail": 0.0}, {"difference_clip": 0}, {}])
def test_a_removed_key_that_did_nothing_is_dropped(removed):
    tree = first_format()
    tree["estimator"] |= removed
    assert from_dict(tree) == SMOKE
    phased = in_phases()
    phased["phases"][1]["estimator"] |= removed
    assert from_dict(phased) == from_dict(in_phases())


def test_what_was_removed_is_refused_with_the_commit_that_can():
    alone, phased, scored, ordered = first_format(), in_phases(), first_format(), first_format()
    alone["estimator"]["tail"] = 0.5
    phased["phases"][1]["estimator"]["difference_clip"] = 1.0
    scored["meta_loss"]["kind"] = "raw"
    ordered["optimizer"]["coord_pos"] = "sin"
    for tree, what in (
        (alone, "estimator.tail: got 0.5"),
        (phased, "phases.1.estimator.difference_clip: got 1.0"),
        (scored, "meta_loss.kind: got 'raw'"),
        (ordered, "optimizer.coord_pos: got 'sin'"),
    ):
        with pytest.raises(ConfigError) as caught:
            from_dict(tree)
        assert str(caught.value) == (
            f"{what}, which this version no longer has; commit 7acff6f is the last that can run it"
        )


@pytest.mark.parametrize("written", [0, 3, "2", True, None])
def test_a_format_that_nobody_knows_is_refused(written):
    with pytest.raises(ConfigError, match=r"^format: got .*, this version of optimus reads 1 to 2"):
        from_dict(to_dict(SMOKE) | {"format": written})


def test_the_layout_is_found_in_any_version_and_in_damaged_files():
    layout = dataclasses.asdict(SMOKE.phases[0].layout)
    for tree in (first_format(), json.loads(json.dumps(to_dict(SMOKE)))):
        assert layout_in(tree) == layout
    for damaged in ({}, {"layout": 3}, {"phases": 3}, {"phases": [3]}, {"phases": [{"layout": 1}]}):
        assert layout_in(damaged) == {}


def test_a_run_directory_of_an_earlier_version_can_be_gone_on_with(tmp_path: pathlib.Path):
    (tmp_path / rundir.CONFIG).write_text(json.dumps(first_format()))
    assert rundir.load_config(tmp_path / rundir.CONFIG) == SMOKE
    rundir.prepare(tmp_path, dataclasses.replace(SMOKE, updates=99))
    assert json.loads((tmp_path / rundir.CONFIG).read_text())["format"] == 2


def test_another_phase_is_named_as_it_would_be_set(tmp_path: pathlib.Path):
    rundir.prepare(tmp_path, SMOKE)
    meta = dataclasses.replace(SMOKE.phases[0].meta, learning_rate=1.0)
    with pytest.raises(rundir.RunDirError, match=r"phases\.0\.meta\.learning_rate is 0\.001 there"):
        rundir.prepare(tmp_path, with_phase(SMOKE, meta=meta))
    longer = dataclasses.replace(SMOKE.phases[0], updates=3)
    with pytest.raises(rundir.RunDirError, match=r"phases\.0\.updates is None there and 3 here"):
        rundir.prepare(tmp_path, dataclasses.replace(SMOKE, phases=(longer, *SMOKE.phases)))
