"""The weights that a run starts from: random ones, or trained ones that may grow an input.

Weights trained without an option that only adds to the network (`secant`, `axes`) can go on with
it. What is new says nothing at first: its inputs are read with weights of 0, and the share of the
quasi-Newton step starts at 2 sigmoid(-4), 4 % of it. So a capability learned in an hour is not
learned again for the sake of one more input.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from optimus import weights
from optimus.config import ConfigError, TrainConfig
from optimus.meta.noise import layout_of
from optimus.model.config import OptimizerConfig
from optimus.model.registry import Config, rule_of
from optimus.weights import Params

ADDED = ("secant", "axes")  # options that may be 0 in the weights that a run starts from
_CLOSED = -4.0  # of the share: closed, but with a slope


def initial_params(config: TrainConfig) -> Params:
    """The weights that `config.initial` names, grown if need be, or those of its seed.

    Raises:
      ConfigError: `initial` names none, or such as are of another architecture.
    """
    wanted = config.optimizer
    if not config.initial:
        return rule_of(wanted).init_params(wanted, jax.random.PRNGKey(config.seed))
    try:
        model = weights.load(config.initial)
    except weights.WeightsError as error:
        raise ConfigError(f"initial: {error}") from None
    if model.config == wanted:
        return model.params
    if not _may_grow(model.config, wanted):
        raise ConfigError(f"initial: {config.initial} is of another architecture")
    return _grown(model.params, wanted)


def _may_grow(old: Config, new: Config) -> bool:
    """Whether `new` is `old` with options of `ADDED` switched on."""
    if not isinstance(old, OptimizerConfig) or not isinstance(new, OptimizerConfig):
        return False
    off = {name: getattr(new, name) for name in ADDED if getattr(old, name) == 0}
    return dataclasses.replace(old, **off) == new


def _grown(params: Params, config: Config) -> Params:
    """`params` in the architecture of `config`; what is new changes next to nothing."""
    blank = jax.eval_shape(lambda key: rule_of(config).init_params(config, key), jax.random.key(0))
    layout, old = layout_of(blank), layout_of(params)
    bounds = np.cumsum([np.prod(shape, dtype=np.int64) for shape in old.shapes])[:-1]
    known = dict(zip(old.names, np.split(old.flatten(params), bounds)))
    arrays = []
    for name, shape in zip(layout.names, layout.shapes):
        value = _CLOSED if name.endswith("secant_share_b") else 0.0
        array = np.full(np.prod(shape, dtype=np.int64), value, np.float32)
        # New inputs are the last rows of what reads them: an array begins as it was.
        if name in known:
            array[: known[name].size] = known[name]
        arrays.append(array)
    return jax.tree_util.tree_map(jnp.asarray, layout.unflatten(np.concatenate(arrays)))
