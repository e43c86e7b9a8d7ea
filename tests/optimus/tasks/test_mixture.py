"""Training distributions: masked functions equal the benchmark's, held-out groups stay out."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimus.config import ClassicalTask
from optimus.problems import groups, presets
from optimus.problems.functions import FUNCTIONS
from optimus.tasks import distribution, generated, mixture
from optimus.tasks.draws import domain_key

SIZE = 12
EVERYTHING = ClassicalTask(
    generated=0.25, sizes=(10, 16), shift=0.5, rotate=0.5, x_scale=2.0, f_scale=10.0
)


def dims(name):
    function, candidates = FUNCTIONS[name], [1, 2, 4, 5, 8, 10, 12]
    least, most = mixture.span(name, 1, SIZE)
    return [n for n in candidates if least <= n <= most and n % function.multiple_of == 0]


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_masked_functions_are_the_formulas_at_the_true_dimension(name):
    random = np.random.default_rng(0)
    both = jax.jit(jax.value_and_grad(FUNCTIONS[name].value))
    width = 1.0 if name in ("perm", "sum_of_powers") else 10.0
    for n in dims(name):
        x = random.uniform(-width, width, SIZE).astype(np.float32)
        mask = np.arange(SIZE) < n
        value, gradient = both(x, mask, np.int32(n))
        plain = jax.jit(jax.value_and_grad(FUNCTIONS[name].value))
        expected, slope = plain(jnp.asarray(x[:n]))
        assert float(value) == pytest.approx(float(expected), rel=2e-5, abs=2e-5)
        scale = float(jnp.abs(slope).max())
        np.testing.assert_allclose(gradient[:n], slope, rtol=1e-4, atol=1e-5 * scale)
        np.testing.assert_array_equal(gradient[n:], 0.0)
        again, _ = both(np.where(mask, x, 7.0).astype(np.float32), mask, np.int32(n))
        assert float(again) == float(value)
        minimum = FUNCTIONS[name].minimum(n)
        traced = jnp.asarray(FUNCTIONS[name].minimum(jnp.int32(n)), jnp.float32)
        assert float(traced) == pytest.approx(minimum, rel=1e-6)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_task_is_the_presets_problem(name):
    """Same shift, rotation and point: the value that the fair presets report."""
    n = dims(name)[-1] if name == "perm" else 8
    for preset in ("fair-shift", "fair-rotate"):
        problem = presets.problem(preset, name, n, seed=0, start=3)
        with presets.arithmetic("float64"):
            expected = float(problem.value(problem.x0))
        padded = {
            "n": np.int32(n),
            "mask": np.arange(SIZE) < n,
            "shift": np.pad(problem.data["shift"], (0, SIZE - n)).astype(np.float32),
            "x_scale": np.float32(1),
            "f_scale": np.float32(1),
        }
        if "rotation" in problem.data:
            rotation = np.eye(SIZE, dtype=np.float32)
            rotation[:n, :n] = problem.data["rotation"]
            padded["rotation"] = rotation
        x = np.pad(problem.x0, (0, SIZE - n)).astype(np.float32)
        got = float(jax.jit(functools.partial(mixture.value, name))(padded, x))
        assert got == pytest.approx(expected, rel=2e-4), preset


@functools.cache
def drawn(size, lanes=64, batches=4, task=EVERYTHING):
    """(assignment, data of each segment, starts, masks) over several draws."""
    assigned = distribution.assign(task, size, lanes)
    sample = jax.jit(functools.partial(distribution.sample, assigned))
    keys = [jax.random.split(domain_key(k, "test"), lanes) for k in range(batches)]
    found = [jax.tree_util.tree_map(np.asarray, sample(key)) for key in keys]
    merged = jax.tree_util.tree_map(lambda *leaves: np.stack(leaves), *found)
    return assigned, *merged


@pytest.mark.parametrize("size", [10, 16])
def test_what_is_drawn_is_within_its_bounds(size):
    assigned, data, starts, masks = drawn(size)
    assert starts.shape == masks.shape == (4, 64, size)
    assert np.all(starts[~masks] == 0.0)
    counts = masks.sum(axis=2)
    low = {10: 2, 16: 11}[size]
    for segment, each in zip(assigned.segments, data):
        n = counts[:, segment.start : segment.stop]
        start = np.abs(starts[:, segment.start : segment.stop])
        if segment.name == "powell":
            assert np.all(n % 4 == 0)
        else:
            assert n.min() >= low
        assert n.max() <= size
        assert start.max() <= (1.0 if segment.name == "perm" else 10.0)
        most = {"perm": 0.5, "sum_of_powers": 2.0}.get(segment.name, 5.0)
        assert np.abs(each["shift"]).max() <= most
        np.testing.assert_array_equal(each["mask"], masks[:, segment.start : segment.stop])
        rotation = each["rotation"].reshape(-1, size, size)
        np.testing.assert_allclose(
            rotation @ rotation.transpose(0, 2, 1),
            np.broadcast_to(np.eye(size), rotation.shape),
            atol=1e-5,
        )
    assert {segment.name for segment in assigned.segments} == {
        "generated",
        *(name for name in FUNCTIONS if name != "perm" or size == 10),
    }


def test_values_and_gradients_come_lane_by_lane():
    assigned, data, starts, masks = drawn(10)
    first = jax.tree_util.tree_map(lambda leaf: leaf[0], data)
    both = jax.jit(functools.partial(distribution.values_and_gradients, assigned.segments))
    values, gradients = both(first, starts[0])
    plain = jax.jit(functools.partial(distribution.values, assigned.segments))(first, starts[0])
    np.testing.assert_allclose(values, plain, rtol=1e-5)
    assert np.isfinite(values).all() and np.isfinite(gradients).all()
    assert float(np.min(values)) > -1e-2
    assert np.all(np.asarray(gradients)[~masks[0]] == 0.0)
    segment, k = assigned.segments[3], assigned.segments[3].start
    alone = segment.value({name: leaf[0] for name, leaf in first[3].items()}, starts[0][k])
    assert float(values[k]) == pytest.approx(float(alone), rel=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_generated_losses_have_their_minimum_where_they_say(seed):
    spec = dataclasses.replace(EVERYTHING, shift=1.0)
    family = (tuple(groups.GENERATED)[seed],)
    data, start = generated.sample(family, spec, 5, 8, 8, jax.random.PRNGKey(seed))
    assert tuple(groups.GENERATED)[int(data["family"])] == family[0]
    z = jnp.where(data["mask"], data["target"] / data["x_scale"] + data["shift"], 0.0)
    at = data["rotation"].T @ z
    scale = float(generated.value(data, start))
    assert 0.0 <= float(generated.value(data, at)) < 1e-6 * scale
    assert scale > 0.0
    moved = start + jnp.where(data["mask"], 0.0, 5.0)
    assert float(generated.value(data, moved)) == pytest.approx(scale, rel=1e-6)


@pytest.mark.parametrize("tag", sorted(groups.GROUPS))
def test_a_held_out_group_is_never_drawn(tag):
    task = dataclasses.replace(EVERYTHING, hold_out=(tag,), generated=0.5)
    for size in task.sizes:
        assigned = distribution.assign(task, size, 64)
        names = {segment.name for segment in assigned.segments}
        assert not names & set(groups.GROUPS[tag])
        assert len(names) > 5
    # Only generated families are told apart by data: draw many and look.
    _, data, _, _ = drawn(16, 256, 2, dataclasses.replace(task, functions=(), generated=1.0))
    families = {tuple(groups.GENERATED)[k] for k in np.unique(data[0]["family"])}
    assert families == {name for name, its in groups.GENERATED.items() if its != tag}


def test_every_function_has_one_group():
    assert sorted(groups.FUNCTION_NAMES) == sorted(FUNCTIONS)
    assert len(set(groups.FUNCTION_NAMES)) == 15
    assert groups.tag_of("levy") == "well"
    with pytest.raises(ValueError, match="unknown function 'cube'"):
        groups.tag_of("cube")


@pytest.mark.parametrize("lanes", [5, 20, 64, 100])
def test_lanes_are_dealt_without_gaps_and_by_shares(lanes):
    assigned = distribution.assign(EVERYTHING, 10, lanes)
    assert len(assigned.names) == lanes == assigned.segments[-1].stop
    assert [segment.start for segment in assigned.segments[1:]] == [
        segment.stop for segment in assigned.segments[:-1]
    ]
    share = assigned.names.count("generated")
    assert abs(share - lanes / 4) < 1.0
    each = [segment.stop - segment.start for segment in assigned.segments[:-1]]
    assert max(each) - min(each) <= 1


def test_domains_do_not_meet():
    words = {
        bytes(np.asarray(jax.random.key_data(domain_key(seed, domain))))
        for seed in (0, 1, 20221201)
        for domain in ("train", "lanes", "validation", "test")
    }
    assert len(words) == 12
