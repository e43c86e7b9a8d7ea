"""Messages: loss requests and replies, samples, and the session an actor starts from."""

import dataclasses
import functools
import reprlib
import typing
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from optimus.fields import required
from optimus.wire import codec

T = TypeVar("T")
Status = typing.Literal["ok", "nonfinite", "busy", "expired", "error"]
MAX_SAMPLE_BYTES = 2048  # without the derivative of a pathwise sample
MAX_REQUEST_BYTES = 16 * 1024 * 1024  # a loss request: x of two million coordinates
MAX_CALL_BYTES = 512 * 1024  # any other call, which has no arrays: a heartbeat of 4,000 members


class Version(typing.NamedTuple):
    """Version of the weights: equal means up to date; the epoch rises at each learner start."""

    epoch: int
    step: int


@dataclass(frozen=True)
class LossRequest:
    """One loss evaluation. Idempotent: delivery is at least once.

    Attributes:
      request_id: names the request within its sender.
      budget: seconds left when sent; the receiver starts its own clock (clocks differ).
      loss: name of the loss, e.g. "physics".
      options_hash: hash of the loss's options; a worker with others refuses.
      episode: id of the episode that asks.
      window: what to evaluate, encoded by the loss: nobody else looks into it.
      x: float64 `[N]`.
    """

    request_id: int
    budget: float
    loss: str
    options_hash: str
    episode: int
    window: bytes
    x: np.ndarray

    @property
    def label(self) -> str:
        """Names the request in messages."""
        return f"loss request {self.request_id} ({self.loss}, episode {self.episode})"


@dataclass(frozen=True)
class LossReply:
    """Answer to a `LossRequest`.

    Attributes:
      request_id: as in the request.
      status: "ok", "nonfinite" (the simulation diverged: an expected answer), "busy" (try again
        later), "expired" (the budget ran out before the start) or "error" (`message` says why).
      loss: float64, NaN unless ok.
      gradient: float64 `[N]`, empty unless ok.
      seconds: time spent evaluating.
    """

    request_id: int
    status: Status
    loss: float = float("nan")
    gradient: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0))
    seconds: float = 0.0
    message: str = ""


@dataclass(frozen=True)
class Sample:
    """One window of one episode.

    Schema "es/1": an antithetic pair; seeds, not vectors. Schema "pathwise/1": also the derivative
    of the window's meta-loss, so 4 bytes more for each weight; of one trajectory (losses `[1, W]`)
    where the estimator perturbs nothing.

    Attributes:
      run_id, actor, incarnation: who made it (incarnation is new at each actor start).
      episode: uint64 episode id, which decides task, start and noise.
      window: index of this window in its episode.
      versions: (epoch, step) of the weights of every window so far, `window + 1` pairs.
      losses: float32 `[2, W]`, meta-losses after each inner step, row 0 at theta + noise.
      mask: bool `[W]`, False where a failed step has no later steps to score.
      last: whether the episode ends with this window.
      failed: whether a trajectory went non-finite in this window.
      evaluations: loss evaluations spent, shared start included.
      seconds: time they took.
      noise_checksum: CRC-32 of this window's perturbation.
      gradient: float32 `[P]`, mean over the trajectories; empty in "es/1".
    """

    run_id: str
    actor: int
    incarnation: str
    episode: int
    window: int
    versions: list[list[int]]
    losses: np.ndarray
    mask: np.ndarray
    last: bool
    failed: bool
    evaluations: int
    seconds: float
    noise_checksum: int
    schema: str = "es/1"
    gradient: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.float32))


@dataclass(frozen=True)
class Session:
    """What the learner tells an actor once, before it starts.

    Attributes:
      run_id: identity of the run.
      config_hash: hash of the learner's configuration; an actor of another one must stop.
      version: of the current weights.
      first_episode: first episode id of this learner's life (synchronous schedule).
    """

    run_id: str
    config_hash: str
    version: list[int]
    first_episode: int


def encode(message: Any) -> bytes:
    """A message dataclass as bytes."""
    fields = dataclasses.fields(message)
    return codec.pack({f.name: getattr(message, f.name) for f in fields})


def decode(cls: type[T], data: bytes, most: int = codec.MAX_BYTES) -> T:
    """Bytes, `most` at most, as a message of `cls`; raises `CodecError` as `from_fields` does."""
    return from_fields(cls, codec.unpack(data, most))


def from_fields(cls: type[T], tree: Any) -> T:
    """A message of `cls` out of its fields by name.

    Raises:
      CodecError: fields are extra, wrongly typed, or missing without having a default.
    """
    hints, needed = _fields_of(typing.cast(Any, cls))
    if not isinstance(tree, dict) or not needed <= tree.keys() <= hints.keys():
        got = sorted(map(str, tree)) if isinstance(tree, dict) else type(tree).__name__
        raise codec.CodecError(f"not a {cls.__name__}: fields {got!s:.400}, want {sorted(hints)}")
    for name, value in tree.items():
        check_type(f"{cls.__name__}.{name}", hints[name], value)
    return cls(**tree)


@functools.cache
def _fields_of(cls: Any) -> tuple[dict[str, Any], set[str]]:
    """Types by field, and the fields without a default."""
    return typing.get_type_hints(cls), set(required(cls))


def check_type(where: str, hint: Any, value: Any) -> None:
    """Raises `CodecError`, which names `where`, unless the value is of this type; of a list or a
    dict, what is inside is not looked at."""
    origin = typing.get_origin(hint) or hint
    if origin is Any:
        return
    if origin is typing.Literal:
        choices = typing.get_args(hint)
        if not (isinstance(value, str) and value in choices):
            want = ", ".join(map(repr, choices))
            raise codec.CodecError(f"{where}: got {reprlib.repr(value)}, want one of {want}")
        return
    good = isinstance(value, origin) or (origin is float and isinstance(value, int))
    if not good or (origin in (int, float) and isinstance(value, bool)):
        raise codec.CodecError(f"{where}: got {type(value).__name__}, want {origin.__name__}")


def check_sample(
    sample: Sample, truncation: int, windows: int, signs: int = 2, derivatives: int = 0
) -> str | None:
    """Why a decoded sample is malformed for this run, or None.

    Args:
      sample: as received.
      truncation: steps of a window.
      windows: of an episode, at most.
      signs: trajectories of a lane.
      derivatives: entries of a pathwise sample's gradient, 0 where the estimator needs none.
    """
    schema = "pathwise/1" if derivatives else "es/1"
    if sample.schema != schema:
        return f"schema {sample.schema!r}, want {schema!r}"
    whole = {"losses": (signs, truncation), "gradient": (derivatives,), "mask": (truncation,)}
    for name, shape in whole.items():
        array, kind = getattr(sample, name), "bool" if name == "mask" else "float32"
        if array.shape != shape or array.dtype != kind:
            return f"{name} {array.dtype}{array.shape}, want {kind}{shape}"
    if not 0 <= sample.window < windows or not 0 <= sample.episode < 2**64:
        return f"window {sample.window} of episode {sample.episode}: out of range"
    if len(sample.versions) != sample.window + 1:
        return f"{len(sample.versions)} versions for window {sample.window}"
    for pair in sample.versions:
        if not isinstance(pair, list) or [type(number) for number in pair] != [int, int]:
            return f"version {reprlib.repr(pair)}, want [epoch, step]"
    counts = [sample.actor, sample.evaluations, sample.noise_checksum]
    counts += [number for pair in sample.versions for number in pair]
    if not all(0 <= count < 2**64 for count in counts) or not 0 <= sample.seconds < np.inf:
        return "actor, evaluations, seconds, checksum or version out of range"
    return None
