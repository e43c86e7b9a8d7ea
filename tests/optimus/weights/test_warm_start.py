"""Weights that a run starts from: as they are, grown by an input, or refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimus import weights
from optimus.config import ConfigError
from optimus.meta.fused.trainer import Trainer
from optimus.model.config import OptimizerConfig
from optimus.model.optimizer import init_params, init_state, update
from optimus.model.parameters import layout_of
from optimus.weights.warm_start import initial_params
from tests.optimus.meta.test_fused import TINY, config

PLAIN = dataclasses.replace(TINY, step_scale="relative")
HESSIAN = jnp.asarray([30.0, 3.0, 1.0, 0.1], jnp.float32)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Where weights of PLAIN lie, far from what any seed of a run draws."""
    path = tmp_path_factory.mktemp("weights") / "plain.safetensors"
    shifted = jax.tree_util.tree_map(
        lambda leaf: leaf + 0.05, init_params(PLAIN, jax.random.key(7))
    )
    return str(weights.save(path, PLAIN, shifted))


def path_of(optimizer: OptimizerConfig, params, steps: int = 6) -> np.ndarray:
    """Points of a few steps on a quadratic, [steps, 4]."""
    x = jnp.ones(4, jnp.float32)
    state, step = (
        init_state(optimizer, x),
        jax.jit(lambda s, y: update(optimizer, params, s, y, HESSIAN * y)),
    )
    points = []
    for _ in range(steps):
        move, state = step(state, x)
        x = x + move
        points.append(np.asarray(x))
    return np.stack(points)


def run(trained, **changes):
    return config(optimizer=dataclasses.replace(PLAIN, **changes), initial=trained)


def test_without_a_name_the_seed_decides():
    chosen = config()
    found = layout_of(params := initial_params(chosen)).flatten(params)
    drawn = init_params(TINY, jax.random.PRNGKey(chosen.seed))
    np.testing.assert_array_equal(found, layout_of(drawn).flatten(drawn))


def test_a_fused_run_starts_from_them(trained):
    chosen = run(trained)
    trainer = Trainer(chosen)
    model = weights.load(trained)
    np.testing.assert_array_equal(trainer.theta, layout_of(model.params).flatten(model.params))


def test_what_is_new_says_next_to_nothing(trained):
    """With the share wholly closed the steps are those of the weights as they were; with the share
    as it starts they are not, but near."""
    old = path_of(PLAIN, weights.load(trained).params)
    chosen = run(trained, secant=3)
    params = initial_params(chosen)
    grown = path_of(chosen.optimizer, params)
    assert 1e-4 < np.abs(grown - old).max() < 0.2 * np.abs(old).max()
    share = params["network"]["optimus"]["secant_share_b"]
    np.testing.assert_array_equal(share, [-4.0])
    params["network"]["optimus"]["secant_share_b"] = jnp.full(1, -1e4)
    grown = path_of(chosen.optimizer, params)
    np.testing.assert_allclose(grown, old, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(
    "change", [{"encoders": 2}, {"rank_one": "none"}, {"secant": 3, "place": True}]
)
def test_another_architecture_is_refused(trained, change):
    with pytest.raises(
        ConfigError, match=r"initial: .*plain.safetensors is of another architecture"
    ):
        initial_params(run(trained, **change))


def test_an_option_is_not_dropped_nor_resized(tmp_path):
    with_pairs = dataclasses.replace(PLAIN, secant=3)
    path = weights.save(tmp_path, with_pairs, init_params(with_pairs, jax.random.key(0)))
    for wanted in (PLAIN, dataclasses.replace(PLAIN, secant=5)):
        with pytest.raises(ConfigError, match="of another architecture"):
            initial_params(config(optimizer=wanted, initial=str(path)))
