"""Train a small network with the learned optimizer in an optax loop: no learning rate to choose.

python examples/train_network_optax.py
"""

import jax
import jax.numpy as jnp
import optax

import optimus

# Two interleaved half circles.
angle = jnp.linspace(0.0, jnp.pi, 100)
upper = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
points = jnp.concatenate([upper, jnp.array([1.0, 0.4]) - upper])
labels = jnp.repeat(jnp.array([0.0, 1.0]), 100)

params = {"w1": jax.random.normal(jax.random.key(0), (2, 8)), "b1": jnp.zeros(8)}
params |= {"w2": jax.random.normal(jax.random.key(1), (8,)) / 3.0, "b2": jnp.zeros(())}


def loss(params):
    logits = jnp.tanh(points @ params["w1"] + params["b1"]) @ params["w2"] + params["b2"]
    right = jnp.mean((logits > 0.0) == (labels > 0.5))
    return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, labels)), right


@jax.jit
def step(params, state):
    (value, right), gradient = jax.value_and_grad(loss, has_aux=True)(params)
    updates, state = transform.update(gradient, state, params)
    return optax.apply_updates(params, updates), state, value, right


transform = optimus.as_optax("optimus-noposition")
state = transform.init(params)
for k in range(41):
    params, state, value, right = step(params, state)
    if k % 10 == 0:
        print(f"step {k:3d}  loss {value:.4f}  right {right:.0%}")
