"""The paper's motion sequences: which, and how to load them once the licensed files are there.

    for sequence in sequences.table("aist"):          # or "human36m"
        clip = sequences.load(sequence, folder)       # MissingData says which file goes where

Tables 1 and 2 and the comparison protocol are JSON files beside this one. What the paper does not
say is our guess, and `inferred` names those fields.

FOLDER/aist/motions/<motion>.pkl or FOLDER/aist/keypoints3d/<motion>.pkl, with cAll for the camera;
FOLDER/human36m/data_3d_h36m.npz or FOLDER/human36m/<subject>/MyPoseFeatures/D3_Positions/*.cdf.mat.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from optimus.errors import require_known
from workers.physics.formats import FormatError, aist, human36m, site_map, smpl, states
from workers.physics.formats.keypoints import Keypoints, cut, resample
from workers.physics.model import PhysicsModel, model_text
from workers.physics.motion import Clip
from workers.physics.simulation import Simulator

TABLES = ("aist", "human36m")


class MissingData(FormatError):
    """Licensed files are not in place; the message says which, where, and under which licence."""


@dataclass(frozen=True)
class Sequence:
    """One row of the paper's tables.

    name: as printed (AIST) or the action (Human3.6M). frame_rate: Hz, of the frame numbers.
    inferred: names of fields that the paper does not state. first, last: frames, both included,
    counted from index_origin; None: the whole recording. resampled_to: Hz, None as recorded.
    """

    dataset: str
    name: str
    subject: str
    camera: str
    frame_rate: float
    inferred: tuple[str, ...]
    licence: str
    where: str
    first: int | None = None
    last: int | None = None
    index_origin: int = 0
    resampled_to: float | None = None

    @property
    def label(self) -> str:
        """Unique within its table."""
        parts = (self.subject, self.name, self.camera)
        return " ".join(parts) if self.dataset == "human36m" else self.name


def table(dataset: str) -> tuple[Sequence, ...]:
    """Table 1 ("aist", 15 clips) or Table 2 ("human36m", 20 clips) of the paper's supplement."""
    require_known(dataset, TABLES, "table")
    return _rows(dataset)


def comparison() -> tuple[Sequence, ...]:
    """The comparison with prior work: S9 and S11, ten actions, one camera, 50 -> 25 frames/s.

    Whole recordings. Each action has two takes; that both are used is inferred.
    """
    return _rows("human36m_comparison")


def _rows(name: str) -> tuple[Sequence, ...]:
    """The rows of a file beside this one, with the fields that they have in common."""
    data = json.loads((Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8"))
    common = data["common"] | {"inferred": tuple(data["common"]["inferred"])}
    return tuple(Sequence(**common, **row) for row in data["rows"])


def load(sequence: Sequence, folder: str | Path, model: PhysicsModel) -> Clip:
    """The sequence as a motion of the model, its frames cut out and resampled as it says.

    MissingData when its files are not there, FormatError when they are damaged.
    """
    reader = _aist if sequence.dataset == "aist" else _human36m
    return reader(sequence, Path(folder), model)


def _span(sequence: Sequence, frames: int) -> tuple[int, int]:
    """First and last frame counted from 0."""
    if sequence.first is None or sequence.last is None:
        return 0, frames - 1
    return sequence.first - sequence.index_origin, sequence.last - sequence.index_origin


def _aist(sequence: Sequence, folder: Path, model: PhysicsModel) -> Clip:
    motion = re.sub(r"_c\d\d_", "_cAll_", sequence.name) + ".pkl"
    poses, points = (folder / "aist" / kind / motion for kind in ("motions", "keypoints3d"))
    if poses.is_file():
        whole = smpl.to_clip(aist.read_motion(poses, sequence.frame_rate), model)
        first, last = _span(sequence, len(whole.q))
        if last >= len(whole.q):
            raise FormatError(f"{poses}: frames {first}..{last} asked for, it has {len(whole.q)}")
        part = slice(first, last + 1)
        clip = Clip(sequence.label, whole.times[part] - whole.times[first], whole.q[part])
        return states.on_ground(clip, model, Simulator(model_text(model), 1 / 120, "pd"))[0]
    if points.is_file():
        return _fitted(sequence, aist.read_keypoints3d(points), "aist-keypoints3d", model)
    raise _missing(sequence, poses, points)


def _human36m(sequence: Sequence, folder: Path, model: PhysicsModel) -> Clip:
    base, subject, action = folder / "human36m", sequence.subject, sequence.name
    packed, single = base / "data_3d_h36m.npz", human36m.subject_file(base, subject, action)
    if packed.is_file():
        track = human36m.read_positions_3d(packed, subject, action)
    elif single.is_file():
        track = human36m.read_subject_folder(base, subject, action)
    else:
        raise _missing(sequence, packed, single)
    return _fitted(sequence, track, f"human36m-{len(track.joints)}", model)


def _fitted(sequence: Sequence, track: Keypoints, mapping: str, model: PhysicsModel) -> Clip:
    track = cut(track, *_span(sequence, len(track.positions)))
    if sequence.resampled_to is not None:
        track = resample(track, sequence.resampled_to)
    clip, _ = states.clip_from_keypoints(track, site_map.load(mapping), model)
    return Clip(sequence.label, clip.times, np.ascontiguousarray(clip.q))


def _missing(sequence: Sequence, *paths: Path) -> MissingData:
    wanted = " or ".join(map(str, paths))
    source = f"licence: {sequence.licence}; from {sequence.where}"
    return MissingData(f"{sequence.label}: no {wanted} ({source})")
