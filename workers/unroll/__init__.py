"""Unrolling Optimus over a window on a group of lanes, in two ways with one result.

`AnalyticUnroll` compiles the whole window, losses included, into one scan. `PooledUnroll` compiles
one optimizer step and gets each loss from a pool of workers. In both, a lane carries the value and
gradient at its current x, so a window of W steps costs exactly W evaluations per trajectory: the
loss is scored *after* each update, and a new episode adds one evaluation at its start, shared by
both signs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from optimus import tasks
from optimus.config import AnalyticTask, TrainConfig
from optimus.meta import loss as meta_loss
from optimus.model import optimizer as opt
from optimus.model.parameters import ParameterLayout, layout_of, state_from_leaves, state_leaves
from optimus.model.registry import rule_of
from optimus.wire import LossPool, LossReply, LossRequest, LossUnavailable
from workers.unroll import derivatives as adjoint

_MAP_FROM = 150  # coordinates

Waiting = Generator[Sequence["Future[LossReply]"], None, "Window"]


class LaneArrays(NamedTuple):
    """State of G lanes with S trajectories each (S = 2 when training: the two signs).

    Attributes:
      x: float32 `[G, S, N]`. gradient: float32 `[G, S, N]`, at x.
      initial: float32 `[G]`, loss at the episode's start.
      state: optimizer state with leading axes `[G, S]`.
      task: task data with leading axis `[G]` (analytic), or empty.
    """

    x: Any
    gradient: Any
    initial: Any
    state: Any
    task: dict[str, Any]


def arrays_to_names(arrays: LaneArrays) -> dict[str, np.ndarray]:
    """Lane state as named arrays, for a checkpoint; what the configuration leaves empty is not."""
    named = {"x": arrays.x, "gradient": arrays.gradient, "initial": arrays.initial}
    state = state_leaves(arrays.state).items()
    named |= {f"state/{name}": leaf for name, leaf in state if np.size(leaf)}
    named |= {f"task/{name}": leaf for name, leaf in arrays.task.items()}
    return {name: np.asarray(leaf) for name, leaf in named.items()}


def arrays_from_names(
    named: Mapping[str, np.ndarray], state_type: Any = opt.OptimizerState
) -> LaneArrays:
    """Inverse of `arrays_to_names`; `state_type`: of the rule's state."""
    empty = np.zeros((*named["x"].shape[:2], 0), np.float32)
    leaves = {k[len("state/") :]: v for k, v in named.items() if k.startswith("state/")}
    state = state_from_leaves(state_type, leaves, empty)
    task = {k[len("task/") :]: v for k, v in named.items() if k.startswith("task/")}
    return LaneArrays(named["x"], named["gradient"], named["initial"], state, task)


@dataclass(frozen=True)
class Window:
    """Outcome of one window.

    Attributes:
      arrays: lane state afterwards.
      losses: float32 `[G, S, W]` meta-losses. mask: bool `[G, W]`, False after a failure.
      failed: bool `[G]`. evaluations: int `[G]`. seconds: float64 `[G]`, in the loss.
      given_up: lane -> why, where the pool gave up a request: the lane's remaining steps, this one
        included, are masked for both signs, since nothing is known of its loss.
      gradients: float32 `[G, P]`, derivative of the window's mean meta-loss by the weights, mean
        over the trajectories; 0 for a lane that failed. None unless asked for.
    """

    arrays: LaneArrays
    losses: np.ndarray
    mask: np.ndarray
    failed: np.ndarray
    evaluations: np.ndarray
    seconds: np.ndarray
    given_up: Mapping[int, str] = field(default_factory=dict)
    gradients: np.ndarray | None = None


class Unroll(Protocol):
    """Advances a group of lanes by one window.

    The generator yields the futures it waits for and returns the `Window`: whoever drives it can
    step another group meanwhile.
    """

    def window(
        self, weights: jax.Array, arrays: LaneArrays | None, fresh: Sequence[int | None], steps: int
    ) -> Waiting:
        """One window.

        Args:
          weights: float32 `[G, S, P]`.
          arrays: from the previous window, None at the very first.
          fresh: per lane, the id of the episode that begins here, or None.
          steps: W.
        """


def parameter_layout(config: TrainConfig) -> ParameterLayout:
    """Layout of the flat weight vector of this configuration; traces shapes only."""
    initialise = functools.partial(rule_of(config.optimizer).init_params, config.optimizer)
    return layout_of(jax.eval_shape(initialise, jax.random.PRNGKey(0)))


def state_type(config: TrainConfig) -> Any:
    """The named tuple that the rule keeps for a task."""
    initialise = functools.partial(rule_of(config.optimizer).init_state, config.optimizer)
    return type(jax.eval_shape(initialise, jax.ShapeDtypeStruct((1,), np.float32)))


def _batched_state(config: TrainConfig, x: jax.Array) -> Any:
    """Fresh optimizer states for x `[G, S, N]`."""
    initialise = functools.partial(rule_of(config.optimizer).init_state, config.optimizer)
    return jax.vmap(jax.vmap(initialise))(x)


def _propose(
    config: TrainConfig, layout: ParameterLayout, vector: jax.Array, x: Any, g: Any, state: Any
) -> tuple[jax.Array, Any]:
    update = rule_of(config.optimizer).update
    step, state = update(config.optimizer, layout.unflatten(vector), state, x, g)
    return x + step, state


def _over_lanes(propose: Callable[..., Any], dim: int) -> Callable[..., Any]:
    """`propose` over leading axes `[G, S]`. From about 200 coordinates on, one trajectory after the
    other is 1.4 times faster on a CPU than batched, since its arrays then stay in cache."""
    if dim < _MAP_FROM or jax.default_backend() != "cpu":
        return jax.vmap(jax.vmap(propose))
    return lambda *arguments: jax.lax.map(
        lambda lane: jax.lax.map(lambda one: propose(*one), lane), arguments
    )


def _replace(fresh: Any, new: Any, old: Any) -> Any:
    """Per lane: `new` where fresh, else `old`; trees with leading axis G."""

    def select(a: Any, b: Any) -> Any:
        return jnp.where(fresh.reshape((-1,) + (1,) * (a.ndim - 1)), a, b)

    return jax.tree_util.tree_map(select, new, old)


class AnalyticUnroll:
    """Closed-form losses: nothing leaves the process, a window is one compiled program."""

    def __init__(self, config: TrainConfig, seed: int, signs: int = 2) -> None:
        assert isinstance(config.task, AnalyticTask)
        self._seed = seed
        family, dim = tasks.family(config.task.family), config.task.dim
        layout = parameter_layout(config)
        value_and_grad = jax.value_and_grad(family.value, argnums=1)

        @jax.jit
        def begin(keys: jax.Array, fresh: jax.Array, old: LaneArrays | None) -> LaneArrays:
            def one(key: jax.Array) -> tuple[Any, ...]:
                data, start = tasks.make(config.task.family, dim, key)  # type: ignore[union-attr]
                value, gradient = value_and_grad(data, start)
                return data, start, value, gradient

            data, start, value, gradient = jax.vmap(one)(keys)
            x = jnp.repeat(start[:, None], signs, axis=1)
            both = jnp.repeat(gradient[:, None], signs, axis=1)
            new = LaneArrays(x, both, value, _batched_state(config, x), data)
            return new if old is None else _replace(fresh, new, old)

        propose = jax.vmap(jax.vmap(functools.partial(_propose, config, layout)))
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
                return (_replace(still, moved, lanes), still), (score, alive)

            alive = jnp.ones(arrays.x.shape[0], bool)
            (arrays, alive), (scores, mask) = jax.lax.scan(step, (arrays, alive), None, steps)
            return arrays, jnp.moveaxis(scores, 0, -1), mask.T, ~alive

        self._begin, self._run = begin, run

    def window(
        self, weights: jax.Array, arrays: LaneArrays | None, fresh: Sequence[int | None], steps: int
    ) -> Waiting:
        """See `Unroll.window`; never waits."""
        starts = np.asarray([episode is not None for episode in fresh])
        if starts.any():
            keys = [tasks.task_key(self._seed, episode or 0) for episode in fresh]
            arrays = self._begin(jnp.stack(keys), starts, arrays)
        assert arrays is not None
        arrays, losses, mask, failed = self._run(weights, arrays, steps)
        losses, mask = np.asarray(losses, np.float32), np.asarray(mask)
        evaluations = mask.sum(axis=1) * losses.shape[1] + starts
        zeros = np.zeros(len(fresh))
        return Window(arrays, losses, mask, np.asarray(failed), evaluations, zeros)
        yield  # pragma: no cover - makes this a generator, as the protocol says


class WindowSource(Protocol):
    """Where the served loss of an episode comes from."""

    options_hash: str
    dim: int

    def draw(self, episode: int) -> tuple[dict[str, Any], np.ndarray]:
        """(description for the worker, x0 float32 `[N]`) of an episode."""


def _window_total(
    propose: Callable[..., Any],
    vector: jax.Array,
    x: jax.Array,
    gradient: jax.Array,
    state: Any,
    gradients: jax.Array,
    factors: jax.Array,
) -> jax.Array:
    """A number whose derivative by the weights is that of the window's meta-loss, first order.

    sum over t of factors_t <g_t, x_t>, with the gradients g_t that the losses returned held
    constant, since ds(f(x_t))/dtheta = s'(f) <df/dx_t, dx_t/dtheta> (training fact sheet, section
    6): nothing is asked of the simulator but what it has already said.

    Args:
      vector: weights `[P]`. x, gradient, state: at the window's start. gradients: `[W, N]`, at the
        points after each step. factors: `[W]`, s'(f) there, times the step's share of the mean.
    """

    def step(carry: Any, of_step: Any) -> Any:
        x, gradient, state, total = carry
        after, factor = of_step
        x, state = propose(vector, x, gradient, state)
        return (x, after, state, total + factor * jnp.vdot(after, x)), None

    start = (x, gradient, state, jnp.zeros((), jnp.float32))
    (_, _, _, total), _ = jax.lax.scan(step, start, (gradients, factors))
    return total


class PooledUnroll:
    """Losses from a pool of workers: one compiled optimizer step, W rounds of requests.

    derivatives: each window also differentiates its meta-loss by the weights, `Window.gradients`,
    with the inner gradients held constant, or exactly (`workers.unroll.derivatives`) if the
    estimator's order is 2.
    """

    def __init__(
        self,
        config: TrainConfig,
        source: WindowSource,
        pool: LossPool,
        signs: int = 2,
        derivatives: bool = False,
    ) -> None:
        layout = parameter_layout(config)
        self._source, self._pool, self._signs = source, pool, signs
        self._budget = config.call_timeout
        self._requests = 0  # ids: unique within this pool
        propose = functools.partial(_propose, config, layout)
        self._propose = jax.jit(_over_lanes(propose, source.dim))
        self._differentiate = self._pull = None
        if derivatives and config.estimator.order == 2:
            self._pull = jax.jit(_over_lanes(adjoint.pull_back(propose), source.dim))
        elif derivatives:
            differentiate = jax.grad(functools.partial(_window_total, propose))
            self._differentiate = jax.jit(_over_lanes(differentiate, source.dim))
        self._fresh_state = jax.jit(functools.partial(_batched_state, config))
        self._replace = jax.jit(_replace)

    def _submit(self, window: dict[str, Any], x: np.ndarray) -> Future[LossReply]:
        self._requests += 1
        return self._pool.submit(
            LossRequest(
                self._requests,
                self._budget,
                window,
                self._source.options_hash,
                np.asarray(x, np.float64),
            )
        )

    def window(
        self, weights: jax.Array, arrays: LaneArrays | None, fresh: Sequence[int | None], steps: int
    ) -> Waiting:
        """See `Unroll.window`. `arrays.task["episode"]` remembers each lane's episode id."""
        lanes, signs, dim = len(fresh), self._signs, self._source.dim
        if arrays is None:
            x = np.zeros((lanes, signs, dim), np.float32)
            arrays = LaneArrays(
                x,
                x.copy(),
                np.zeros(lanes, np.float32),
                self._fresh_state(x),
                {"episode": np.zeros(lanes, np.uint64)},
            )
        x, gradient = np.array(arrays.x), np.array(arrays.gradient)
        initial, episode = np.array(arrays.initial), np.array(arrays.task["episode"])
        starts = np.asarray([new is not None for new in fresh])
        for lane, new in enumerate(fresh):
            episode[lane] = episode[lane] if new is None else new
        drawn = [self._source.draw(int(number)) for number in episode]
        evaluations, seconds = np.zeros(lanes, np.int64), np.zeros(lanes)
        alive, given_up = np.ones(lanes, bool), dict[int, str]()

        if starts.any():
            first = [int(lane) for lane in np.flatnonzero(starts)]
            for lane in first:
                x[lane] = drawn[lane][1]
            futures = [self._submit(drawn[lane][0], x[lane, 0]) for lane in first]
            yield futures
            for lane, future in zip(first, futures):
                try:
                    reply = future.result()
                except LossUnavailable as error:
                    given_up[lane] = str(error)
                    alive[lane], initial[lane], gradient[lane] = False, 1.0, 0.0
                    continue
                evaluations[lane] += 1
                seconds[lane] += reply.seconds
                alive[lane] = reply.status == "ok"
                initial[lane] = reply.loss if alive[lane] else 1.0
                gradient[lane] = reply.gradient if alive[lane] else 0.0
            state = self._replace(starts, self._fresh_state(x), arrays.state)
        else:
            state = arrays.state

        losses = np.full((lanes, signs, steps), meta_loss.CAP, np.float32)
        mask = np.zeros((lanes, steps), bool)
        start = (x.copy(), gradient.copy(), state)
        path: list[adjoint.Step] = []  # kept for exact derivatives only
        gradients = np.zeros((lanes, signs, steps, dim), np.float32)
        factors = np.zeros((lanes, signs, steps), np.float32)
        for step in range(steps):
            if self._pull is not None:
                path.append(adjoint.Step(x.copy(), gradient.copy(), state))
            moved, state = self._propose(weights, x, gradient, state)
            moved = np.asarray(moved)
            live = [(int(lane), sign) for lane in np.flatnonzero(alive) for sign in range(signs)]
            futures = [
                self._submit(drawn[lane][0], moved[lane, sign])
                for lane, sign in live
                if np.isfinite(moved[lane, sign]).all()
            ]
            yield futures
            replies = iter(futures)
            mask[alive, step] = True
            for lane, sign in live:
                if not np.isfinite(moved[lane, sign]).all():
                    alive[lane] = False  # the step itself diverged: scored at the cap
                    continue
                try:
                    reply = next(replies).result()
                except LossUnavailable as error:
                    given_up[lane] = str(error)
                    alive[lane] = mask[lane, step] = False
                    continue
                evaluations[lane] += 1
                seconds[lane] += reply.seconds
                if reply.status != "ok":
                    alive[lane] = False
                    continue
                losses[lane, sign, step] = meta_loss.log_gap(reply.loss, float(initial[lane]))
                x[lane, sign], gradient[lane, sign] = moved[lane, sign], reply.gradient
                gradients[lane, sign, step] = gradient[lane, sign]
                factors[lane, sign, step] = (
                    meta_loss.log_gap_slope(reply.loss, float(initial[lane])) / steps
                )
                alive[lane] &= bool(np.isfinite(gradient[lane, sign]).all())  # float32 overflow
        arrays = LaneArrays(x, gradient, initial, state, {"episode": episode})
        each = derivative = None
        known = alive.copy()
        if self._differentiate is not None:
            each = self._differentiate(weights, *start, gradients, factors)
        elif self._pull is not None:
            each = yield from adjoint.backwards(
                self._pull,
                lambda lane, at: self._submit(drawn[lane][0], at),
                weights,
                path,
                gradient,
                factors,
                known,
                evaluations,
                seconds,
            )
        if each is not None:
            mean = np.asarray(each).mean(axis=1)
            usable = known & np.isfinite(mean).all(axis=1)
            derivative = np.where(usable[:, None], mean, 0.0).astype(np.float32)
        return Window(arrays, losses, mask, ~alive, evaluations, seconds, given_up, derivative)
