"""A fused run's state: weights, Adam, lanes, counts; its updates, and its way to disk and back."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optimus.config import AnalyticTask, ClassicalTask, ConfigError, TrainConfig
from optimus.meta import update as meta_update
from optimus.meta.fused import program as programs
from optimus.meta.fused.group import Program, Supervision, compiled_for
from optimus.meta.fused.unroll import Rule
from optimus.meta.fused.validation import validate
from optimus.model.parameters import layout_of
from optimus.rundir.checkpoint import CheckpointError
from optimus.tasks import distribution
from optimus.tasks.draws import domain_key
from optimus.weights.warm_start import initial_params


class Trainer:
    """Everything of a run but files and clocks.

    Every draw follows from (seed, update, lane), so that a run resumed from `arrays` is the run
    that never stopped, bit for bit, on the same devices.

    Attributes:
      phase: index of the phase of the last update.

    Args:
      config: with a task in JAX; raises `ConfigError` else.
      devices: most devices to spread groups over; default all that JAX sees.
    """

    def __init__(self, config: TrainConfig, devices: int | None = None) -> None:
        if not isinstance(config.task, (AnalyticTask, ClassicalTask)):
            raise ConfigError(f"task.kind: {config.task.kind!r} is no loss in JAX")
        self.config = config
        self._whole_task = config.task
        params = initial_params(config)
        self.rule = Rule(config.optimizer, layout_of(params))
        self._devices = jax.device_count() if devices is None else devices
        self.step, self.inner_steps, self.phase = 0, 0, 0
        self._meta = meta_update.init(config.phases[0].meta, self.rule.layout.flatten(params))
        self._average = self._meta.theta  # where `weight_average` is set, the weights that count
        self._lanes: dict[int, Any]
        self._counts = programs.no_counts()
        self._enter(0)

    # -- training --------------------------------------------------------------------------------

    def _enter(self, phase: int) -> None:
        """Fresh lanes for a phase."""
        self.phase, self._lanes = phase, {}
        key = jax.random.fold_in(domain_key(self.config.seed, "lanes"), phase)
        for size in sorted(set(distribution.sizes(self._task))):
            found = programs.first_lanes(self._compiled_for(size)[0], jax.random.fold_in(key, size))
            self._lanes[size] = self._spread(found, "groups")
        self._settle()

    @property
    def _task(self) -> AnalyticTask | ClassicalTask:
        """The tasks of this phase."""
        return self.config.phases[self.phase].task or self._whole_task

    def _compiled_for(self, size: int) -> tuple[Program, Supervision]:
        phase = self.config.phases[self.phase]
        assigned = distribution.assign(self._task, size, phase.layout.lanes)
        score, devices = self.config.meta_loss, self.devices_used
        return compiled_for(self.rule, phase, score, assigned, devices)

    @property
    def devices_used(self) -> int:
        """The most devices that the phase's groups can be spread over evenly."""
        layout = self.config.phases[self.phase].layout
        groups = layout.actors * layout.groups
        return max(d for d in range(1, self._devices + 1) if groups % d == 0)

    def _spread(self, tree: Any, *axes: str) -> Any:
        """On the devices, where there are several: split along "groups", or wholly on each."""
        devices = self.devices_used
        if devices == 1:
            return tree
        return jax.device_put(tree, programs.shardings(tree, devices, *axes))

    def _settle(self) -> None:
        """Weights and counts where an update leaves them: else the second would compile again."""
        state = (self._meta, self._counts, self._average)
        self._meta, self._counts, self._average = self._spread(state)

    def update(self) -> dict[str, jax.Array]:
        """One update; returns its "meta_loss" and "norm", float32 [] on the device."""
        index = self.config.phase_index(self.step)
        phase = self.config.phases[index]
        if index != self.phase:
            self._meta = meta_update.init(phase.meta, self._meta.theta)
            self._enter(index)
        sizes = distribution.sizes(self._task)
        size = sizes[(self.step - self.config.starts[index]) % len(sizes)]
        key = jax.random.fold_in(domain_key(self.config.seed, "train"), self.step)
        program, supervision = self._compiled_for(size)
        now = (self._meta, self._lanes[size], self._counts)
        after = programs.meta_step(program, supervision, phase.meta, *now, key)
        self._meta, self._lanes[size], self._counts, found = after
        self.inner_steps += phase.inner_steps
        self.step += 1
        decay = self.config.weight_average
        if decay:
            self._average = meta_update.averaged(self._average, self._meta.theta, self.step, decay)
        return found

    @property
    def theta(self) -> np.ndarray:
        """Weights, float32 `[P]`: what is validated and kept. Their average, if there is one."""
        return np.asarray(self._average if self.config.weight_average else self._meta.theta)

    @property
    def counts(self) -> dict[str, int]:
        """`program.Counts` as numbers."""
        return {name: int(value) for name, value in self._counts._asdict().items()}

    def validate(self) -> dict[str, Any]:
        """See `validation.validate`."""
        theta = jnp.asarray(self.theta)
        return validate(self.rule, self._whole_task, self.config.evaluation, theta)

    # -- on disk ---------------------------------------------------------------------------------

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything that the next updates depend on, by name: "theta/..." as all runners do,
        Adam's moments float32 `[P]`, and the lanes' leaves with leading axes `[G, L]`."""
        kept = self._meta._replace(theta=self.theta)
        named = {
            **meta_update.to_arrays(kept, self.rule.layout),
            "fused/progress": np.asarray([self.step, self.inner_steps, self.phase], np.int64),
            "fused/counts": np.asarray([int(each) for each in self._counts], np.int32),
        }
        if self.config.weight_average:  # then "theta" is the average, and training goes on here
            named["adam/theta"] = self._meta.theta
        for size, lanes in self._lanes.items():
            for k, leaf in enumerate(jax.tree_util.tree_leaves(lanes)):
                named[f"lanes/{size}/{k}"] = leaf
        return {name: np.asarray(leaf) for name, leaf in named.items()}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Inverse of `arrays`, theta `[P]` and all; raises `CheckpointError` at other shapes."""
        try:
            self.step, self.inner_steps, phase = (int(n) for n in arrays["fused/progress"])
            self._counts = programs.Counts(*(jnp.asarray(n) for n in arrays["fused/counts"]))
            saved = meta_update.from_arrays(arrays, self.rule.layout)
            self._meta = meta_update.MetaState(*(jnp.asarray(leaf) for leaf in saved))
            self._average = self._meta.theta
            if self.config.weight_average:
                _same(arrays["adam/theta"], self._average.shape, "adam/theta")
                self._meta = self._meta._replace(theta=jnp.asarray(arrays["adam/theta"]))
            if phase != self.phase:
                self._enter(phase)
            for size, lanes in self._lanes.items():
                leaves, structure = jax.tree_util.tree_flatten(lanes)
                found = [arrays[f"lanes/{size}/{k}"] for k in range(len(leaves))]
                for k, (leaf, new) in enumerate(zip(leaves, found)):
                    _same(new, leaf.shape, f"lanes/{size}/{k}")
                restored = jax.tree_util.tree_unflatten(structure, map(jnp.asarray, found))
                self._lanes[size] = self._spread(restored, "groups")
            self._settle()
        except KeyError as error:
            why = "it is of another --launch or configuration"
            raise CheckpointError(f"the checkpoint has no array {error}: {why}") from None


def _same(array: np.ndarray, shape: tuple[int, ...], name: str) -> None:
    if array.shape != tuple(shape):
        found = f"{name} has shape {array.shape}, want {tuple(shape)}"
        raise CheckpointError(f"the checkpoint is of another configuration: {found}")
