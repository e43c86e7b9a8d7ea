"""Both backends: the same bits in fresh processes; the direct one needs no TensorFlow."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

needs_tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="tensorflow is not installed"
)

EVALUATE = """
import sys
import numpy as np
from workers.physics import PhysicsLoss, PhysicsOptions
for control in ("pd", "torque"):
    loss = PhysicsLoss("walk", 0.1, 0.25, PhysicsOptions(control=control), backend="{backend}")
    x = 0.1 * np.random.default_rng(0).standard_normal(loss.dim)
    value, grad = loss.value_and_grad(x)
    print(value.hex(), grad.tobytes().hex())
print("tensorflow" in sys.modules)
"""

TENSORFLOW = """
import numpy as np
import tensorflow as tf
from workers.physics.simulation import tf_op
from workers.physics import PhysicsLoss
loss = PhysicsLoss("walk", 0.1, 0.25)
x = 0.1 * np.random.default_rng(0).standard_normal(loss.dim)
value, grad = loss.value_and_grad(x)
window = loss.window.handle

variable = tf.Variable(x)
with tf.GradientTape() as tape:
    y = 2.0 * tf_op.loss(variable, window)
assert y.numpy() == 2 * value
assert (tape.gradient(y, variable).numpy() == 2 * grad).all()

graph = tf.function(lambda x: tf_op.loss_and_grad(x, window))
a, b = graph(tf.constant(x))
assert a.numpy() == value and (b.numpy() == grad).all()
assert b.shape == (210,)


def error_of(*arguments):
    try:
        tf_op.loss(*arguments)
    except Exception as error:
        return type(error).__name__ + ": " + str(error)


print(error_of(tf.zeros(5, tf.float64), window))
print(error_of(tf.zeros((1, 210), tf.float64), window))
print(error_of(variable, 12345))
try:
    with tf.GradientTape() as outer:
        with tf.GradientTape() as tape:
            y = tf_op.loss(variable, window)
        first = tape.gradient(y, variable)
    outer.gradient(first, variable)
except LookupError:
    print("no second derivative")
value, grad = tf_op.loss_and_grad(tf.fill([210], tf.constant(1e200, tf.float64)), window)
print(value.numpy(), np.isnan(grad.numpy()).all())

others = [PhysicsLoss(clip, 0.1, 0.25) for clip in ("walk", "roll", "kick")]
windows = [each.window.handle for each in others]
xs = 0.1 * np.random.default_rng(1).standard_normal((3, 210))
xs[1] = 1e200
batch = tf.Variable(xs)
for threads in (0, 1, 2):
    with tf.GradientTape() as tape:
        values = tf_op.loss(batch, windows, threads)
    slope = tape.gradient(values, batch, output_gradients=tf.constant([1.0, 1.0, 2.0], tf.float64))
    for i, (each, factor) in enumerate(zip(others, (1, 1, 2))):
        value, grad = each.value_and_grad(xs[i])
        assert values.numpy()[i] == value
        np.testing.assert_array_equal(slope.numpy()[i], factor * grad)
graph = tf.function(lambda x: tf_op.loss_and_grad(x, windows),
                    input_signature=[tf.TensorSpec([None, 210], tf.float64)])
a, b = graph(batch)
assert (a.numpy() == values.numpy()).all() and b.shape == (3, 210)
print(error_of(batch, windows[:2]))
print(error_of(batch, [*windows[:2], 12345]))
"""


def run(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def op(assets, library):
    from workers.physics.build import BuildError, build_op

    try:
        return build_op()
    except BuildError as error:
        pytest.skip(str(error))


def test_direct_backend_does_not_import_tensorflow(assets):
    assert run(EVALUATE.format(backend="direct"))[-1] == "False"


@needs_tensorflow
def test_backends_are_bit_equal_in_fresh_processes(op):
    direct, through_op = (
        run(EVALUATE.format(backend=backend)) for backend in ("direct", "tensorflow")
    )
    assert direct[:2] == through_op[:2]
    assert through_op[2] == "True"


@needs_tensorflow
def test_op_gradients_graphs_and_errors(op):
    lines = run(TENSORFLOW)
    assert lines[0].startswith("InvalidArgumentError: x has 5 entries, the window has 210 var")
    assert lines[1].startswith(
        "InvalidArgumentError: x of shape [1,210] needs one window for each row, got shape []"
    )
    assert lines[2].startswith("NotFoundError: no window has handle 12345")
    assert lines[3:5] == ["no second derivative", "inf True"]
    assert lines[5].startswith("InvalidArgumentError: x of shape [3,210] needs one window for each")
    assert lines[6].startswith("NotFoundError: no window has handle 12345")
