"""The TensorFlow backend: the op `PhysicsLossAndGrad` over the same C code as the direct one.

The only module here that imports TensorFlow. Build: `workers/physics/build.py`.
"""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from workers.physics.build import how_to_build
from workers.physics.native import op_path
from workers.physics.native.binding import PhysicsError, Status, library


@functools.cache
def op_library() -> Any:
    """The loaded op module. PhysicsError says how to build it when it is missing."""
    library()  # the op finds it by its name, wherever it lies; when missing, it is told first
    path = op_path()
    if not path.exists():
        raise PhysicsError(f"the TensorFlow op is not built: {how_to_build()}")
    try:
        return tf.load_op_library(str(path))
    except tf.errors.NotFoundError as error:
        remedy = how_to_build("--force")
        raise PhysicsError(f"{path} does not load ({error.message}): {remedy}") from error


_ONCE = "the physics loss is differentiable once: its gradient has no derivative"


@tf.RegisterGradient("PhysicsLossAndGrad")
def _loss_and_grad_gradient(op: Any, upstream: tf.Tensor, _: tf.Tensor) -> list[Any]:
    """d loss / d x: the forward pass already holds it; this only multiplies."""
    grad = tf.raw_ops.PreventGradient(input=op.outputs[1], message=_ONCE)
    return [tf.expand_dims(upstream, -1) * grad, None]


def loss_and_grad(
    x: tf.Tensor, window: int | Sequence[int], threads: int = 0
) -> tuple[tf.Tensor, tf.Tensor]:
    """Loss and gradient, float64, of controls x; one evaluation yields both.

    x float64 [N] with one window (`Window.handle`): loss scalar, gradient [N]. x [B, N] with B
    windows: loss [B], gradient [B, N], one window to a thread, at most `threads` at once (0: as
    many as the machine has); the same bits as B calls. The loss can be differentiated once (the
    registered gradient multiplies by the one at hand), the gradient output not at all: that raises
    LookupError. A motion that overflows gives +inf and nan in its own row; a wrong size raises
    InvalidArgumentError, a destroyed window NotFoundError.
    """
    handles = tf.constant(window, tf.int64)
    result = op_library().physics_loss_and_grad(x=x, window=handles, threads=threads)
    return result.loss, tf.raw_ops.PreventGradient(input=result.grad, message=_ONCE)


def loss(x: tf.Tensor, window: int | Sequence[int], threads: int = 0) -> tf.Tensor:
    """Loss (scalar, or [B] for x [B, N]), differentiable once in x.

    A second derivative raises LookupError instead of being silently zero.
    """
    return loss_and_grad(x, window, threads)[0]


def evaluate(window: int, x: np.ndarray) -> tuple[Status, float, np.ndarray]:
    """What `Window.loss_and_grad` returns at x `[N]`, through the op, run eagerly on the CPU."""
    with tf.device("CPU"):
        value, grad = loss_and_grad(tf.constant(x, tf.float64), window)
    number, array = float(value.numpy()), np.array(grad.numpy())
    finite = np.isfinite(number) and bool(np.isfinite(array).all())
    return Status.OK if finite else Status.NONFINITE, number, array
