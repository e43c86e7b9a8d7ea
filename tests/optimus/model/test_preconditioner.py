"""Rank-one updates of B."""

import jax.numpy as jnp
import numpy as np
import pytest

from optimus.model import preconditioner as lib

LEFT = jnp.asarray([[1.0, 2.0], [0.0, 3.0]])
RIGHT = jnp.asarray([[1.0, 0.0], [5.0, 1.0]])
WEIGHTS = jnp.asarray([0.5, 2.0])


def test_starts_at_the_identity():
    np.testing.assert_array_equal(lib.init_preconditioner(3), np.eye(3))


def test_update_by_hand():
    got = lib.update_preconditioner(2.0 * jnp.eye(2), WEIGHTS, LEFT)
    np.testing.assert_allclose(got, [[2.5, 1.0], [1.0, 2.0 + 2.0 + 18.0]])
    got = lib.update_preconditioner(jnp.eye(2), WEIGHTS, LEFT, RIGHT)
    np.testing.assert_allclose(got, [[1.5, 0.0], [1.0 + 30.0, 1.0 + 6.0]])


@pytest.mark.parametrize("decay", [0.0, 0.9, 1.0])
def test_decay_pulls_towards_the_identity(decay):
    start = jnp.asarray([[3.0, 1.0], [1.0, 2.0]])
    got = lib.update_preconditioner(start, jnp.zeros(1), jnp.ones((1, 2)), decay=decay)
    np.testing.assert_allclose(got, np.eye(2) + decay * (np.asarray(start) - np.eye(2)), rtol=1e-6)


def test_gate_weights_keep_their_range():
    raw = jnp.asarray([-200.0, 0.0, 200.0])
    np.testing.assert_allclose(lib.gate_weight(raw, "sym"), [0.0, np.log(2.0), 200.0], rtol=1e-6)
    for form in ("signed", "gated"):
        np.testing.assert_allclose(lib.gate_weight(raw, form), [-1.0, 0.0, 1.0], rtol=1e-6)


def test_a_decay_may_be_traced():
    start = jnp.asarray([[3.0, 1.0], [1.0, 2.0]])
    for decay in (0.9, 1.0):
        expected = lib.update_preconditioner(start, WEIGHTS, LEFT, decay=decay)
        found = lib.update_preconditioner(start, WEIGHTS, LEFT, decay=jnp.float32(decay))
        np.testing.assert_allclose(found, expected, rtol=1e-6)
