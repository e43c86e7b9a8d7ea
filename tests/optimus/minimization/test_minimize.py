"""`optimus.minimize`: its SciPy-like interface, what it finds, and how it meets bad functions."""

import dataclasses
import functools
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

import optimus
from optimus.minimization import objective, safeguard
from optimus.model.optimizer import OptimizerConfig, init_params
from optimus.weights import LearnedOptimizer

ROOT = pathlib.Path(__file__).resolve().parents[3]
# Untrained: what is promised here must hold with any weights.
CONFIG = OptimizerConfig(dim=8, encoders=1, heads=2, b_decay=0.9)


@functools.cache
def untrained(seed=0):
    return LearnedOptimizer(CONFIG, init_params(CONFIG, jax.random.PRNGKey(seed)), {})


def minimize(fun, x0, **options):
    return optimus.minimize(fun, x0, **{"model": untrained(), **options})


def sphere(x):
    return float(np.sum(np.square(x)))


def double(x):
    return 2.0 * np.asarray(x)


def counted(function):
    def wrapper(*args):
        wrapper.calls += 1
        return function(*args)

    wrapper.calls = 0
    return wrapper


# ------------------------------------------------------------------------------------- it minimises

DECADES = np.logspace(0, 4, 12)


def ellipsoid(x):
    return 0.5 * float(DECADES @ np.square(x - 3.0)), DECADES * (x - 3.0)


def ellipse(x):
    return float(np.sum(np.square(x))), 2.0 * x


def far(x):
    return float(np.sum(np.square(x - 1e5))), 2.0 * (x - 1e5)


def large_and_tiny(x):
    scale = np.array([1e-6, 1.0, 1e6])
    z = x / scale
    return float(1e8 * np.sum(np.square(z - 2.0))), 1e8 * 2.0 * (z - 2.0) / scale


PROBLEMS = {
    "rosenbrock": (lambda x: (scipy.optimize.rosen(x), scipy.optimize.rosen_der(x)), [-1.2, 1, 1]),
    "ellipsoid": (ellipsoid, np.zeros(12)),
    "far": (far, np.zeros(3)),
    "large values": (lambda x: (1e12 * sphere(x), 1e12 * double(x)), np.ones(4)),
    "small values": (lambda x: (1e-12 * sphere(x), 1e-12 * double(x)), np.ones(4)),
    "one variable": (lambda x: (float(np.cosh(x[0] - 1)), np.sinh(x - 1)), [5.0]),
}


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("model", ["optimus-noposition", untrained()], ids=["trained", "untrained"])
def test_the_safeguard_converges_whatever_the_weights(name, model):
    fun, start = PROBLEMS[name]
    result = optimus.minimize(fun, start, jac=True, model=model, maxiter=1000)
    first, minimum = fun(np.asarray(start, float))[0], 1.0 if name == "one variable" else 0.0
    assert result.success, result
    assert result.fun - minimum <= 1e-9 * (first - minimum)
    assert 0.0 <= result.accepted_share <= 1.0


def test_bad_scaling_of_the_variables_converges_with_x_scale_and_without():
    for x_scale in (1.0, [1e-6, 1.0, 1e6]):
        result = minimize(large_and_tiny, np.zeros(3), jac=True, x_scale=x_scale, maxiter=1000)
        assert result.fun <= 1e-6 * large_and_tiny(np.zeros(3))[0], x_scale
    np.testing.assert_allclose(result.x, [2e-6, 2.0, 2e6], rtol=1e-3)


SEEN = {
    "x": CONFIG,
    "displacement": dataclasses.replace(CONFIG, position="displacement"),
    "place": dataclasses.replace(CONFIG, position="displacement", place=True),
    "place, pairs": dataclasses.replace(CONFIG, position="displacement", place=True, secant=2),
}


@pytest.mark.parametrize("name", [*SEEN, "optimus-classical"])
def test_the_bare_method_takes_exactly_the_steps_of_the_optimizer(name):
    """Whatever the network is told of x: `place` says where the origin is."""
    if name in SEEN:
        model = LearnedOptimizer(SEEN[name], init_params(SEEN[name], jax.random.PRNGKey(0)), {})
    else:
        model = optimus.load(name)
    x = jnp.asarray([1.0, -2.0, 3.0])
    state, points = optimus.init_state(model.config, x), []
    update = jax.jit(functools.partial(optimus.update, model.config))
    z = np.asarray(x, np.float64)
    for _ in range(5):
        step, state = update(model.params, state, z.astype(np.float32), double(z))
        z = z + np.asarray(step, np.float64)
        points.append(z)
    seen = []
    result = minimize(
        sphere,
        x,
        jac=double,
        safeguard="none",
        maxiter=5,
        callback=seen.append,
        stop_history=None,
        model=model,
    )
    # With pairs, inner products of steps that shrink make more of a rounding.
    np.testing.assert_allclose(seen, points, rtol=1e-6, atol=1e-6 if model.config.secant else 0)
    assert (result.nit, result.nfev, result.njev, result.accepted_share) == (5, 6, 6, 1.0)
    assert result.status == 1 and not result.success and "maxiter = 5" in result.message


def test_a_model_that_does_not_see_x_runs_from_far_off_as_from_near():
    """The true start reaches the optimizer, and float32 does not round what steps add up to."""
    config = dataclasses.replace(
        CONFIG, position="displacement", step_scale="relative", curvature=True
    )
    model = LearnedOptimizer(config, init_params(config, jax.random.PRNGKey(0)), {})
    start, runs = np.array([3.0, -1.0, 0.5]), []
    for shift in (0.0, 2.0**30):

        def fun(x, shift=shift):
            return sphere(x - shift), double(x - shift)

        seen = []
        minimize(
            fun,
            start + shift,
            jac=True,
            model=model,
            safeguard="none",
            maxiter=8,
            callback=seen.append,
            stop_history=None,
        )
        runs.append(np.asarray(seen) - shift)
    np.testing.assert_allclose(runs[1], runs[0], rtol=1e-4, atol=1e-5)
    # By hand, in coordinates of its own.
    x, state = start, optimus.init_state(config, np.zeros(3))
    for point in runs[0]:
        step, state = optimus.update(config, model.params, state, x - start, double(x))
        x = x + np.asarray(step, np.float64)
        np.testing.assert_allclose(point, x, rtol=1e-4, atol=1e-5)


def test_many_variables_with_a_model_of_linear_cost():
    config = dataclasses.replace(CONFIG, attention="inducing", inducing_points=4, rank=2)
    model = LearnedOptimizer(config, init_params(config, jax.random.PRNGKey(0)), {})
    start = np.ones(30_000)
    result = minimize(lambda x: (sphere(x), double(x)), start, jac=True, model=model, maxiter=5)
    assert result.fun < 1e-6 * 30_000 and result.x.shape == (30_000,)


def test_three_forms_of_gradient_agree():
    x0 = np.array([0.5, -1.0])
    results = [
        minimize(lambda x: jnp.sum(x**2 + x**4), x0, maxiter=5),
        minimize(lambda x: np.sum(x**2 + x**4), x0, jac=lambda x: 2 * x + 4 * x**3, maxiter=5),
        minimize(lambda x: (np.sum(x**2 + x**4), 2 * x + 4 * x**3), x0, jac=True, maxiter=5),
        minimize(lambda x, p: jnp.sum(x**2 + x**p), x0, args=(4,), maxiter=5),
        minimize(
            lambda x, p: np.sum(x**2 + x**p),
            x0,
            args=4,
            jac=lambda x, p: 2 * x + p * x**3,
            maxiter=5,
        ),
    ]
    for other in results[1:]:
        np.testing.assert_allclose(other.x, results[0].x, rtol=1e-4, atol=1e-6)
        assert other.nit == 5


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(["none", "lbfgs"]), st.integers(1, 40))
def test_what_every_result_promises(seed, guard, maxfev):
    random = np.random.default_rng(seed)
    root, centre = random.normal(size=(3, 3)), random.normal(size=3)
    seen = []

    def fun(x):
        seen.append((x.copy(), 0.5 * float(np.sum(np.square(root @ (x - centre))))))
        x[:] = np.nan  # a user's in-place work is nobody else's
        return seen[-1][1]

    result = minimize(
        fun,
        centre + random.normal(size=3),
        maxfev=maxfev,
        maxiter=30,
        safeguard=guard,
        jac=lambda x: root.T @ root @ (x - centre),
        model=untrained(seed % 3),
    )
    best = min(seen, key=lambda pair: pair[1])
    assert result.fun == best[1] and result.nfev == len(seen) <= maxfev
    np.testing.assert_array_equal(result.x, best[0])
    np.testing.assert_allclose(result.jac, root.T @ root @ (result.x - centre), atol=1e-12)
    assert result.history.shape == (result.nit + 1,) and np.all(np.diff(result.history) <= 0)
    assert result.history[0] == seen[0][1] and result.history[-1] >= result.fun
    if guard == "none":
        assert result.nfev == result.nit + 1


# ---------------------------------------------------------------------------------------- stopping


def test_stops_at_gtol_and_at_a_stationary_start():
    result = minimize(sphere, [1.0, 2.0], jac=double, gtol=1e-3)
    assert result.success and result.status == 0 and np.max(np.abs(result.jac)) <= 1e-3
    result = minimize(sphere, [0.0, 0.0], jac=double)
    assert (result.success, result.status, result.nit, result.nfev) == (True, 0, 0, 1)
    assert np.isnan(result.accepted_share) and list(result.history) == [0.0]


@pytest.mark.parametrize("shift", [0.0, -1e6, 1e6])
def test_the_stopping_rule_does_not_see_a_shift_of_f(shift):
    def fun(x):
        return float(np.sum(np.abs(np.round(x * 64)))) + shift, np.sign(x)

    options = {"jac": True, "safeguard": "none", "stop_history": 4, "maxiter": 1000}
    result = minimize(fun, [3.0, -2.0], **options)
    assert result.status == 2 and "last 4 values" in result.message
    assert result.nit == minimize(lambda x: fun(x + 0.0), [3.0, -2.0], **options).nit
    plain = minimize(lambda x: (fun(x)[0] - shift, fun(x)[1]), [3.0, -2.0], **options)
    assert result.nit == plain.nit


def test_a_flat_function_stops_without_success():
    for guard in ("none", "lbfgs"):
        result = minimize(lambda x: (1.0, np.ones(2)), [0.0, 0.0], jac=True, safeguard=guard)
        assert result.status == 2 and not result.success and result.nfev < 100


def test_the_end_is_seen_soon_after_it_was_reached():
    """Once f is flat to rounding, line searches need not halve their steps to nothing."""
    seen = []

    def fun(x):
        seen.append(float(np.sum(np.cosh(x - 1.0))) + 1e3)
        return seen[-1], np.sinh(x - 1.0)

    result = minimize(fun, [3.0, -1.0, 0.0], jac=True)
    assert result.status == 2 and result.success
    assert len(seen) - 1 - int(np.argmin(seen)) <= 25  # 40 before there was such a test


def test_a_wrong_gradient_ends_and_is_no_success():
    result = minimize(sphere, [1.0, 2.0], jac=lambda x: -double(x))
    assert result.status == 2 and not result.success and "jac is not its gradient" in result.message


def test_maxiter_0_evaluates_the_start_only():
    result = minimize(sphere, [1.0], jac=double, maxiter=0)
    assert (result.nfev, result.fun, result.status) == (1, 1.0, 1)


def test_callback_in_both_of_scipys_forms():
    points, results = [], []

    def by_name(intermediate_result):
        results.append(intermediate_result)
        if len(results) == 3:
            raise StopIteration

    def quartic(x):  # unlike on a quadratic, three steps never land on the minimum to the bit
        return float(np.sum(x**4)), 4 * x**3

    first = minimize(quartic, [1.0, 2.0], jac=True, callback=points.append, maxiter=3)
    second = minimize(quartic, [1.0, 2.0], jac=True, callback=by_name)
    np.testing.assert_array_equal(points, [r.x for r in results])
    assert results[0].fun == quartic(points[0])[0] and first.nit == second.nit == 3
    assert second.status == 99 and not second.success and "StopIteration" in second.message
    with pytest.raises(KeyError, match="mine"):
        minimize(sphere, [1.0], jac=double, callback=lambda x: {}["mine"])


# -------------------------------------------------------------------------------- bad functions


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["value", "gradient"])
def test_non_finite_at_the_start(bad, where):
    def fun(x):
        return (bad, double(x)) if where == "value" else (sphere(x), bad * np.ones(2))

    for guard in ("none", "lbfgs"):
        result = minimize(fun, [1.0, 2.0], jac=True, safeguard=guard)
        assert (result.status, result.success, result.nit, result.nfev) == (3, False, 0, 1)
        assert "at x0" in result.message
        np.testing.assert_array_equal(result.x, [1.0, 2.0])


@pytest.mark.parametrize("at", [2, 3, 5, 9])
@pytest.mark.parametrize("where", ["value", "gradient", "both"])
def test_non_finite_later_is_a_failed_step_or_an_honest_end(at, where):
    def make():
        @counted
        def fun(x):
            bad = fun.calls == at
            value = np.nan if bad and where != "gradient" else sphere(x)
            return value, np.full(2, np.nan) if bad and where != "value" else double(x)

        return fun

    result = minimize(make(), [1.0, 2.0], jac=True)
    assert result.success and result.fun < 1e-12
    result = minimize(make(), [1.0, 2.0], jac=True, safeguard="none")
    assert result.status == 3 and not result.success and f"after step {at - 1}" in result.message
    assert result.fun <= 5.0 and np.isfinite(result.x).all() and result.nfev == at


def test_a_wall_of_infinity_is_kept_out_of():
    def fun(x):  # a logarithmic barrier
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(np.sum(x - 1e-3 * np.log(x))), 1.0 - 1e-3 / x

    result = minimize(fun, [5.0, 1.0, 0.1], jac=True, maxiter=500)
    np.testing.assert_allclose(result.x, 1e-3, rtol=1e-3)


def test_gradients_beyond_float32():
    """The learned step is NaN there; the safeguard goes on without it."""

    def fun(x):
        return 1e200 * sphere(x), 1e200 * double(x)

    result = minimize(fun, [1.0, 2.0], jac=True)
    assert result.success and result.accepted_share < 1.0 and result.fun < 1e188
    result = minimize(fun, [1.0, 2.0], jac=True, safeguard="none")
    assert result.status == 3 and "learned step is not finite" in result.message


def test_what_fun_and_jac_raise_passes_through():
    class Mine(Exception):
        pass

    @counted
    def fun(x):
        if fun.calls == 4:
            raise Mine("broken pipe")
        return sphere(x)

    with pytest.raises(Mine, match="broken pipe") as error:
        minimize(fun, [1.0, 2.0], jac=double)
    if sys.version_info >= (3, 11):
        assert "raised by fun at evaluation 4" in error.value.__notes__[0]
    with pytest.raises(ZeroDivisionError):
        minimize(sphere, [1.0], jac=lambda x: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # with jac None: the user's mistake, not a tracing error
        minimize(lambda x: 1 / 0, [1.0])


@pytest.mark.parametrize(
    "late, message",
    [
        ((np.ones(2), np.ones(2)), r"fun returned shape \(2,\) at evaluation 3"),
        ((1.0, np.ones(3)), r"gradient has shape \(3,\) at evaluation 3, must be \(2,\)"),
        ((1.0, 1.0), r"gradient has shape \(\) at evaluation 3"),
        ((None, np.ones(2)), "fun is NoneType of dtype object at evaluation 3"),
        ((1.0, np.ones(2) * 1j), "gradient is ndarray of dtype complex128 at evaluation 3"),
        (1.0, r"fun returned float at evaluation 3; with jac=True it must return \(value, grad"),
    ],
)
def test_shapes_and_types_that_change(late, message):
    @counted
    def fun(x):
        return late if fun.calls == 3 else (sphere(x), double(x))

    with pytest.raises((ValueError, TypeError), match=message):
        minimize(fun, [1.0, 2.0], jac=True)


def test_a_value_of_shape_1_is_a_scalar():
    assert minimize(lambda x: x**2, [3.0], jac=double).fun < 1e-12
    assert minimize(lambda x: x**2 + jnp.cos(0.0) - 1, [3.0]).fun < 1e-5


# ------------------------------------------------------------------------------------ JAX or not


def test_a_numpy_function_without_gradient_is_told_what_to_do():
    def fun(x):
        return np.linalg.norm(np.asarray(x))

    with pytest.raises(TypeError, match=r"JAX cannot trace fun \(Tracer.*pass its gradient: jac="):
        minimize(fun, [1.0, 2.0])
    with pytest.raises(TypeError, match="returns a tuple; pass jac=True"):
        minimize(lambda x: (jnp.sum(x), x), [1.0, 2.0])
    with pytest.raises(ValueError, match="must be a real scalar"):
        minimize(lambda x: x, [1.0, 2.0])
    with pytest.raises(ValueError, match="must be a real scalar"):
        minimize(lambda x: jnp.sum(x * 1j), [1.0, 2.0])


def test_a_jax_function_works_in_float32_and_the_point_is_where_it_was_evaluated():
    """float64 x0 without x64."""
    x0 = np.array([0.1, 1 / 3])
    result = minimize(lambda x: jnp.sum((x - 0.7) ** 2), x0, maxiter=0)
    assert result.x.dtype == np.float64
    np.testing.assert_array_equal(result.x, x0.astype(np.float32))
    assert result.fun == np.float32(result.fun)
    result = minimize(lambda x: jnp.sum((x - 0.7) ** 2), x0)
    assert result.success and result.fun < 1e-10


def test_with_x64_a_jax_function_works_in_float64():
    script = (
        "import optimus, jax.numpy as jnp\n"
        "r = optimus.minimize(lambda x: jnp.sum((x - 0.7) ** 4), [0.1, 1 / 3], maxiter=500)\n"
        "assert r.x[1] != 0 and r.fun < 1e-18, r\n"
        "assert optimus.minimize(lambda x: jnp.sum(x), [1 / 3], maxiter=0).x[0] == 1 / 3\n"
    )
    environment = {**os.environ, "JAX_ENABLE_X64": "1"}
    command = [sys.executable, "-W", "error", "-c", script]
    result = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr


def test_compiled_once_per_call_or_once_for_good_if_jitted():
    traces = []

    def fun(x):
        traces.append(0)
        return jnp.sum(x**2)

    def traced(function):
        before = len(traces)
        minimize(function, [1.0, 2.0], maxiter=4)
        return len(traces) - before

    assert traced(fun) == traced(fun) <= 2  # the check and the compilation, however many steps
    jitted = jax.jit(fun)
    assert traced(jitted) <= 2 and traced(jitted) == 0


def test_a_plain_function_may_read_what_has_changed_since():
    centre = [1.0]

    def fun(x):
        return jnp.sum((x - centre[0]) ** 2)

    for centre[0] in (1.0, -2.0):
        np.testing.assert_allclose(minimize(fun, [0.0, 0.5]).x, centre[0], atol=1e-3)


# -------------------------------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    "x0", [3, 3.0, [3], np.array([3]), np.float32(3.0), jnp.asarray([3]), np.array([3], np.int8)]
)
def test_starts_of_any_real_kind(x0):
    result = minimize(sphere, x0, jac=double)
    assert result.x.shape == (1,) and result.x.dtype == np.float64 and result.fun < 1e-12


@pytest.mark.parametrize(
    "x0, options, message",
    [
        ([], {}, "x0: got an empty array"),
        (np.ones((2, 2)), {}, r"x0: got shape \(2, 2\)"),
        ([1j], {}, "dtype complex128"),
        (["a"], {}, "want .N. real numbers"),
        ([np.nan, 1.0], {}, "x0: got values that are not finite"),
        (np.zeros(20_001), {}, r"20001 variables are too many: .*attention='full' and rank=0"),
        ([1.0], {"bounds": [(0, 1)]}, "bounds are not supported"),
        ([1.0], {"jac": "2-point"}, "jac: got '2-point'"),
        ([1.0], {"safeguard": "l-bfgs"}, "safeguard: got 'l-bfgs', want one of lbfgs, none"),
        ([1.0], {"maxiter": -1}, "maxiter: got -1"),
        ([1.0], {"maxiter": None}, "maxiter: got None"),
        ([1.0], {"maxfev": 0}, "maxfev: got 0"),
        ([1.0], {"maxfev": 2.5}, "maxfev: got 2.5"),
        ([1.0], {"stop_history": 0}, "stop_history: got 0"),
        ([1.0], {"gtol": np.nan}, "gtol: got nan"),
        ([1.0, 2.0], {"x_scale": [1.0, 1.0, 1.0]}, r"x_scale: got shape \(3,\)"),
        ([1.0, 2.0], {"x_scale": [1.0, 0.0]}, "x_scale: want values that are positive"),
        ([1.0], {"model": "no-such-model"}, "no weights named 'no-such-model'"),
    ],
)
def test_arguments_that_cannot_be_used(x0, options, message):
    fun = counted(sphere)
    with pytest.raises(ValueError, match=message):
        minimize(fun, x0, **{"jac": double, **options})
    assert fun.calls == 0


def test_a_useless_model_costs_little():
    """Rests between trials double, so that two evaluations in sixteen steps are lost at most."""
    assert [safeguard.rest(n) for n in range(6)] == [0, 1, 3, 7, 15, 15]
    params = jax.tree_util.tree_map(lambda leaf: leaf * 0.0, untrained().params)
    useless = LearnedOptimizer(CONFIG, params, {})  # stands still
    result = minimize(ellipsoid, np.zeros(12), jac=True, model=useless, maxiter=200)
    assert result.accepted_share == 0.0 and result.fun < 1e-4 < result.history[0]
    assert result.nfev < 1.5 * result.nit


def test_real_of_accepts_what_frameworks_return():
    for value in (1, True, np.float16(1), jnp.bfloat16(1), jnp.ones(()), [1.0], "1"):
        if value == "1":
            with pytest.raises(TypeError, match="must be real numbers"):
                objective._real(None, "fun", 1)
        else:
            assert objective._real(value, "fun", 1).dtype == np.float64
