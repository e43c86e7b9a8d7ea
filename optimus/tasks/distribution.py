"""Which lane of a program has which tasks: fixed when it is compiled, so that each function is
evaluated for its own lanes only (a `switch` under `vmap` evaluates all of them for every lane).
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from optimus.config.tasks import AnalyticTask, ClassicalTask
from optimus.problems.groups import NETWORK, allowed, allowed_generated
from optimus.tasks import analytic, generated, mixture, networks

Data = dict[str, jax.Array]
Sampler = Callable[[jax.Array], tuple[Data, jax.Array]]


class Segment(NamedTuple):
    """Lanes start ... stop - 1 have tasks of one member: a function, "generated" or "network".

    Attributes:
      name: of the member.
      value: (task data, x `[size]`) -> f - f* (of networks f), float32 scalar.
      minimiser: task data -> float32 `[size]`; None where it is not known.
      start: first lane.
      stop: last lane + 1.
    """

    name: str
    value: Callable[[Data, jax.Array], jax.Array]
    minimiser: Callable[[Data], jax.Array] | None
    start: int
    stop: int


class Source(NamedTuple):
    """Lanes start ... stop - 1, all of some segments, are drawn by one program.

    Attributes:
      sample: keys `[stop - start]` -> (task data with "mask", x0 `[lanes, size]`).
      start: first lane.
      stop: last lane + 1.
    """

    sample: Sampler
    start: int
    stop: int


class Assignment(NamedTuple):
    """Segments and sources of L lanes, in order and without gaps."""

    segments: tuple[Segment, ...]
    sources: tuple[Source, ...]

    @property
    def names(self) -> list[str]:
        """The member of each lane."""
        return [each.name for each in self.segments for _ in range(each.start, each.stop)]


def sizes(task: AnalyticTask | ClassicalTask) -> tuple[int, ...]:
    """Padded sizes in the order in which updates take them, with repetitions."""
    return task.sizes if isinstance(task, ClassicalTask) else (task.dim,)


def least(task: ClassicalTask, size: int) -> int:
    """Smallest n of a size: `least_dim`, or one more than the next smaller size."""
    return max([other + 1 for other in task.sizes if other < size], default=task.least_dim)


@functools.cache
def assign(task: AnalyticTask | ClassicalTask, size: int, lanes: int) -> Assignment:
    """Assigns lanes to the members that exist in this size, by their shares; functions get equal
    ones. The same object at every call, so that compiled code is shared.

    Raises:
      ValueError: no member is left in this size.
    """
    if isinstance(task, AnalyticTask):
        draw = functools.partial(_unpadded, task.family, task.dim)
        value = analytic.family(task.family).value
        return _assigned((draw, [Segment(task.family, value, None, 0, lanes)]))
    low, families = least(task, size), allowed_generated(task.hold_out)
    spans = _spans(task, low, size)
    generated_share = task.generated if families else 0.0
    shares = (generated_share, 0.0 if NETWORK in task.hold_out else task.networks)
    if not spans and not sum(shares):
        raise ValueError(f"no function is left in size {size}")
    counts = _counts(len(spans), shares, lanes)
    generate = functools.partial(generated.sample, families, task, low, size, size)
    network = functools.partial(networks.sample, task, low, size, size)
    values = (generated.value, generated.minimiser)
    functions = [Segment(name, *_of_function(name), 0, n) for name, n in zip(spans, counts)]
    return _assigned(
        (_draw_functions(task, size, spans, counts), functions),
        (jax.vmap(generate), [Segment("generated", *values, 0, counts[-2])]),
        (jax.vmap(network), [Segment(NETWORK, networks.value, None, 0, counts[-1])]),
    )


def _assigned(*parts: tuple[Sampler, list[Segment]]) -> Assignment:
    """Parts in order, each with what draws it and its segments, as if each began at lane 0."""
    segments: list[Segment] = []
    sources: list[Source] = []
    first = 0
    for draw, members in parts:
        begins = first
        for member in members:
            if member.stop:
                segments.append(member._replace(start=first, stop=first + member.stop))
                first += member.stop
        if first > begins:
            sources.append(Source(draw, begins, first))
    return Assignment(tuple(segments), tuple(sources))


def _spans(task: ClassicalTask, low: int, size: int) -> dict[str, tuple[int, int]]:
    """The functions that exist in dimensions low ... size -> what `mixture.numbers` takes."""
    spans = {name: mixture.span(name, low, size) for name in allowed(task.functions, task.hold_out)}
    return {name: span for name, span in spans.items() if span is not None}


def _counts(functions: int, shares: tuple[float, ...], lanes: int) -> list[int]:
    """Lanes of each function, then of each other member: largest remainders first.

    Args:
      functions: how many there are; they have what the shares leave, in equal parts.
      shares: of the other members; all lanes are theirs where there are no functions.
      lanes: to assign.
    """
    if functions:
        quotas = [lanes * (1.0 - sum(shares)) / functions] * functions
        quotas += [lanes * share for share in shares]
    else:
        quotas = [lanes * (share / sum(shares)) for share in shares]
    counts = [int(quota + 1e-9) for quota in quotas]
    order = sorted(range(len(quotas)), key=lambda k: counts[k] - quotas[k])
    for k in order[: lanes - sum(counts)]:
        counts[k] += 1
    return counts


def _of_function(name: str) -> tuple[Any, Any]:
    """Its value and its minimiser."""
    return functools.partial(mixture.value, name), functools.partial(mixture.minimiser, name)


def _draw_functions(
    task: ClassicalTask, size: int, spans: dict[str, tuple[int, int]], counts: Sequence[int]
) -> Sampler:
    """So many lanes for each function, drawn together."""
    named = [mixture.numbers(name, *span) for name, span in spans.items()]
    lanes = [numbers for numbers, count in zip(named, counts) for _ in range(count)]

    def draw(keys: jax.Array) -> tuple[Data, jax.Array]:
        table = jax.tree_util.tree_map(lambda *column: np.asarray(column), *lanes)
        return jax.vmap(functools.partial(mixture.sample, task, size))(table, keys)

    return draw


def _unpadded(name: str, dim: int, keys: jax.Array) -> tuple[Data, jax.Array]:
    data, start = jax.vmap(functools.partial(analytic.make, name, dim))(keys)
    return {**data, "mask": jnp.ones(start.shape, bool)}, start


def sample(assigned: Assignment, keys: jax.Array) -> tuple[tuple[Data, ...], jax.Array, jax.Array]:
    """A task for every lane: data of each segment, leading axis its lanes; x0 and mask `[L, N]`."""
    data, starts = [], []
    for source in assigned.sources:
        drawn, start = source.sample(keys[source.start : source.stop])
        starts.append(start)
        for part in assigned.segments:
            if source.start <= part.start < source.stop:
                at = slice(part.start - source.start, part.stop - source.start)
                data.append({name: leaf[at] for name, leaf in drawn.items()})
    return tuple(data), jnp.concatenate(starts), jnp.concatenate([each["mask"] for each in data])


def minimisers(segments: Sequence[Segment], data: Sequence[Data]) -> jax.Array:
    """Where f is least, `[L, N]`; 0 where that is not known: see `has_minimiser`.

    Raises:
      ValueError: it is known of no segment.
    """
    if all(part.minimiser is None for part in segments):
        names = ", ".join(repr(part.name) for part in segments)
        raise ValueError(f"the minimiser of {names} is not known")
    found = []
    for part, each in zip(segments, data):
        if part.minimiser is None:
            found.append(jnp.zeros(each["mask"].shape, jnp.float32))
        else:
            found.append(jax.vmap(part.minimiser)(each))
    return jnp.concatenate(found)


def has_minimiser(assigned: Assignment) -> np.ndarray:
    """Whether a lane's minimiser is known, bool `[L]`."""
    found = [[part.minimiser is not None] * (part.stop - part.start) for part in assigned.segments]
    return np.concatenate(found)


def values(segments: Sequence[Segment], data: Sequence[Data], x: jax.Array) -> jax.Array:
    """f - f* of every lane at x `[L, N]`, float32 `[L]`."""
    parts = [x[part.start : part.stop] for part in segments]
    found = [jax.vmap(part.value)(own, at) for part, own, at in zip(segments, data, parts)]
    return jnp.concatenate(found)


def values_and_gradients(
    segments: Sequence[Segment], data: Sequence[Data], x: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """f - f* `[L]` and its gradient `[L, N]` at x `[L, N]`."""
    found = [
        jax.vmap(jax.value_and_grad(part.value, argnums=1))(each, x[part.start : part.stop])
        for part, each in zip(segments, data)
    ]
    return jnp.concatenate([v for v, _ in found]), jnp.concatenate([g for _, g in found])
