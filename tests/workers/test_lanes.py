"""Lanes: which episode each one is in, and when the next begins."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.lanes import Lane, begin_episode, end_window, reserved_episodes, scheduled_episodes


def play(lanes, next_episode, windows, rounds, fails=lambda lane, round_: False):
    """Ids of the episodes begun, and (episode, window) of each window, lane by lane."""
    begun, seen = [], []
    for round_ in range(rounds):
        for lane in lanes:
            if lane.over:
                begin_episode(lane, next_episode(lane), windows)
                begun.append(lane.episode)
            seen.append((lane.index, lane.episode, lane.window))
            end_window(lane, fails(lane, round_))
    return begun, seen


def test_an_episode_has_all_its_windows_in_order():
    lane = Lane(index=0)
    begin_episode(lane, 42, windows=3)
    assert (lane.episode, lane.window, lane.length, lane.over) == (42, 0, 3, False)
    ends = [end_window(lane, failed=False) for _ in range(3)]
    assert ends == [False, False, True]
    assert (lane.window, lane.over) == (3, True)


def test_first_episodes_are_staggered_and_later_ones_whole():
    lengths = []
    for index in range(7):
        lane = Lane(index)
        for episode in range(3):
            begin_episode(lane, episode, windows=5)
            lengths.append(lane.length)
    assert lengths[0::3] == [5, 4, 3, 2, 1, 5, 4]
    assert lengths[1::3] == lengths[2::3] == [5] * 7


def test_staggering_spreads_the_ends():
    """With as many lanes as windows, one lane ends in every round."""
    lanes = [Lane(index) for index in range(5)]
    over = []
    for _ in range(15):
        play(lanes, scheduled_episodes(0, 5), windows=5, rounds=1)
        over.append([lane.over for lane in lanes].count(True))
    assert over == [1] * 15


def test_a_failure_ends_the_episode_and_the_next_starts_clean():
    lane = Lane(index=3)
    begin_episode(lane, 7, windows=10)
    lane.versions.append([1, 4])
    assert end_window(lane, failed=True)
    begin_episode(lane, 8, windows=10)
    assert (lane.episode, lane.window, lane.versions, lane.over) == (8, 0, [], False)
    assert (lane.begun, lane.length) == (2, 10)  # no longer staggered


def test_scheduled_ids_follow_from_lane_and_count():
    next_episode = scheduled_episodes(first_episode=100, total_lanes=4)
    lanes = [Lane(index) for index in range(4)]
    begun, _ = play(lanes, next_episode, windows=1, rounds=3)
    assert begun == list(range(100, 112))
    assert next_episode(Lane(index=2, begun=9)) == 100 + 9 * 4 + 2


@settings(max_examples=50, deadline=None)
@given(
    total=st.integers(1, 8),
    windows=st.integers(1, 6),
    rounds=st.integers(1, 20),
    failures=st.sets(st.tuples(st.integers(0, 7), st.integers(0, 19))),
)
def test_no_window_comes_twice_and_ids_stay_in_their_block(total, windows, rounds, failures):
    lanes = [Lane(index) for index in range(total)]
    begun, seen = play(
        lanes,
        scheduled_episodes(50, total),
        windows,
        rounds,
        fails=lambda lane, round_: (lane.index, round_) in failures,
    )
    assert len(set(begun)) == len(begun)
    assert len({(episode, window) for _, episode, window in seen}) == len(seen)
    # What the learner sets aside for a synchronous run: one id per lane and update.
    assert min(begun) >= 50 and max(begun) < 50 + rounds * total
    assert all(window < windows for *_, window in seen)


def test_an_id_belongs_to_one_lane():
    lanes = [Lane(index) for index in range(6)]
    _, seen = play(lanes, scheduled_episodes(0, 6), windows=3, rounds=30)
    owners = {}
    for index, episode, _ in seen:
        assert owners.setdefault(episode, index) == index


@pytest.mark.parametrize("split", [1, 2, 3])
def test_actors_that_share_a_schedule_get_the_ids_of_one(split):
    """The same lanes over several actors: the same episodes."""
    one = [Lane(index) for index in range(6)]
    begun, _ = play(one, scheduled_episodes(0, 6), windows=3, rounds=10)
    together = []
    for actor in range(split):
        size = 6 // split
        mine = [Lane(index) for index in range(actor * size, (actor + 1) * size)]
        together += play(mine, scheduled_episodes(0, 6), windows=3, rounds=10)[0]
    assert sorted(together) == sorted(begun)


def test_reserved_ids_come_in_order_out_of_blocks():
    asked = []

    def reserve(count):
        asked.append(count)
        return 1000 * len(asked)

    take = reserved_episodes(reserve, block=3)
    assert asked == []  # nothing is taken before it is needed
    assert [take(Lane(0)) for _ in range(7)] == [1000, 1001, 1002, 2000, 2001, 2002, 3000]
    assert asked == [3, 3, 3]


def test_actors_with_blocks_of_their_own_never_share_an_id():
    given_out = 0

    def reserve(count):
        nonlocal given_out
        given_out += count
        return given_out - count

    takers = [reserved_episodes(reserve, block=4) for _ in range(3)]
    ids = [takers[k % 3](Lane(k % 3)) for k in range(60)]
    assert len(set(ids)) == 60


def test_an_error_while_reserving_is_not_swallowed():
    def reserve(_):
        raise ConnectionError("the head is gone")

    with pytest.raises(ConnectionError, match="the head is gone"):
        reserved_episodes(reserve)(Lane(0))
