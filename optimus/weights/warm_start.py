"""The weights that a run starts from: random ones, or trained ones that may grow an input.

Weights trained without the option `secant`, which only adds to the network, can go on with it. New
parameters start at zero, and the share of the L-BFGS direction at 2 sigmoid(-4), 4 % of it.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from optimus import weights
from optimus.config import ConfigError, TrainConfig
from optimus.model.config import OptimizerConfig
from optimus.model.parameters import layout_of
from optimus.model.registry import Config, rule_of
from optimus.weights import Params

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
    """Whether `new` is `old` with `secant` switched on."""
    if not isinstance(old, OptimizerConfig) or not isinstance(new, OptimizerConfig):
        return False
    return old.secant == 0 and dataclasses.replace(old, secant=new.secant) == new


def _grown(params: Params, config: Config) -> Params:
    """`params` in the architecture of `config`; what is new changes next to nothing."""
    blank = jax.eval_shape(lambda key: rule_of(config).init_params(config, key), jax.random.key(0))
    layout, old = layout_of(blank), layout_of(params)
    known = old.to_arrays(old.flatten(params))
    arrays = {}
    for name, blank_leaf in layout.to_arrays(np.zeros(layout.size, np.float32)).items():
        array = np.full(blank_leaf.shape, _CLOSED if name.endswith("secant_share_b") else 0.0)
        # New inputs are the last rows of what reads them: an array begins as it was.
        if name in known:
            array.ravel()[: known[name].size] = known[name].ravel()
        arrays[name] = array
    return jax.tree_util.tree_map(jnp.asarray, layout.unflatten(layout.from_arrays(arrays)))
