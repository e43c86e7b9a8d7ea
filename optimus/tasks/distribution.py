"""Which lane of a program has which tasks: fixed when it is compiled, so that each function is
evaluated for its own lanes only (a `switch` under `vmap` evaluates all of them for every lane).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from optimus.config.tasks import AnalyticTask, ClassicalTask
from optimus.problems.groups import NETWORK, allowed, allowed_generated
from optimus.tasks import analytic, generated, mixture, networks

Data = dict[str, jax.Array]


class Slot(NamedTuple):
    """Lanes start ... stop - 1 have tasks of one member: a function, "generated" or
    "network".

    Attributes:
      value: (task data, x `[size]`) -> f - f* (of networks f), float32 scalar.
      minimiser: task data -> float32 `[size]`; None where it is not known.
    """

    name: str
    value: Callable[[Data, jax.Array], jax.Array]
    minimiser: Callable[[Data], jax.Array] | None
    start: int
    stop: int


class Source(NamedTuple):
    """Lanes start ... stop - 1, all of some slots, are drawn by one program.

    Attributes:
      sample: keys `[stop - start]` -> (task data with "mask", x0 `[lanes, size]`).
    """

    sample: Callable[[jax.Array], tuple[Data, jax.Array]]
    start: int
    stop: int


class Deal(NamedTuple):
    """Slots and sources of L lanes, in order and without gaps."""

    slots: tuple[Slot, ...]
    sources: tuple[Source, ...]

    @property
    def names(self) -> list[str]:
        """The member of each lane."""
        return [slot.name for slot in self.slots for _ in range(slot.start, slot.stop)]


def sizes(task: AnalyticTask | ClassicalTask) -> tuple[int, ...]:
    """Padded sizes in the order in which updates take them, with repetitions."""
    return task.sizes if isinstance(task, ClassicalTask) else (task.dim,)


def least(task: ClassicalTask, size: int) -> int:
    """Smallest n of a size: `least_dim`, or one more than the next smaller size."""
    return max([other + 1 for other in task.sizes if other < size], default=task.least_dim)


@functools.cache
def deal(task: AnalyticTask | ClassicalTask, size: int, lanes: int) -> Deal:
    """Deals lanes to the members that exist in this size, by their shares (largest remainders
    first); functions get equal ones. The same object at every call, so that compiled code is
    shared.

    Raises:
      ValueError: no member is left in this size.
    """
    if isinstance(task, AnalyticTask):
        draw = functools.partial(_unpadded, task.family, task.dim)
        slot = Slot(task.family, analytic.family(task.family).value, None, 0, lanes)
        return Deal((slot,), (Source(draw, 0, lanes),))
    low = least(task, size)
    spans = {name: mixture.span(name, low, size) for name in allowed(task.functions, task.hold_out)}
    found = {name: span for name, span in spans.items() if span is not None}
    families = allowed_generated(task.hold_out)
    others = [task.generated if families else 0.0]
    if task.networks and NETWORK not in task.hold_out:
        others.append(task.networks)
    if not found and not sum(others):
        raise ValueError(f"no function is left in size {size}")
    if not found:
        others = [share / sum(others) for share in others]
    each = 1.0 - sum(others)
    quotas = [lanes * each / max(len(found), 1)] * len(found) + [lanes * k for k in others]
    counts = _shares(quotas, lanes)
    slots, numbers, start = [], [], 0
    for (name, span), count in zip(found.items(), counts):
        if count:
            value = functools.partial(mixture.value, name)
            minimiser = functools.partial(mixture.minimiser, name)
            slots.append(Slot(name, value, minimiser, start, start + count))
            numbers += [mixture.numbers(name, *span)] * count
            start += count
    sources = []
    if numbers:
        table = jax.tree_util.tree_map(lambda *column: np.asarray(column), *numbers)
        sources.append(Source(functools.partial(_functions, task, size, table), 0, start))
    drawn = (
        Slot("generated", generated.value, generated.minimiser, 0, 0),
        Slot(NETWORK, networks.value, None, 0, 0),
    )
    draws: tuple[Callable[[jax.Array], tuple[Data, jax.Array]], ...] = (
        functools.partial(generated.sample, families, task, low, size, size),
        functools.partial(networks.sample, task, low, size, size),
    )
    for slot, one, count in zip(drawn, draws, counts[len(found) :]):
        if count:
            slots.append(slot._replace(start=start, stop=start + count))
            sources.append(Source(jax.vmap(one), start, start + count))
            start += count
    return Deal(tuple(slots), tuple(sources))


def _functions(
    task: ClassicalTask, size: int, table: mixture.Numbers, keys: jax.Array
) -> tuple[Data, jax.Array]:
    return jax.vmap(functools.partial(mixture.sample, task, size))(table, keys)


def _unpadded(name: str, dim: int, keys: jax.Array) -> tuple[Data, jax.Array]:
    data, start = jax.vmap(functools.partial(analytic.make, name, dim))(keys)
    return {**data, "mask": jnp.ones(start.shape, bool)}, start


def _shares(quotas: Sequence[float], lanes: int) -> list[int]:
    counts = [int(quota + 1e-9) for quota in quotas]
    order = sorted(range(len(quotas)), key=lambda k: counts[k] - quotas[k])
    for k in order[: lanes - sum(counts)]:
        counts[k] += 1
    return counts


def sample(dealt: Deal, keys: jax.Array) -> tuple[tuple[Data, ...], jax.Array, jax.Array]:
    """A task for every lane: data of each slot `[lanes of the slot, ...]`, x0 and mask `[L, N]`."""
    data, starts = [], []
    for source in dealt.sources:
        drawn, start = source.sample(keys[source.start : source.stop])
        starts.append(start)
        for slot in dealt.slots:
            if source.start <= slot.start < source.stop:
                at = slice(slot.start - source.start, slot.stop - source.start)
                data.append({name: leaf[at] for name, leaf in drawn.items()})
    return tuple(data), jnp.concatenate(starts), jnp.concatenate([each["mask"] for each in data])


def minimisers(slots: Sequence[Slot], data: Sequence[Data]) -> jax.Array:
    """Where f is least, `[L, N]`; 0 where that is not known: see `has_minimiser`.

    Raises:
      ValueError: it is known of no slot.
    """
    if all(slot.minimiser is None for slot in slots):
        names = ", ".join(repr(slot.name) for slot in slots)
        raise ValueError(f"the minimiser of {names} is not known")
    parts = []
    for slot, each in zip(slots, data):
        if slot.minimiser is None:
            parts.append(jnp.zeros(each["mask"].shape, jnp.float32))
        else:
            parts.append(jax.vmap(slot.minimiser)(each))
    return jnp.concatenate(parts)


def has_minimiser(dealt: Deal) -> np.ndarray:
    """Whether a lane's minimiser is known, bool `[L]`."""
    parts = [[slot.minimiser is not None] * (slot.stop - slot.start) for slot in dealt.slots]
    return np.concatenate(parts)


def values(slots: Sequence[Slot], data: Sequence[Data], x: jax.Array) -> jax.Array:
    """f - f* of every lane at x `[L, N]`, float32 `[L]`."""
    parts = [
        jax.vmap(slot.value)(each, x[slot.start : slot.stop]) for slot, each in zip(slots, data)
    ]
    return jnp.concatenate(parts)


def values_and_gradients(
    slots: Sequence[Slot], data: Sequence[Data], x: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """f - f* `[L]` and its gradient `[L, N]` at x `[L, N]`."""
    parts = [
        jax.vmap(jax.value_and_grad(slot.value, argnums=1))(each, x[slot.start : slot.stop])
        for slot, each in zip(slots, data)
    ]
    return jnp.concatenate([v for v, _ in parts]), jnp.concatenate([g for _, g in parts])
