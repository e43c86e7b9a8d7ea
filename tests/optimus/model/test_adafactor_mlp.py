"""Adafactor-MLP against an independent formula, and what it shares with Optimus' contract."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimus import as_optax, minimize
from optimus.model import registry
from optimus.model.adafactor_mlp import AdafactorMlpConfig, init_params, init_state, update
from optimus.model.config import OptimizerConfig
from optimus.weights import LearnedOptimizer
from tests.optimus.model import measures

CONFIG = AdafactorMlpConfig()


@functools.cache
def params(config=CONFIG):
    """Weights and decay offsets as after some training: none is 0."""
    random = np.random.RandomState(3)
    shapes = init_params(config, jax.random.PRNGKey(0))
    return jax.tree_util.tree_map(
        lambda leaf: jnp.asarray(
            leaf + random.normal(0, 0.3 if leaf.size > 3 else 0.02, leaf.shape), jnp.float32
        ),
        shapes,
    )


@functools.cache
def jitted(config=CONFIG):
    return jax.jit(functools.partial(update, config))


def walk(x, steps, mask=None, config=CONFIG):
    """Points of a run on an ill-conditioned quadratic, `[steps + 1, N]`, and the last state."""
    x = jnp.asarray(x, jnp.float32)
    curvature = 1.0 + np.arange(len(x)) % 5
    state, points = init_state(config, x), [x]
    for _ in range(steps):
        step, state = jitted(config)(params(config), state, x, curvature * x, mask)
        x = x + 100 * step
        points.append(x)
    return np.stack(points), state


def by_the_formula(x, gradients):
    """The step after these gradients, float64, written from the published formulas alone."""
    theta = jax.tree_util.tree_map(np.float64, params())
    decays = (0.9, 0.99, 0.999)
    beta = [
        1 - np.exp(10 * (np.log(1 - d) / 10 + o))
        for d, o in zip(decays, theta["decays"]["momentum"])
    ]
    rms_beta = 1 - np.exp(10 * (np.log(1 - 0.999) / 10 + theta["decays"]["rms"]))
    factored_beta = [
        1 - np.exp(10 * (np.log(1 - d) / 10 + o))
        for d, o in zip(decays, theta["decays"]["factored"])
    ]
    m, r, v = np.zeros((3, len(x))), np.zeros(len(x)), np.zeros((3, len(x)))
    for g in gradients:
        m = np.stack([b * each + (1 - b) * g for b, each in zip(beta, m)])
        r = rms_beta * r + (1 - rms_beta) * g**2
        v = np.stack([b * each + (1 - b) * (g**2 + 1e-30) for b, each in zip(factored_beta, v)])
    t = len(gradients) - 1
    data = [g, x, *m, r, *(m / np.sqrt(r + 1e-6)), 1 / np.sqrt(r + 1e-6)]
    data += [*(g / np.sqrt(v + 1e-9)), *v, *v, *(1 / np.sqrt(v + 1e-8)), *(1 / np.sqrt(v + 1e-8))]
    data += [*(m / np.sqrt(v + 1e-6))]
    z = [channel / np.sqrt(1e-5 + np.mean(channel**2)) for channel in data]
    for scale in (1, 3, 10, 30, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5):
        z.append(np.full(len(x), np.tanh(t / scale - 1)))
    hidden = np.stack(z, axis=1)
    assert hidden.shape == (len(x), 39)
    layers = [theta["network"][f"mlp/~/linear_{i}"] for i in range(3)]
    for i, layer in enumerate(layers):
        hidden = hidden @ layer["w"] + layer["b"]
        hidden = np.maximum(hidden, 0) if i < 2 else hidden
    return -hidden[:, 0] * np.exp(hidden[:, 1] * 0.001) * 0.001


def test_there_are_197_meta_parameters():
    fresh = init_params(CONFIG, jax.random.PRNGKey(1))
    assert measures.parameter_count(fresh) == 197
    layers = fresh["network"].values()
    assert sorted(layer["w"].shape for layer in layers) == [(4, 2), (4, 4), (39, 4)]
    assert all(not np.any(layer["b"]) for layer in layers)
    wide = init_params(AdafactorMlpConfig(hidden=400), jax.random.PRNGKey(1))["network"]
    for layer in wide.values():
        # A normal of deviation s cut at 2 s has deviation 0.88 s; Haiku makes up for that or not.
        ratio = np.std(layer["w"]) * np.sqrt(layer["w"].shape[0])
        assert 0.8 < ratio < 1.1 and np.max(np.abs(layer["w"])) < 2.4 / layer["w"].shape[0] ** 0.5


@pytest.mark.parametrize("size", [1, 6])
def test_steps_are_those_of_the_formula(size):
    random = np.random.RandomState(size)
    state, gradients = init_state(CONFIG, np.zeros(size)), []
    for _ in range(4):
        x = random.uniform(-3, 3, size)
        gradients.append(random.normal(0, 5, size))
        step, state = jitted()(params(), state, x, gradients[-1])
        assert step.dtype == jnp.float32
        np.testing.assert_allclose(step, by_the_formula(x, gradients), rtol=2e-4, atol=1e-9)
    assert state.iteration == 4


def test_multipliers_scale_the_step():
    x, g = np.array([1.0, -2.0]), np.array([0.5, 3.0])
    steps = [
        update(config, params(), init_state(config, x), x, g)[0]
        for config in (CONFIG, AdafactorMlpConfig(step_mult=0.1))
    ]
    np.testing.assert_allclose(steps[1], 100 * steps[0], rtol=1e-5)


def test_permutation_equivariance():
    x = np.array([3.0, -1.0, 0.5, 2.0, -4.0])
    order = np.array([4, 2, 0, 1, 3])
    curvature = np.arange(1.0, 6.0)
    state = init_state(CONFIG, x)
    step, _ = jitted()(params(), state, x, curvature * x)
    permuted, _ = jitted()(params(), state, x[order], (curvature * x)[order])
    np.testing.assert_allclose(permuted, step[order], rtol=1e-5, atol=1e-9)


def test_padding_changes_nothing_whatever_it_holds():
    x = np.array([3.0, -1.0, 0.5])
    padded = np.append(x, [np.nan, np.inf, 7.0])
    plain, _ = walk(x, 5)
    masked, state = walk(padded, 5, mask=np.arange(6) < 3)
    np.testing.assert_allclose(masked[:, :3], plain, rtol=1e-5)
    np.testing.assert_array_equal(masked[1:, 5], 7.0)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree_util.tree_leaves(state))


@pytest.mark.parametrize(
    "where, bad",
    [("x", np.nan), ("x", np.inf), ("gradient", np.nan), ("gradient", -np.inf), ("gradient", 1e20)],
)
def test_what_is_not_finite_shows_in_every_entry(where, bad):
    values = {"x": np.array([1.0, 2.0, 3.0]), "gradient": np.array([1.0, 2.0, 3.0])}
    values[where][1] = bad
    step, _ = jitted()(params(), init_state(CONFIG, np.zeros(3)), **values)
    assert np.isnan(step).all()


def test_mistakes_are_one_line():
    state = init_state(CONFIG, np.zeros(3))
    with pytest.raises(ValueError, match=r"gradient has shape \(2,\), must be \[3\]"):
        update(CONFIG, params(), state, np.zeros(3), np.zeros(2))
    with pytest.raises(ValueError, match=r"x has shape \(0,\)"):
        init_state(CONFIG, np.zeros(0))
    for change, words in (
        (dict(hidden=0), "hidden: got 0, want an integer"),
        (dict(layers=True), "layers: got True"),
        (dict(step_mult=float("nan")), "step_mult: got nan, want within"),
        (dict(exp_mult=-1.0), "exp_mult: got -1.0"),
    ):
        with pytest.raises(ValueError, match=words):
            AdafactorMlpConfig(**change)


def test_a_configuration_knows_its_rule():
    assert registry.kind_of(CONFIG) == "adafactor_mlp"
    assert registry.rule_of(CONFIG).update is update
    assert registry.kind_of(OptimizerConfig()) == "optimus"
    assert registry.rule_of(OptimizerConfig()).__name__ == "optimus.model.optimizer"
    with pytest.raises(TypeError, match="int is no configuration of a learned optimizer"):
        registry.rule_of(3)


def test_minimize_and_optax_take_it():
    model = LearnedOptimizer(CONFIG, params(), {})
    x0 = np.array([3.0, -2.0])
    found = minimize(
        lambda x: (x @ x, 2 * x), x0, jac=True, model=model, maxiter=3, safeguard="none"
    )
    state, points = init_state(CONFIG, x0), [x0]
    for _ in range(3):
        step, state = jitted()(params(), state, points[-1], 2 * points[-1])
        points.append(points[-1] + np.float64(step))
    best = min(points, key=lambda x: x @ x)
    assert found.nit == 3
    np.testing.assert_allclose(found.x, best, rtol=1e-9)
    transform = as_optax(model)
    state = transform.init({"a": jnp.array([3.0]), "b": jnp.array([-2.0])})
    updates, state = transform.update(
        {"a": jnp.array([6.0]), "b": jnp.array([-4.0])},
        state,
        {"a": jnp.array([3.0]), "b": jnp.array([-2.0])},
    )
    step, _ = jitted()(params(), init_state(CONFIG, x0), x0, 2 * x0)
    np.testing.assert_allclose([updates["a"][0], updates["b"][0]], step, rtol=1e-6)
    # Optimus keeps N², this does not: no size is too large for it.
    transform.init(jnp.zeros(30_000))
