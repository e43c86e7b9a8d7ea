"""Small neural networks as training tasks: the coordinates are the weights of one.

    f = f_scale [mean over 32 examples of loss(net(u), y) + decay mean(w^2)],  w = x_scale (R x - c)

with one hidden layer, tanh or ReLU, on d <= 8 inputs: h (d + 2) + 1 weights, unit after unit, the
output's bias last. Half are regressions (half the square of the error), half classifications into
two classes (logistic). Inputs are normal; targets come from a network of four tanh units, brought
to mean 0 and deviation 1, with noise of 0.1; classes are their signs. Starts are the usual ones,
normal with deviation 1 / sqrt(fan-in). The least value is not known; 0 is a lower bound, and the
decay, log-uniform in 1e-5 ... 1e-2, keeps the weights of separable classes finite.
"""

from typing import Any

import jax
import jax.numpy as jnp

from optimus.tasks.draws import dimension, log_scaled, maybe_rotation, rotate, rotate_back
from optimus.tasks.generated import SHIFT, WIDEST

EXAMPLES, INPUTS, TEACHERS = 32, 8, 4
LEAST = 4  # weights: one hidden unit on one input
NOISE = 0.1

Data = dict[str, jax.Array]


def sample(spec: Any, low: int, high: int, size: int, key: jax.Array) -> tuple[Data, jax.Array]:
    """A task and its start. n is the nearest to one in low..high, at least `LEAST`, that a whole
    number of hidden units has.

    Args:
      spec: shift, rotate (shares of tasks), f_scale (largest factor); x_scale is log-uniform in
        1/3..3 whatever the spec.
      low: smallest n.
      high: largest n.
      size: coordinates including padding.
      key: consumed.

    Returns:
      Task data ("mask" bool `[size]` among it) and x0, float32 `[size]`, 0 in the padding.
    """
    key, rotation_key, normal_key = jax.random.split(key, 3)
    drawn = jax.random.uniform(key, (8 + size,), jnp.float32)
    counts = (EXAMPLES * INPUTS, EXAMPLES, TEACHERS * (INPUTS + 2), size)
    normal = jax.random.normal(normal_key, (sum(counts),), jnp.float32)
    inputs, noise, teacher, weights = jnp.split(normal, [sum(counts[:k]) for k in (1, 2, 3)])

    wanted = dimension(drawn[0], max(low, LEAST), high)
    most = jnp.minimum(INPUTS, wanted - 3)
    width = 1 + jnp.floor(drawn[1] * most).astype(jnp.int32)
    units = jnp.round((wanted - 1) / (width + 2)).astype(jnp.int32)
    units = jnp.clip(units, 1, (size - 1) // (width + 2))
    mask = jnp.arange(size) < units * (width + 2) + 1

    real = jnp.arange(INPUTS) < width
    inputs = jnp.where(real, inputs.reshape(EXAMPLES, INPUTS), 0.0)
    targets = _teach(inputs, width, teacher.reshape(TEACHERS, INPUTS + 2)) + NOISE * noise
    classes = drawn[2] < 0.5
    data = {
        "mask": mask,
        "width": width,
        "units": units,
        "inputs": inputs,
        "targets": jnp.where(classes, jnp.where(targets < 0.0, -1.0, 1.0), targets),
        "classes": classes,
        "smooth": drawn[3] < 0.5,
        "decay": log_scaled(drawn[4], 1e-5, 1e-2),
        "shift": jnp.where(drawn[5] < spec.shift, SHIFT * (2 * drawn[8:] - 1), 0.0),
        "x_scale": log_scaled(drawn[6], 1 / WIDEST, WIDEST),
        "f_scale": log_scaled(drawn[7], 1 / spec.f_scale, spec.f_scale),
        **_rotation(rotation_key, mask, spec.rotate),
    }
    place = jnp.arange(size) % (width + 2)
    into = jnp.where(place <= width, width, units)  # fan-in; biases are drawn like weights
    last = jnp.arange(size) == units * (width + 2)
    w = jnp.where(last, 0.0, weights / jnp.sqrt(into))
    start = jnp.where(mask, w / data["x_scale"] + data["shift"], 0.0)
    return data, jnp.where(mask, rotate_back(data, start), 0.0)


def _rotation(key: jax.Array, mask: jax.Array, share: float) -> Data:
    key, own = jax.random.split(key)
    return maybe_rotation(own, mask, share, jax.random.uniform(key) < share)


def _teach(inputs: jax.Array, width: jax.Array, teacher: jax.Array) -> jax.Array:
    """What the teacher says to each example, `[EXAMPLES]`, of mean 0 and deviation 1."""
    slopes = 2.0 * teacher[:, :INPUTS] / jnp.sqrt(width)
    before = jnp.matmul(inputs, slopes.T, precision="highest") + teacher[:, INPUTS]
    said = jnp.matmul(jnp.tanh(before), teacher[:, INPUTS + 1], precision="highest")
    return (said - jnp.mean(said)) / (jnp.std(said) + 1e-3)


def outputs(data: Data, w: jax.Array) -> jax.Array:
    """The network's output for each example, `[EXAMPLES]`, with weights w `[size]`."""
    size, width, units = w.shape[0], data["width"], data["units"]
    unit, entry = jnp.arange((size - 1) // 3), jnp.arange(INPUTS)
    there = unit < units

    def read(places: jax.Array, real: jax.Array) -> jax.Array:
        return jnp.where(real, w[jnp.minimum(places, size - 1)], 0.0)

    first = unit * (width + 2)
    slopes = read(first[:, None] + entry, there[:, None] & (entry < width))
    before = jnp.matmul(data["inputs"], slopes.T, precision="highest") + read(first + width, there)
    hidden = jnp.where(data["smooth"], jnp.tanh(before), jax.nn.relu(before))
    heads = read(first + width + 1, there)
    return jnp.matmul(hidden, heads, precision="highest") + w[units * (width + 2)]


def value(data: Data, x: jax.Array) -> jax.Array:
    """Loss at x `[size]`, float32 [] >= 0; padding has no influence."""
    mask = data["mask"]
    z = rotate(data, jnp.where(mask, x, 0.0)) - data["shift"]
    w = jnp.where(mask, data["x_scale"] * z, 0.0)
    out, targets = outputs(data, w), data["targets"]
    logistic, square = jax.nn.softplus(-targets * out), 0.5 * jnp.square(out - targets)
    each = jnp.where(data["classes"], logistic, square)
    shrink = data["decay"] * jnp.sum(jnp.square(w)) / jnp.sum(mask)
    return data["f_scale"] * (jnp.mean(each) + shrink)
