"""The tail: tasks of one function scored by the logarithm of their mean gap.

The mean of logarithms forgives a few starts that end badly; a table, which averages over starts,
does not. At each step a group of n tasks then scores n log(mean of r) in place of the sum of
log r, where log r is the score that `meta_loss` gives. The derivative of that is sum of w log r'
with w = n r / sum of r, constant: so every task keeps an estimate of its own, multiplied with its
weight, and what is clipped per task or left out because it failed stays as it is. Evolution
strategies use the same weights, with r the mean of both signs: a weight is then the same whichever
sign is taken, and sum of w (log r+ - log r-) is the change of n log(mean of r) to first order,
without the noise of the other tasks that a difference shared by the group would carry.

A group is the tasks of a slot that are equally far into their episodes, as in a table; else those
that have only begun would outweigh all others. So episodes of a slot begin and end together here.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from optimus.tasks.distribution import Deal


def weights(
    scores: jax.Array, good: jax.Array, age: jax.Array, dealt: Deal, share: float
) -> jax.Array:
    """What each step's score counts in its task's estimate, float32 `[L, 1, W]`; mean 1 in a group.

    Args:
      scores: logarithms `[L, S, W]`. good: bool `[L]`, false for lanes that count in no mean.
      age: windows done, int32 `[L]`. share: 1: log of the mean; between: a mix with mean of logs.
    """
    of = slot_numbers(dealt)
    group = (of[:, None] == of[None]) & (age[:, None] == age[None]) & good[None]
    # Relative to the largest: only what is 80 e-folds below it is lost, and keeps the weight 1.
    largest = jnp.max(jnp.where(good[:, None, None], scores, -jnp.inf), axis=(0, 1))
    ratios = jnp.mean(jnp.exp(jnp.minimum(scores - largest, 0.0)), axis=1)
    ratios = jnp.where(good[:, None] & jnp.isfinite(ratios), ratios, 0.0)
    totals = jnp.matmul(group.astype(jnp.float32), ratios, precision="highest")
    counts = jnp.sum(group, axis=1, keepdims=True)
    known = good[:, None] & (totals > 0.0)
    found = jnp.where(known, counts * ratios / jnp.where(known, totals, 1.0), 1.0)
    mixed = (1.0 - share) + share * found
    return jax.lax.stop_gradient(mixed[:, None])


def slot_numbers(dealt: Deal) -> np.ndarray:
    """The index of each lane's slot, `[L]`."""
    return np.repeat(np.arange(len(dealt.slots)), [slot.stop - slot.start for slot in dealt.slots])


def first_of_slot(dealt: Deal) -> np.ndarray:
    """The first lane of each lane's slot, `[L]`."""
    return np.asarray([slot.start for slot in dealt.slots])[slot_numbers(dealt)]


def end_together(dealt: Deal, over: jax.Array, new: jax.Array, left: jax.Array) -> jax.Array:
    """Inner steps to go, int32 `[L]`, so that a slot's episodes end together.

    Args:
      over: bool `[L]`, lanes that begin an episode. new: its length if all of the slot do, `[L]`;
        left: to go before, `[L]`: both the same within a slot, but for `left` where `over`.
    """
    parts = []
    for slot in dealt.slots:
        at = slice(slot.start, slot.stop)
        others = jnp.max(jnp.where(over[at], 0, left[at]))
        parts.append(jnp.where(over[at], jnp.where(others > 0, others, new[at]), left[at]))
    return jnp.concatenate(parts)
