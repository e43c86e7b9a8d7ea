"""Every option of the optimizer keeps the optimizer's promises: one table, options x properties."""

import dataclasses
import functools

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optimus
from optimus.model import features, trajectory_features
from optimus.model.config import CONFIGURATIONS, PAPER, PLUS, OptimizerConfig
from optimus.model.network import Network
from optimus.model.optimizer import feature_names, init_params, init_state, update
from optimus.model.parameters import state_leaves
from optimus.problems import presets
from tests.optimus.model import measures

pytestmark = pytest.mark.slow

SMALL = OptimizerConfig(dim=8, encoders=1, heads=2, b_decay=0.9, inducing_points=3)
EVERYTHING = dict(curvature=True, progress=True, gradient_scale="first", step_scale="relative")
# Two to a row, since compiling is what a row costs.
OPTIONS = {
    "displacement, progress": dict(position="displacement", progress=True),
    "no position, curvature": dict(position="none", curvature=True),
    "first gradient, gated": dict(gradient_scale="first", normalizer_eps=1e-18, rank_one="gated"),
    "relative, learned decay": dict(step_scale="relative", rank_one="signed", b_decay_learned=True),
    "linear": dict(attention="inducing", rank=3, rank_one="asym", **EVERYTHING),
    "nothing shared": dict(rank_one="none", attention="none", time_features="none"),
    "secant": dict(secant=3, **EVERYTHING),
    "plus": {
        name: getattr(PLUS, name)
        for name in (f.name for f in dataclasses.fields(PLUS))
        if name not in ("dim", "encoders", "heads")
    },
}
every_option = pytest.mark.parametrize("name", OPTIONS)


def config_of(name):
    return dataclasses.replace(SMALL, **OPTIONS[name])


@functools.cache
def params_of(config):
    """Weights with nothing at its start of 0, so that every part has a say."""

    @jax.jit  # one program, not one per leaf
    def made():
        keys = iter(jax.random.split(jax.random.PRNGKey(3), 100))
        return jax.tree_util.tree_map(
            lambda leaf: leaf + 0.1 * jax.random.normal(next(keys), leaf.shape),
            init_params(config, jax.random.PRNGKey(0)),
        )

    return made()


def fresh(config, seed):
    return jax.jit(functools.partial(init_params, config))(jax.random.PRNGKey(seed))


@functools.cache
def compiled(config):
    return jax.jit(functools.partial(update, config))


def run(config, x, steps=4, mask=None, centre=0.0, factor=1.0, curvature=None, params=None):
    """Points [steps, N] and the last state on factor sum of curvature (x - centre)^2 / 2."""
    curvature = 1.0 + np.arange(len(x)) % 5 if curvature is None else curvature
    params = params_of(config) if params is None else params
    x = jnp.asarray(x, jnp.float32)
    state, points = init_state(config, x), []
    for _ in range(steps):
        gradient = factor * curvature * (x - centre)
        step, state = compiled(config)(params, state, x, gradient, mask)
        x = x + step
        points.append(x)
    return np.stack(points), state


START = np.random.RandomState(0).uniform(-5, 5, 6)


# --------------------------------------------------------------------------------- configurations


def test_the_two_frozen_configurations():
    """PAPER is the default; 617,103 weights, 39 features, B a plain sum. Its golden numbers are in
    test_optimizer."""
    assert dict(CONFIGURATIONS) == {"paper": PAPER, "plus": PLUS}
    assert (optimus.PAPER, optimus.PLUS) == (PAPER, PLUS)
    assert optimus.CONFIGURATIONS["plus"] is PLUS
    assert (
        OptimizerConfig(
            dim=128, encoders=3, lambda_a=0.1, lambda_b=0.1, rank_one="sym", b_decay=1.0, rank=0
        )
        == PAPER
    )
    assert len(feature_names(PAPER)) == 39 and len(feature_names(PLUS)) == 45
    with pytest.raises(TypeError):
        CONFIGURATIONS["paper"] = PLUS


def test_a_state_holds_only_what_its_options_need():
    paper = init_state(PAPER, jnp.ones(5))
    sizes = {name: leaf.size for name, leaf in state_leaves(paper).items()}
    assert sizes == {
        "iteration": 1,
        "momentum": 15,
        "rms": 5,
        "factored": 15,
        "preconditioner": 25,
        **dict.fromkeys(("start", "last_x", "last_gradient", "reference", "length", "pairs"), 0),
    }
    assert paper.past.pairs.shape == (
        0,
    )  # as a checkpoint, which leaves out what is empty, gives back
    plus = init_state(PLUS, jnp.ones(5))
    np.testing.assert_array_equal(plus.past.start, np.ones(5))
    assert plus.past.last_gradient.shape == (
        5,
    ) and plus.past.reference.shape == plus.past.length.shape == (1,)
    one = init_state(dataclasses.replace(PAPER, position="displacement"), jnp.ones(5))
    assert one.past.start.shape == (5,) and one.past.last_x.size == 0
    secant = init_state(dataclasses.replace(PAPER, secant=3), jnp.ones(5))
    assert secant.past.pairs.shape == (6, 5)
    assert secant.past.last_x.shape == secant.past.last_gradient.shape == (5,)


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(position="y"), "position: got 'y', want one of x, displacement, none"),
        (dict(curvature=1), "curvature: got 1, want true or false"),
        (dict(progress="yes"), "progress: got 'yes', want true or false"),
        (dict(secant=-1), "secant: got -1, want an integer of at least 0"),
        (dict(secant=True), "secant: got True, want an integer of at least 0"),
        (dict(gradient_scale="last"), "gradient_scale: got 'last', want one of raw, first"),
        (dict(normalizer_eps=0.0), r"normalizer_eps: got 0.0, want within \[1e-30, 1\]"),
        (dict(normalizer_eps=float("nan")), "normalizer_eps: got nan"),
        (dict(step_scale="free"), "step_scale: got 'free', want one of fixed, relative"),
        (
            dict(b_decay_learned=True),
            r"b_decay: got 1.0, want inside \(0, 1\) where it is learned",
        ),
        (dict(attention="linear"), "attention: got 'linear', want one of full, inducing"),
        (dict(inducing_points=0), "inducing_points: got 0, want an integer of at least 1"),
        (dict(rank_one="none", rank=2), "rank: got 2, want 0 where rank_one is none"),
        (
            dict(rank_one="none", b_decay=0.9, b_decay_learned=True),
            "b_decay_learned: got True, want False where rank_one is none",
        ),
    ],
)
def test_bad_options_say_what_is_wrong(changes, message):
    with pytest.raises(ValueError, match=message) as raised:
        OptimizerConfig(**changes)
    assert "\n" not in str(raised.value)


@every_option
def test_every_option_makes_a_difference(name):
    """To the points reached, from weights as alike as the shapes allow."""
    config = config_of(name)
    plain, _ = run(SMALL, START)
    found, _ = run(config, START)
    assert np.isfinite(found).all() and np.abs(found - plain).max() > 1e-4


# -------------------------------------------------------------------------------------- symmetries


@every_option
def test_permutations(name):
    config, order = config_of(name), np.asarray([3, 0, 5, 1, 4, 2])
    curvature = np.arange(1.0, 7.0)
    straight, _ = run(config, START, curvature=curvature)
    permuted, _ = run(config, START[order], curvature=curvature[order])
    close = np.allclose(permuted, straight[:, order], atol=1e-4)
    assert close


REAL = np.asarray([True, True, False, True, False, True, True, True, False])


def spread(values, mask=REAL):
    """[6] onto the places of REAL, NaN elsewhere: the one padded size that is compiled."""
    wide = np.full(len(mask), np.nan, np.float32)
    wide[mask] = values
    return wide


@every_option
def test_padding_anywhere_changes_nothing(name):
    config, curvature = config_of(name), np.arange(1.0, 7.0, dtype=np.float32)
    plain, _ = run(config, START, curvature=curvature)
    padded, state = run(config, spread(START), mask=REAL, curvature=spread(curvature))
    np.testing.assert_allclose(padded[:, REAL], plain, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(padded[:, ~REAL], np.full((4, 3), np.nan))
    for field, leaf in state_leaves(state).items():
        assert np.isfinite(leaf).all() or field == "start", field  # x0, as it was given


@pytest.mark.parametrize(
    "changes",
    [
        dict(position="displacement"),
        dict(position="none"),
        dict(position="displacement", rank_one="gated", curvature=True, progress=True),
        dict(position="none", attention="inducing", **EVERYTHING),
    ],
)
def test_without_x_a_shift_of_the_problem_shifts_the_run(changes):
    config = dataclasses.replace(SMALL, **changes)
    near, _ = run(config, START, centre=1.0)
    far, _ = run(config, START + 64.0, centre=65.0)
    np.testing.assert_allclose(far - 64.0, near, rtol=1e-4, atol=1e-3)
    sees_x = dataclasses.replace(config, position="x")
    moved, _ = run(sees_x, START + 64.0, centre=65.0)
    assert np.abs(moved - far).max() > 1e-2


def test_gradients_by_the_first_do_not_show_a_factor_on_f():
    config = dataclasses.replace(SMALL, gradient_scale="first", progress=True)
    plain, _ = run(config, START)
    for factor in (2.0**-60, 2.0**40):  # powers of 2: no rounding
        scaled, state = run(config, START, factor=factor)
        np.testing.assert_allclose(scaled, plain, rtol=1e-5, atol=1e-6)
        assert state.past.reference[0] > 0.0
    raw, _ = run(SMALL, START)
    assert np.abs(run(SMALL, START, factor=2.0**-60)[0] - raw).max() > 1e-2


# ----------------------------------------------------------------------------- what an option does


def test_relative_steps_grow_and_shrink_geometrically():
    """With a network that always says 2 or 1/2: lengths of 0.1 become 0.1 times 1.1^k or 0.95^k."""
    config = dataclasses.replace(SMALL, step_scale="relative")
    params = jax.tree_util.tree_map(jnp.zeros_like, params_of(config))
    for direction, rate in ((2.0, 0.9 + 0.1 * 2.0), (0.5, 0.9 + 0.1 * 0.5)):
        network = dict(params["network"])
        network["optimus"] = {**network["optimus"], "branch_out_b": jnp.asarray([0.0, direction])}
        points, state = run(
            config, np.zeros(3), steps=30, centre=1.0, params={**params, "network": network}
        )
        steps = np.diff(points, axis=0)
        lengths = 0.1 * direction * rate ** np.arange(1, 30)
        np.testing.assert_allclose(steps, np.repeat(lengths[:, None], 3, 1), rtol=1e-3)
        np.testing.assert_allclose(state.past.length, [0.1 * rate**29], rtol=1e-3)


def test_the_length_follows_the_steps_that_were_taken():
    """Not those proposed: the caller may shorten them."""
    config = dataclasses.replace(SMALL, step_scale="relative")
    x = jnp.asarray(START, jnp.float32)
    _, state = compiled(config)(params_of(config), init_state(config, x), x, x)
    _, state = compiled(config)(params_of(config), state, x + 3.0, x)
    np.testing.assert_allclose(state.past.length, [0.9 * 0.1 + 0.1 * 3.0], rtol=1e-5)


def progress_of(config, seen):
    """The scalars of PROGRESS_NAMES among the network's inputs, [3]."""
    inputs = trajectory_features.Inputs(seen, features.init_accumulators(2), lambda vector: vector)
    rows = dict(zip(feature_names(config), trajectory_features.network_inputs(config, inputs)))
    return np.stack([rows[name][0] for name in trajectory_features.PROGRESS_NAMES])


def test_progress_by_hand():
    config = dataclasses.replace(SMALL, progress=True)
    x, g = jnp.asarray([1.0, 2.0]), jnp.asarray([3.0, -4.0])
    past = trajectory_features.init(config, x)
    seen = trajectory_features.observe(config, past, jnp.int32(0), x, g, None)
    np.testing.assert_allclose(progress_of(config, seen), 0.0, atol=1e-6)
    assert seen.past.reference[0] == pytest.approx(np.sqrt(12.5))
    move, new = jnp.asarray([1.0, 0.0]), g / 10.0
    seen = trajectory_features.observe(config, seen.past, jnp.int32(1), x + move, new, None)
    expected = [-np.log(10) / 4, -np.log(10) / 4, 3.0 / 5.0]
    np.testing.assert_allclose(progress_of(config, seen), expected, rtol=1e-5)
    seen = trajectory_features.observe(config, seen.past, jnp.int32(2), x, 0.0 * g, None)
    np.testing.assert_allclose(progress_of(config, seen), [-5.0, -5.0, 0.0], atol=1e-6)


def test_curvature_channels_are_the_last_differences():
    config = dataclasses.replace(SMALL, curvature=True)
    x, g = jnp.asarray([1.0, 2.0]), jnp.asarray([3.0, -4.0])
    past = trajectory_features.init(config, x)
    seen = trajectory_features.observe(config, past, jnp.int32(0), x, g, None)
    np.testing.assert_array_equal([seen.move, seen.change], np.zeros((2, 2)))
    seen = trajectory_features.observe(config, seen.past, jnp.int32(1), x + 0.5, g - 1.0, None)
    np.testing.assert_array_equal([seen.move, seen.change], [[0.5, 0.5], [-1.0, -1.0]])


def test_gated_starts_as_signed_and_then_depends_on_the_state():
    signed = dataclasses.replace(SMALL, rank_one="signed")
    gated = dataclasses.replace(SMALL, rank_one="gated")
    shared, own = (fresh(config, 1) for config in (signed, gated))
    assert measures.parameter_count(own) == measures.parameter_count(shared) + 8
    encoder = own["network"]["optimus/encoder_0"]
    np.testing.assert_array_equal(encoder["gate_w"], 0.0)
    expected, _ = run(signed, START, params=own)
    found, _ = run(gated, START, params=own)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_learned_decay_starts_where_it_is_told():
    fixed = dataclasses.replace(SMALL, b_decay=0.7)
    learned = dataclasses.replace(fixed, b_decay_learned=True)
    params = fresh(learned, 0)
    assert params["decays"]["preconditioner_logit"] == pytest.approx(np.log(0.7 / 0.3))
    expected, expected_state = run(fixed, START, params=params)
    found, state = run(learned, START, params=params)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(state.preconditioner, expected_state.preconditioner, atol=1e-6)


@pytest.mark.parametrize("form", ["gated", "asym"])
def test_factored_is_dense_while_nothing_is_dropped(form):
    """The forms and the learned decay that test_factored has not."""
    dense = dataclasses.replace(
        SMALL, rank_one=form, b_decay_learned=True, encoders=2, curvature=True
    )
    factored = dataclasses.replace(dense, rank=4)
    expected, dense_state = run(dense, START, steps=4)
    found, state = run(factored, START, steps=4, params=params_of(dense))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    got = measures.densify(state.preconditioner, 6)
    np.testing.assert_allclose(got, dense_state.preconditioner, atol=1e-5)


def test_without_terms_b_is_the_identity():
    """As of a form whose gates are shut; and it is kept without a place for a term."""
    config = dataclasses.replace(SMALL, rank_one="none", attention="none")
    params = fresh(config, 0)
    names = {name for module in params["network"].values() for name in module}
    assert not any(name.startswith(("gate", "rank_one", "qkv", "attention")) for name in names)
    shut = fresh(dataclasses.replace(config, rank_one="sym"), 1)
    network = {module: dict(leaves) for module, leaves in shut["network"].items()}
    for module, leaves in params["network"].items():
        network[module] |= leaves
    network["optimus/encoder_0"]["gate"] = jnp.float32(-200.0)  # its softplus is 0
    expected, _ = run(
        dataclasses.replace(config, rank_one="sym"), START, params={**shut, "network": network}
    )
    found, state = run(config, START, params=params)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert state.preconditioner.shape == (0, 7)
    np.testing.assert_array_equal(measures.densify(state.preconditioner, 6), np.eye(6))
    assert config.linear_cost and config.factored and not SMALL.factored


def test_without_attention_and_terms_coordinates_meet_in_the_normaliser_only():
    """What one coordinate's channels say changes nothing for the others, unlike with attention."""
    for attention in ("none", "full"):
        config = dataclasses.replace(SMALL, attention=attention, rank_one="none")
        network = hk.without_apply_rng(hk.transform(lambda z, c=config: Network(c)(z)))
        features = jax.random.normal(jax.random.PRNGKey(0), (39, 6))
        params = network.init(jax.random.PRNGKey(1), features)
        one, other = (
            network.apply(params, features.at[:, 2].add(by)).direction for by in (0.0, 1.0)
        )
        differs = np.asarray(one != other)
        assert differs[2] and differs[[0, 1, 3, 4, 5]].any() == (attention == "full")


def test_without_time_features_the_step_count_is_not_seen():
    for kind in ("none", "shifted"):
        config = dataclasses.replace(SMALL, time_features=kind)
        assert len(feature_names(config)) == (28 if kind == "none" else 39)
        x = jnp.asarray(START, jnp.float32)
        early = init_state(config, x)
        late = early._replace(iteration=jnp.int32(30))
        first, second = (compiled(config)(params_of(config), s, x, x)[0] for s in (early, late))
        assert np.array_equal(first, second) == (kind == "none")


# ---------------------------------------------------------------------------------------- bad input


@every_option
@pytest.mark.parametrize("size", [1, 6])
def test_finite_whatever_the_gradient(name, size):
    """Gradients of 0, tiny, huge, and back to 0; x stands still. N = 1 is the padded program."""
    config, mask = config_of(name), REAL & (np.cumsum(REAL) <= size)
    x = spread(START[:size], mask)
    for scales in ((0.0, 0.0, 1.0), (1e15, 0.0, 1e15), (1e-25, 1e-3, 0.0), (1.0, 1.0, 1.0)):
        state = init_state(config, x)
        for scale in scales:
            gradient = np.float32(scale) * x
            step, state = compiled(config)(params_of(config), state, x, gradient, mask)
            assert np.isfinite(step).all() and (step[mask] != 0).all(), scales


@every_option
def test_one_bad_number_shows_in_every_real_entry(name):
    config, x = config_of(name), spread(START)
    fresh = init_state(config, x)
    _, started = compiled(config)(params_of(config), fresh, x, x, REAL)
    spoilt = x.copy()
    for state in (fresh, started):
        for bad in (np.nan, np.inf, -np.inf):
            spoilt[3] = bad
            for point, gradient in ((spoilt, x), (x, spoilt)):
                step, _ = compiled(config)(params_of(config), state, point, gradient, REAL)
                assert np.isnan(step[REAL]).all(), bad


# ------------------------------------------------------------------------------------- transforms


# "sin" adds no weight, and "plus" has those of the other row left out and more.
@pytest.mark.parametrize("name", [n for n in OPTIONS if n not in ("sin", "first gradient, gated")])
def test_gradients_of_batched_windows_reach_every_weight(name):
    """vmap of grad of scan."""
    config = config_of(name)

    def loss(params, x):
        def one(carry, _):
            x, state = carry
            step, state = update(config, params, state, x, jnp.arange(1.0, 7.0) * x)
            return (x + step, state), jnp.sum(jnp.square(x + step))

        return jnp.sum(jax.lax.scan(one, (x, init_state(config, x)), None, length=4)[1])

    starts = jnp.asarray(np.stack([START, -START[::-1]]), jnp.float32)
    batched = jax.jit(jax.vmap(jax.grad(loss), in_axes=(None, 0)))
    gradients = batched(params_of(config), starts)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0.0, path


# ------------------------------------------------------------------------------------------ cost


def test_cost_is_linear_with_inducing_points_and_factors_only():
    assert not PAPER.linear_cost and not dataclasses.replace(PAPER, rank=4).linear_cost
    linear = config_of("linear")
    assert linear.linear_cost
    temporary = {}
    for size in (20_000, 40_000):
        x = jnp.zeros(size)
        state = init_state(linear, x)
        program = compiled(linear).lower(params_of(linear), state, x, x).compile()
        temporary[size] = program.memory_analysis().temp_size_in_bytes
    assert temporary[40_000] < 2.1 * temporary[20_000] < 200e6


@pytest.mark.parametrize("name", ["plus", "linear"])
def test_a_state_may_be_donated_and_compiles_once(name):
    config, x = config_of(name), jnp.asarray(START, jnp.float32)
    step_of = jax.jit(functools.partial(update, config), donate_argnums=1)
    state = init_state(config, x)
    for _ in range(3):
        _, state = step_of(params_of(config), state, x, x)
    assert step_of._cache_size() == 1
    np.testing.assert_array_equal(x, np.float32(START))


# ------------------------------------------------------------------------------------- precision


@every_option
@pytest.mark.parametrize("masked", [False, True])
def test_state_and_step_stay_float32_where_jax_computes_in_float64(name, masked):
    """Else the state is no carry of a scan: the benchmark's float64 presets run that way."""
    config = config_of(name)
    with presets.arithmetic("float64"):
        x = jnp.asarray(START)
        assert x.dtype == jnp.float64
        mask = jnp.arange(len(START)) < 5 if masked else None
        params = jax.eval_shape(functools.partial(init_params, config), jax.random.PRNGKey(0))
        before = jax.eval_shape(functools.partial(init_state, config), x)
        step, after = jax.eval_shape(functools.partial(update, config), params, before, x, x, mask)
    assert step.dtype == jnp.float32
    for (name_of_leaf, one), other in zip(
        state_leaves(before).items(), state_leaves(after).values()
    ):
        assert (one.shape, one.dtype) == (other.shape, other.dtype), name_of_leaf
