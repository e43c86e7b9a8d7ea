"""The meta-loss: a logarithm that no inner loss can break."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimus.meta.loss import CAP, FLOOR, log_gap, score

BOTH = pytest.mark.parametrize("xp", [np, jnp], ids=["numpy", "jax"])


@BOTH
def test_it_counts_e_folds_from_the_start(xp):
    value = xp.asarray(np.float32([10.0, 10.0 * np.e, 10.0 / np.e, 1.0]))
    got = log_gap(value, np.float32(10.0), xp=xp)
    np.testing.assert_allclose(got, [0.0, 1.0, -1.0, np.log(0.1)], atol=1e-6)


@BOTH
def test_scale_does_not_matter(xp):
    value = xp.asarray(np.float32([1.0, 2.0, 30.0]))
    small = log_gap(value, np.float32(10.0), xp=xp)
    large = log_gap(1e6 * value, np.float32(1e7), xp=xp)
    np.testing.assert_allclose(small, large, atol=1e-5)


@BOTH
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_scores_the_cap(xp, bad):
    got = log_gap(xp.asarray(np.float32([bad, 1.0])), np.float32(2.0), xp=xp)
    assert float(got[0]) == CAP
    assert float(got[1]) == pytest.approx(np.log(0.5), rel=1e-6)


@BOTH
def test_an_explosion_scores_no_worse_than_a_failure(xp):
    assert float(log_gap(xp.asarray(np.float32([3e38])), np.float32(1e-3), xp=xp)[0]) == CAP


@BOTH
def test_the_gap_is_measured_from_the_minimum(xp):
    value = xp.asarray(np.float32([-8.0]))
    got = log_gap(value, np.float32(-6.0), minimum=-10.0, xp=xp)
    assert float(got[0]) == pytest.approx(np.log(2.0 / 4.0), rel=1e-6)


@BOTH
def test_gaps_have_a_floor(xp):
    value = xp.asarray(np.float32([0.0, FLOOR / 10, -1.0]))  # solved, nearly, below the bound
    got = log_gap(value, np.float32(1.0), xp=xp)
    np.testing.assert_allclose(got, np.log(FLOOR), rtol=1e-6)
    assert float(log_gap(value, np.float32(0.0), xp=xp)[0]) == 0.0  # solved from the start


@BOTH
def test_shape_and_dtype_are_those_of_the_value(xp):
    value = xp.asarray(np.ones((3, 2, 5), np.float32))
    initial = xp.asarray(np.float32([1.0, 2.0, 3.0]))[:, None, None]
    got = log_gap(value, initial, xp=xp)
    assert got.shape == (3, 2, 5) and got.dtype == np.float32
    np.testing.assert_allclose(got[2], -np.log(3.0), rtol=1e-6)


anything = st.floats(width=32, allow_nan=True, allow_infinity=True)


@settings(max_examples=100, deadline=None)
@given(
    value=anything,
    initial=st.floats(-(2.0**100), 2.0**100, width=32),
    minimum=st.floats(-(2.0**100), 2.0**100, width=32),
)
def test_it_is_finite_bounded_and_the_same_in_both_libraries(value, initial, minimum):
    args = np.float32([value]), np.float32(initial), np.float32(minimum)
    got = log_gap(*args)
    assert np.isfinite(got).all() and got[0] <= CAP
    np.testing.assert_allclose(log_gap(*map(jnp.asarray, args), xp=jnp), got, atol=1e-4)


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 2.0**20, width=32), st.floats(0, 2.0**20, width=32))
def test_lower_is_never_worse(a, b):
    low, high = log_gap(np.float32(sorted((a, b))), np.float32(1e3))
    assert low <= high


# -------------------------------------------------------------------------------------- the others


@BOTH
def test_the_kinds_of_meta_loss(xp):
    value = xp.asarray(np.float32([100.0, 1.0, 0.0, 1e9]))
    first = np.float32(100.0)
    log_ratio, log_kind = (
        np.asarray(score(kind, value, first, 1e-6, 3.0, xp)) for kind in ("log_ratio", "log_gap")
    )
    np.testing.assert_allclose(
        log_ratio, np.log([1.0, 0.01, 1e-6, np.exp(3.0)]), rtol=1e-3, atol=2e-6
    )
    np.testing.assert_allclose(
        log_kind, np.log([1.0, 0.01, 1e-8, np.exp(3.0)]), rtol=1e-5, atol=1e-6
    )


@BOTH
def test_log_gap_is_the_kind_of_that_name_with_its_own_floor_and_cap(xp):
    value = xp.asarray(np.float32([3.0, 0.0, np.nan, 1e30]))
    got = score("log_gap", value, np.float32(2.0), FLOOR, CAP, xp)
    np.testing.assert_allclose(got, log_gap(value, np.float32(2.0), xp=xp), rtol=1e-6)


@BOTH
@pytest.mark.parametrize("kind", ["log_ratio", "log_gap"])
def test_every_capped_kind_scores_what_is_not_finite_at_the_cap(xp, kind):
    value = xp.asarray(np.float32([np.nan, np.inf]))
    np.testing.assert_array_equal(score(kind, value, np.float32(1.0), 1e-6, 3.0, xp), [3.0, 3.0])


@pytest.mark.parametrize("kind", ["log_ratio", "log_gap"])
def test_no_kind_has_a_derivative_that_is_not_finite(kind):
    values = np.float32([0.0, -1e-7, 1.0, 1e20, np.nan])
    slope = jax.vmap(jax.grad(lambda v: score(kind, v, jnp.float32(2.0), xp=jnp)))(values)
    assert np.isfinite(slope).all()
