"""The parts that both ways of unrolling share: lane state, the outcome of a window, one step."""

import functools
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from optimus.config import TrainConfig
from optimus.model import optimizer as opt
from optimus.model.parameters import ParameterLayout, layout_of, state_from_leaves, state_leaves
from optimus.model.registry import rule_of
from optimus.wire import LossReply

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
    """Lane state as named arrays `[G, ...]`, for a checkpoint; without those that are empty."""
    named = {"x": arrays.x, "gradient": arrays.gradient, "initial": arrays.initial}
    state = state_leaves(arrays.state).items()
    named |= {f"state/{name}": leaf for name, leaf in state if np.size(leaf)}
    named |= {f"task/{name}": leaf for name, leaf in arrays.task.items()}
    return {name: np.asarray(leaf) for name, leaf in named.items()}


def arrays_from_names(
    named: Mapping[str, np.ndarray], state_type: Any = opt.OptimizerState
) -> LaneArrays:
    """Inverse of `arrays_to_names` `[G, ...]`; `state_type`: of the rule's state."""
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
      unavailable: lane -> why, where the pool abandoned a request: the lane's remaining steps, this
        one included, are masked for both signs, since nothing is known of its loss.
      gradients: float32 `[G, P]`, derivative of the window's mean meta-loss by the weights, mean
        over the trajectories; 0 for a lane that failed. None unless asked for.
    """

    arrays: LaneArrays
    losses: np.ndarray
    mask: np.ndarray
    failed: np.ndarray
    evaluations: np.ndarray
    seconds: np.ndarray
    unavailable: Mapping[int, str] = field(default_factory=dict)
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


def batched_state(config: TrainConfig, x: jax.Array) -> Any:
    """Fresh optimizer states for x `[G, S, N]`."""
    initialise = functools.partial(rule_of(config.optimizer).init_state, config.optimizer)
    return jax.vmap(jax.vmap(initialise))(x)


def propose(
    config: TrainConfig, layout: ParameterLayout, vector: jax.Array, x: Any, g: Any, state: Any
) -> tuple[jax.Array, Any]:
    """One step of one trajectory: (x `[N]`, state) after it.

    Args:
      config: whose rule steps. layout: of its weights. vector: weights `[P]`.
      x, g: `[N]`, point and gradient there. state: of the rule.
    """
    update = rule_of(config.optimizer).update
    step, state = update(config.optimizer, layout.unflatten(vector), state, x, g)
    return x + step, state


def replace_lanes(fresh: Any, new: Any, old: Any) -> Any:
    """Per lane: `new` where fresh, else `old`; trees with leading axis G."""

    def select(a: Any, b: Any) -> Any:
        return jnp.where(fresh.reshape((-1,) + (1,) * (a.ndim - 1)), a, b)

    return jax.tree_util.tree_map(select, new, old)
