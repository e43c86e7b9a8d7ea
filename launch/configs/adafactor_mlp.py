"""Adafactor-MLP, the learned baseline, on the terms of each of Optimus's configurations:

    optimus train adafactor-mlp-classical --launch fused          # half an hour of two cores
    optimus train adafactor-mlp-classical-first --launch fused
    optimus train adafactor-mlp-heldout-quadratic --launch fused  # also -power, -valley, ...
    optimus train adafactor-mlp-physics --launch local_mp         # 830 updates

Same tasks, phases, rates, lanes, estimator and meta-loss; hidden width 64 and step multiplier 1,
the best of 4, 32, 64 x 0.01, 0.1, 1 on validation, one seed, 700 updates each.

-classical: Adafactor-MLP on the terms of `classical`. Its steps are far cheaper than Optimus's, so
it gets four times the updates.

-physics: Adafactor-MLP in the first two phases of `physics-flagship`, from
`adafactor-mlp-classical-first`; what ships is the checkpoint after 730 updates. Exact derivatives
did not help it.
"""

import dataclasses

from launch.configs import classical, physics_flagship
from optimus.config import TrainConfig
from optimus.model.config import AdafactorMlpConfig

_OF = "adafactor-mlp-"
_CLASSICAL = tuple(name for name in classical.NAMES if name.startswith(("classical", "heldout")))
_TERMS = (*(name for name in _CLASSICAL if name != "classical-noposition"), "physics")
NAMES = tuple(f"{_OF}{name}" for name in _TERMS)
_TIMES = 4  # as many updates as Optimus


def get_config(name: str) -> TrainConfig:
    """One of `NAMES`."""
    terms = name.removeprefix(_OF)
    if terms == "physics":
        config = physics_flagship.get_config("physics-flagship")
        phases, initial = physics_flagship.first_order(480, None), "adafactor-mlp-classical-first"
        config = dataclasses.replace(config, updates=830, phases=phases, initial=initial)
    else:
        config = classical.get_config(terms)
    optimizer = AdafactorMlpConfig(hidden=64, step_mult=1.0)
    config = dataclasses.replace(config, name=name, optimizer=optimizer)
    return _longer(config) if terms == "classical" else config


def _longer(config: TrainConfig) -> TrainConfig:
    phases = []
    for phase in config.phases:
        meta = dataclasses.replace(phase.meta, cosine=_TIMES * phase.meta.cosine)
        updates = phase.updates and _TIMES * phase.updates
        phases.append(dataclasses.replace(phase, updates=updates, meta=meta))
    whole, every = _TIMES * config.updates, 2 * config.checkpoint_every
    longer = dataclasses.replace(config, updates=whole, checkpoint_every=every)
    return dataclasses.replace(longer, phases=tuple(phases))
