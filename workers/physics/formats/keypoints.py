"""A track of keypoints, checked and resampled."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from optimus.errors import require_positive
from workers.physics.formats import FormatError, want


@dataclass(frozen=True)
class Keypoints:
    """Observed joints over time.

    Attributes:
      name: of the recording. joints: J names.
      positions: `[F, J, 3]`, m, world, z up; or `[F, J, 2]`, pixels, x right, y down.
      confidence: `[F, J]` in 0..1. rate: frames a second.
    """

    name: str
    joints: tuple[str, ...]
    positions: np.ndarray
    confidence: np.ndarray
    rate: float

    @property
    def seconds(self) -> float:
        """Time from the first to the last frame."""
        return (len(self.positions) - 1) / self.rate


def checked(values: object, joints: int, width: int, where: str) -> np.ndarray:
    """The values as float64 `[F, joints, width]`.

    Args:
      values: numbers of that shape, or `[F, joints * width]`. joints, width: their counts.
      where: names the field in messages.

    Raises:
      FormatError: naming the field and the first bad frame.
    """
    array = np.asarray(values)
    want(array.dtype.kind in "fiu", f"{where}: must hold numbers, got {array.dtype}")
    if array.ndim == 2 and array.shape[1] == joints * width:
        array = array.reshape(len(array), joints, width)
    fits = array.ndim == 3 and array.shape[1:] == (joints, width)
    want(fits, f"{where}: must have shape [F, {joints}, {width}], got {array.shape}")
    want(len(array) >= 2, f"{where}: needs two frames or more, got {len(array)}")
    for frame, joint in np.argwhere(~np.isfinite(array).all(axis=2))[:1]:
        raise FormatError(f"{where}: frame {frame}, joint {joint} is not finite")
    return array.astype(np.float64)


def at_times(track: Keypoints, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions `[T, J, D]` and confidence `[T, J]` at times `[T]` s since the first frame.

    Linear between frames. Confidence between two frames is the smaller of theirs: where one end was
    not seen, what lies between was not either. FormatError for a time outside the track.
    """
    frame = np.asarray(times, np.float64) * track.rate
    last = len(track.positions) - 1
    asked = f"{frame.max() / track.rate:.3f} s asked for, it has 0..{track.seconds:.3f} s"
    want(frame.min() >= -1e-6 and frame.max() <= last + 1e-6, f"{track.name}: {asked}")
    low = np.clip(np.floor(frame + 1e-6).astype(int), 0, last - 1)
    share = np.clip(frame - low, 0, 1)[:, None]
    share = np.where(share < 1e-6, 0.0, np.where(share > 1 - 1e-6, 1.0, share))
    before, after = track.positions[low], track.positions[low + 1]
    positions = before + share[..., None] * (after - before)
    ends = track.confidence[low], track.confidence[low + 1]
    confidence = np.where(share == 0, ends[0], np.where(share == 1, ends[1], np.minimum(*ends)))
    return positions, confidence


def resample(track: Keypoints, rate: float) -> Keypoints:
    """The track at another rate, from the first frame on, as `at_times` reads it.

    ConfigError when the rate is not positive.
    """
    require_positive(rate, "rate")
    if rate == track.rate:
        return track
    count = int(np.floor(track.seconds * rate + 1e-6)) + 1
    positions, confidence = at_times(track, np.arange(count) / rate)
    return dataclasses.replace(track, positions=positions, confidence=confidence, rate=rate)


def cut(track: Keypoints, first: int, last: int) -> Keypoints:
    """Frames first..last, counted from 0, both included; FormatError when there are fewer."""
    asked = f"frames {first}..{last} asked for, it has {len(track.positions)}"
    want(0 <= first < last < len(track.positions), f"{track.name}: {asked}")
    positions, confidence = track.positions[first : last + 1], track.confidence[first : last + 1]
    return dataclasses.replace(track, positions=positions, confidence=confidence)
