"""`as_optax`: a learned optimizer as an optax gradient transformation over pytrees."""

import os
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from optimus.minimization import proposal
from optimus.weights import LearnedOptimizer

# optax's own words (optax._src.base.NO_PARAMS_MSG, which is private).
_NO_PARAMS = (
    "You are using a transformation that requires the current value of parameters, but you are "
    "not passing `params` when calling `update`."
)


def as_optax(
    model: LearnedOptimizer | str | os.PathLike[str] = proposal.DEFAULT_MODEL,
) -> optax.GradientTransformationExtraArgs:
    """The learned optimizer as an optax transformation.

        transform = optimus.as_optax("optimus-classical")
        state = transform.init(params)
        updates, state = transform.update(gradients, state, params)
        params = optax.apply_updates(params, updates)

    All leaves together are one problem of N variables, in the order of `jax.tree_util`: one
    preconditioner over everything. Updates are steps to be added and need no learning rate.
    It follows optax's contract: pure, for use under jit, vmap, `optax.chain` and `optax.masked`.

    Args:
      model: what `load` returns, or a name or path for it; of any kind.

    Returns:
      init(params): params is a pytree of real floating-point arrays of any float dtype, at most
        20,000 numbers in all unless `OptimizerConfig.linear_cost`. The state is the rule's, such
        as `optimizer.OptimizerState`, float32 whatever the dtype of the parameters; of an empty
        tree, `optax.EmptyState`.
      update(updates, state, params, **extra): `params` is required. Each update has its gradient's
        shape and dtype. Extra arguments such as `value=` are accepted and not used.

    Raises:
      ValueError: from `update` without params, or with trees that differ; from `init` with too
        many variables.
      TypeError: a leaf that is not real floating point.
      WeightsError: no such model.
    """
    learned = proposal.resolve(model)

    def init(params: optax.Params) -> Any:
        flat = _flatten(params)
        proposal.check_size(learned.config, flat.size)
        if not flat.size:
            return optax.EmptyState()
        return proposal.start_of(learned.config, flat.size)(flat)

    def update(
        updates: optax.Updates, state: Any, params: optax.Params | None = None, **extra: Any
    ) -> tuple[optax.Updates, Any]:
        del extra
        if params is None:
            raise ValueError(_NO_PARAMS)
        gradient, x = _flatten(updates), _flatten(params)
        if _shapes(updates) != _shapes(params):
            raise ValueError("updates and params are trees of different structure or shapes")
        if not gradient.size:
            return updates, state
        step, state = proposal.step_of(learned.config, x.size)(learned.params, state, x, gradient)
        return _unflatten(step, updates), state

    return optax.GradientTransformationExtraArgs(init, update)


def _flatten(tree: Any) -> jax.Array:
    """Every leaf of a tree, one after the other: float32 [N]."""
    for leaf in map(jnp.asarray, jax.tree_util.tree_leaves(tree)):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            wanted = "must be real floating point; optax.masked leaves others out"
            raise TypeError(f"a leaf has dtype {leaf.dtype}, {wanted}")
    return ravel_pytree(_float32(tree))[0]


def _float32(tree: Any) -> Any:
    return jax.tree_util.tree_map(lambda leaf: jnp.asarray(leaf).astype(jnp.float32), tree)


def _shapes(tree: Any) -> tuple[Any, list[tuple[int, ...]]]:
    leaves, structure = jax.tree_util.tree_flatten(tree)
    return structure, [jnp.shape(leaf) for leaf in leaves]


def _unflatten(flat: jax.Array, like: Any) -> Any:
    """The inverse, with the shapes and dtypes of `like`."""
    parts = ravel_pytree(_float32(like))[1](flat)
    return jax.tree_util.tree_map(lambda a, b: a.astype(jnp.asarray(b).dtype), parts, like)
