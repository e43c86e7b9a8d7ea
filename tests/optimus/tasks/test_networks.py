"""Neural networks as tasks: what the coordinates mean, what is drawn, and that they train."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from optimus.config import ClassicalTask, ConfigError
from optimus.meta.fused.trainer import Trainer
from optimus.model.adafactor_mlp import AdafactorMlpConfig
from optimus.tasks import distribution, networks
from tests.one_phase import with_phase
from tests.optimus.meta import test_fused as these

SIZE = 30
SPEC = ClassicalTask(shift=0.5, rotate=0.5, f_scale=10.0)


@functools.cache
def drawn(count: int = 200):
    """(task data, starts) of many tasks, NumPy."""
    sample = functools.partial(networks.sample, SPEC, 11, SIZE, SIZE)
    found = jax.jit(jax.vmap(sample))(jax.random.split(jax.random.PRNGKey(0), count))
    return jax.tree_util.tree_map(np.asarray, found)


def task(k: int):
    """The data and start of one task."""
    data, start = drawn()
    return {name: leaf[k] for name, leaf in data.items()}, start[k]


both = jax.jit(jax.value_and_grad(networks.value, argnums=1))


def by_hand(data, x) -> float:
    """The loss in float64, unit after unit."""
    d, h = int(data["width"]), int(data["units"])
    n = h * (d + 2) + 1
    x = np.where(data["mask"], np.float64(x), 0.0)
    w = data["x_scale"] * (np.float64(data["rotation"]) @ x - data["shift"])
    total = 0.0
    for u, y in zip(np.float64(data["inputs"]), data["targets"]):
        out = w[n - 1]
        for k in range(h):
            row = w[k * (d + 2) : (k + 1) * (d + 2)]
            a = row[:d] @ u[:d] + row[d]
            out += row[d + 1] * (np.tanh(a) if data["smooth"] else max(a, 0.0))
        total += np.log1p(np.exp(-y * out)) if data["classes"] else 0.5 * (out - y) ** 2
    return data["f_scale"] * (total / len(data["targets"]) + data["decay"] * np.mean(w[:n] ** 2))


def test_the_loss_is_that_of_the_network() -> None:
    for k in range(12):
        data, start = task(k)
        for x in (start, start + np.float32(0.3)):
            assert float(both(data, x)[0]) == pytest.approx(by_hand(data, x), rel=2e-4)


def test_what_is_drawn_is_within_its_bounds() -> None:
    data, start = drawn()
    d, h = data["width"], data["units"]
    n = data["mask"].sum(axis=1)
    np.testing.assert_array_equal(n, h * (d + 2) + 1)
    assert n.max() <= SIZE and n.min() >= 11 - networks.INPUTS and len(np.unique(n)) > 8
    assert (d.min(), d.max()) == (1, networks.INPUTS) and h.min() >= 1
    assert np.all(start[~data["mask"]] == 0.0) and np.isfinite(start).all()
    assert np.all(data["inputs"][:, :, -1][d < networks.INPUTS] == 0.0)
    for name in ("classes", "smooth"):
        assert 0.3 < data[name].mean() < 0.7
    classes = data["targets"][data["classes"]]
    assert set(np.unique(classes)) == {-1.0, 1.0} and 0.2 < (classes > 0).mean() < 0.8
    regression = data["targets"][~data["classes"]]
    np.testing.assert_allclose(regression.std(axis=1), 1.0, atol=0.15)


@pytest.mark.parametrize("size", [4, 10])
def test_the_smallest_networks_fit(size: int) -> None:
    sample = functools.partial(networks.sample, ClassicalTask(), 2, size, size)
    data, start = jax.jit(jax.vmap(sample))(jax.random.split(jax.random.PRNGKey(1), 50))
    n = np.asarray(data["mask"]).sum(axis=1)
    assert n.min() >= networks.LEAST and n.max() <= size
    value, gradient = jax.jit(jax.vmap(both))(data, start)
    assert np.isfinite(value).all() and np.isfinite(gradient).all() and float(value.min()) > 0.0


def test_padding_has_no_influence_and_every_weight_has_some() -> None:
    touched = []
    for k in range(12):
        data, start = task(k)
        value, gradient = both(data, start)
        moved, other = both(data, np.where(data["mask"], start, 7.0).astype(np.float32))
        assert float(moved) == float(value)
        np.testing.assert_array_equal(np.asarray(gradient)[~data["mask"]], 0.0)
        np.testing.assert_array_equal(gradient, other)
        touched.append((np.asarray(gradient)[data["mask"]] != 0.0).mean())
    assert np.mean(touched) > 0.9  # the rest: ReLU units that are off for all examples


def test_they_can_be_trained() -> None:
    shares = []
    for k in range(8):
        data, start = task(k)
        found = scipy.optimize.minimize(
            lambda x, data=data: tuple(np.float64(each) for each in both(data, np.float32(x))),
            start,
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 200},
        )
        shares.append(found.fun / float(both(data, start)[0]))
    assert max(shares) < 0.9 and np.median(shares) < 0.4, shares


# -------------------------------------------------------------------------------- among other tasks

TWO = ClassicalTask(functions=("sphere", "rosenbrock"), generated=0.25, networks=0.25, sizes=(6,))


def test_lanes_are_dealt_to_networks_by_their_share() -> None:
    names = distribution.assign(TWO, 6, 8).names
    assert names == ["rosenbrock"] * 2 + ["sphere"] * 2 + ["generated"] * 2 + ["network"] * 2
    alone = dataclasses.replace(TWO, functions=(), generated=0.0)
    assert set(distribution.assign(alone, 6, 8).names) == {"network"}
    neither = dataclasses.replace(TWO, functions=(), generated=0.2, networks=0.6)
    assert distribution.assign(neither, 6, 8).names == ["generated"] * 2 + ["network"] * 6
    for without in (dict(networks=0.0), dict(hold_out=("network",))):
        chosen = dataclasses.replace(TWO, **without)
        assert "network" not in distribution.assign(chosen, 6, 8).names


def test_what_leaves_no_task_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"task\.networks: got 1\.1 with generated"):
        dataclasses.replace(TWO, generated=0.5, networks=0.6)
    with pytest.raises(ConfigError, match=r"task\.networks: got -0\.1, want within"):
        dataclasses.replace(TWO, networks=-0.1)
    with pytest.raises(ConfigError, match=r"task\.functions: none is left"):
        ClassicalTask(functions=(), networks=0.5, hold_out=("network",))


@pytest.mark.slow
def test_they_are_trained_on_beside_the_others_guided_or_not() -> None:
    rule = AdafactorMlpConfig(hidden=4, step_mult=0.1)
    plain = these.config("bptt", task=TWO, lanes=8, optimizer=rule)
    guided = dataclasses.replace(plain.phases[0].estimator, guide=10.0)
    trainer = Trainer(with_phase(plain, estimator=guided), devices=1)
    before = trainer.theta
    for _ in range(2):
        found = trainer.update()
        assert np.isfinite(float(found["meta_loss"])) and float(found["norm"]) > 0.0
    assert np.abs(trainer.theta - before).max() > 1e-5 and trainer.counts["failed"] == 0
    assert set(trainer.validate()["members"]) == {"sphere", "rosenbrock", "generated", "network"}


def test_a_guide_with_networks_alone_is_refused_by_name() -> None:
    assigned = distribution.assign(dataclasses.replace(TWO, functions=(), generated=0.0), 6, 2)
    data, *_ = distribution.sample(assigned, jax.random.split(jax.random.PRNGKey(0), 2))
    with pytest.raises(ValueError, match="minimiser of 'network' is not known"):
        distribution.minimisers(assigned.segments, data)
    mixed = distribution.assign(TWO, 6, 8)
    data, *_ = distribution.sample(mixed, jax.random.split(jax.random.PRNGKey(0), 8))
    at = distribution.minimisers(mixed.segments, data)
    known = distribution.has_minimiser(mixed)
    assert known.tolist() == [True] * 6 + [False] * 2
    np.testing.assert_array_equal(at[~known], jnp.zeros((2, 6)))
