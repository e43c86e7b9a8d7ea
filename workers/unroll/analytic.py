"""Closed-form losses: a whole window, losses included, compiled into one scan."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optimus.config import AnalyticTask, TrainConfig
from optimus.meta import loss as meta_loss
from optimus.tasks import analytic
from workers.unroll import base
from workers.unroll.base import LaneArrays, Waiting, Window, replace_lanes


class AnalyticUnroll:
    """Closed-form losses: nothing leaves the process, a window is one compiled program."""

    def __init__(self, config: TrainConfig, seed: int, signs: int = 2) -> None:
        assert isinstance(config.task, AnalyticTask)
        self._seed = seed
        family, dim = analytic.family(config.task.family), config.task.dim
        layout = base.parameter_layout(config)
        value_and_grad = jax.value_and_grad(family.value, argnums=1)

        @jax.jit
        def begin(keys: jax.Array, fresh: jax.Array, old: LaneArrays | None) -> LaneArrays:
            def one(key: jax.Array) -> tuple[Any, ...]:
                data, start = analytic.make(config.task.family, dim, key)  # type: ignore[union-attr]
                value, gradient = value_and_grad(data, start)
                return data, start, value, gradient

            data, start, value, gradient = jax.vmap(one)(keys)
            x = jnp.repeat(start[:, None], signs, axis=1)
            both = jnp.repeat(gradient[:, None], signs, axis=1)
            new = LaneArrays(x, both, value, base.batched_state(config, x), data)
            return new if old is None else replace_lanes(fresh, new, old)

        propose = jax.vmap(jax.vmap(functools.partial(base.propose, config, layout)))
        evaluate = jax.vmap(jax.vmap(value_and_grad, in_axes=(None, 0)))

        @functools.partial(jax.jit, static_argnames="steps")
        def run(weights: jax.Array, arrays: LaneArrays, steps: int) -> tuple[Any, ...]:
            def step(carry: Any, _: None) -> Any:
                lanes, alive = carry
                x, state = propose(weights, lanes.x, lanes.gradient, lanes.state)
                value, gradient = evaluate(lanes.task, x)
                score = meta_loss.log_gap(value, lanes.initial[:, None], xp=jnp)
                good = jnp.isfinite(value) & jnp.all(jnp.isfinite(gradient), axis=-1)
                still = alive & jnp.all(good, axis=1)
                moved = lanes._replace(x=x, gradient=gradient, state=state)
                return (replace_lanes(still, moved, lanes), still), (score, alive)

            alive = jnp.ones(arrays.x.shape[0], bool)
            (arrays, alive), (scores, mask) = jax.lax.scan(step, (arrays, alive), None, steps)
            return arrays, jnp.moveaxis(scores, 0, -1), mask.T, ~alive

        self._begin = begin
        self._run = run

    def window(
        self, weights: jax.Array, arrays: LaneArrays | None, fresh: Sequence[int | None], steps: int
    ) -> Waiting:
        """As `Unroll.window`; never waits.

        Args:
          weights: float32 `[G, S, P]`. arrays, fresh, steps: see there.
        """
        starts = np.asarray([episode is not None for episode in fresh])
        if starts.any():
            keys = [analytic.task_key(self._seed, episode or 0) for episode in fresh]
            arrays = self._begin(jnp.stack(keys), starts, arrays)
        assert arrays is not None
        arrays, losses, mask, failed = self._run(weights, arrays, steps)
        losses, mask = np.asarray(losses, np.float32), np.asarray(mask)
        evaluations = mask.sum(axis=1) * losses.shape[1] + starts
        zeros = np.zeros(len(fresh))
        return Window(arrays, losses, mask, np.asarray(failed), evaluations, zeros)
        yield  # pragma: no cover - makes this a generator, as the protocol says
