"""Epochs and episode ids: written down before use, never given out twice."""

import json
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learner.identity import FILE, Identity, IdentityError


def test_a_new_run_gets_an_id_that_stays(tmp_path):
    first = Identity(tmp_path)
    assert len(first.run_id) == 12 and first.epoch == 0
    assert Identity(tmp_path).run_id == first.run_id
    (tmp_path / "other").mkdir()
    assert Identity(tmp_path / "other").run_id != first.run_id


def test_opening_changes_nothing(tmp_path):
    Identity(tmp_path).reserve_episodes(5)
    before = (tmp_path / FILE).read_bytes()
    assert Identity(tmp_path).epoch == 0
    assert (tmp_path / FILE).read_bytes() == before


def test_the_epoch_rises_over_restarts(tmp_path):
    assert [Identity(tmp_path).raise_epoch() for _ in range(3)] == [1, 2, 3]
    identity = Identity(tmp_path)
    assert (identity.epoch, identity.raise_epoch(), identity.epoch) == (3, 4, 4)


steps = st.lists(
    st.one_of(st.integers(1, 1000), st.sampled_from(["reopen", "epoch", "cover"])), max_size=12
)


@settings(max_examples=25, deadline=None)
@given(steps)
def test_no_id_is_given_out_twice(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("run")
    identity, end, epochs = Identity(folder), 0, []
    for step in steps:
        if step == "reopen":
            identity = Identity(folder)
        elif step == "epoch":
            epochs.append(identity.raise_epoch())
        elif step == "cover":
            identity.reserve_up_to(end + 7)
            end += 7
        else:
            first = identity.reserve_episodes(step)
            assert first >= end
            end = first + step
            assert json.loads((folder / FILE).read_text())["next_episode"] == end
    assert epochs == list(range(1, len(epochs) + 1))


def test_ids_below_a_limit_can_be_counted_as_used(tmp_path):
    identity = Identity(tmp_path)
    identity.reserve_up_to(100)
    identity.reserve_up_to(40)  # less than what is used already
    assert Identity(tmp_path).reserve_episodes(5) == 100


def test_threads_get_different_ids(tmp_path):
    identity, firsts = Identity(tmp_path), []

    def reserve():
        firsts.extend(identity.reserve_episodes(3) for _ in range(20))

    threads = [threading.Thread(target=reserve) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(firsts) == list(range(0, 240, 3))


def test_ids_may_be_large(tmp_path):
    identity = Identity(tmp_path)
    identity.reserve_up_to(2**61)
    assert Identity(tmp_path).reserve_episodes(2**60) == 2**61


@pytest.mark.parametrize("count", [0, -1, 2**60 + 1])
def test_an_impossible_number_of_ids_is_refused(tmp_path, count):
    identity = Identity(tmp_path)
    with pytest.raises(ValueError, match=f"cannot reserve {count} episode ids"):
        identity.reserve_episodes(count)
    assert identity.reserve_episodes(1) == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"run_id": "a", "epo',
        "[]",
        "3",
        '{"run_id": "a", "epoch": 1}',
        '{"run_id": "a", "epoch": 1, "next_episode": 2, "more": 3}',
        '{"run_id": "a", "epoch": "1", "next_episode": 2}',
        '{"run_id": "a", "epoch": 1, "next_episode": null}',
        '{"run_id": "a", "epoch": 1, "next_episode": -2}',
        '{"run_id": "a", "epoch": true, "next_episode": 2}',
        '{"run_id": 5, "epoch": 1, "next_episode": 2}',
        f'{{"run_id": "a", "epoch": 1, "next_episode": {2**70}}}',
        f'{{"run_id": "a", "epoch": {2**62}, "next_episode": 2}}',
    ],
)
def test_a_damaged_file_is_refused_and_left_alone(tmp_path, text):
    """Beginning anew would give ids out twice."""
    (tmp_path / FILE).write_text(text)
    with pytest.raises(IdentityError, match=r"identity.json is damaged .*restore it or use"):
        Identity(tmp_path)
    assert (tmp_path / FILE).read_text() == text


def test_an_id_that_could_not_be_written_down_is_not_given_out(tmp_path, monkeypatch):
    identity = Identity(tmp_path)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", full)
        with pytest.raises(IdentityError, match="No space left"):
            identity.reserve_episodes(10)
    assert Identity(tmp_path).reserve_episodes(10) == 0  # nobody had them
