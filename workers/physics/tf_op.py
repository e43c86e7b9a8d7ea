"""The TensorFlow door: the op `PhysicsLossAndGrad` over the same C code as the direct door.

The only module here that imports TensorFlow. Build: python -m workers.physics.native.build --op.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import tensorflow as tf

from workers.physics.native import OP_LIBRARY
from workers.physics.native.binding import PhysicsError, Status, library


@functools.cache
def op_library() -> Any:
    """The loaded op module. PhysicsError says how to build it when it is missing or stale."""
    library()  # a missing or stale simulator is told first, and by name
    remedy = "run: python -m workers.physics.native.build --op"
    if not OP_LIBRARY.exists():
        raise PhysicsError(f"the TensorFlow op is not built; {remedy}")
    try:
        return tf.load_op_library(str(OP_LIBRARY))
    except tf.errors.NotFoundError as error:
        raise PhysicsError(
            f"{OP_LIBRARY} does not load ({error.message}); {remedy} --force") from error


def loss_and_grad(x: tf.Tensor, window: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Loss (scalar) and gradient [N], float64, of controls x float64 [N]; one evaluation.

    window: `Window.handle`. Neither output can be differentiated; use `loss` for that. An
    overflowed motion gives +inf and nan; a wrong size raises InvalidArgumentError, a destroyed
    window NotFoundError.
    """
    result = op_library().physics_loss_and_grad(x=x, window=tf.constant(window, tf.int64))
    return result.loss, result.grad


def loss(x: tf.Tensor, window: int) -> tf.Tensor:
    """Loss (scalar float64), differentiable once in x float64 [N].

    The forward pass already yields the gradient; the backward pass only multiplies. A second
    derivative raises LookupError instead of being silently zero.
    """

    @tf.custom_gradient
    def evaluated(x: tf.Tensor) -> tuple[tf.Tensor, Any]:
        value, grad = loss_and_grad(x, window)
        return value, lambda upstream: upstream * grad

    return evaluated(x)


def evaluate(window: int, x: np.ndarray) -> tuple[Status, float, np.ndarray]:
    """What `Window.loss_and_grad` returns, through the op, run eagerly on the CPU."""
    with tf.device("CPU"):
        value, grad = loss_and_grad(tf.constant(x, tf.float64), window)
    number, array = float(value.numpy()), np.array(grad.numpy())
    finite = np.isfinite(number) and bool(np.isfinite(array).all())
    return Status.OK if finite else Status.NONFINITE, number, array
