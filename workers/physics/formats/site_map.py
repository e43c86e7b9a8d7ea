"""Joints of a format as sites of the model: one JSON file per format.

    {"format": "aist-keypoints3d", "joints": [names in the file's order], "units": "cm",
     "up": "y", "frame_rate": 60,
     "sites": {"left_knee": {"joint": "left_knee", "weight": 1.0},
               "root": {"joint": ["left_hip", "right_hip"], "weight": 0.5}}}

A list of joints stands for their mean. units: m, cm, mm, px. up: the axis that points up, y, z or
-y (a camera's), or "image". frame_rate: Hz, null where files do not fix it and the caller must.
"""

import dataclasses
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from optimus.errors import require
from workers.physics.formats import FormatError, read_json, want
from workers.physics.formats.keypoints import Keypoints, at_times, checked
from workers.physics.model import PhysicsModel
from workers.physics.simulation.window_spec import Camera, WindowSpec

FOLDER = Path(__file__).with_name("maps")
Seen = tuple[np.ndarray, np.ndarray]  # positions [..., n_sites, D], weights [..., n_sites]
UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001, "px": 1.0}
# world (x, y, z) with z up from the format's axes: rows of a rotation
AXES = {
    "z": np.eye(3),
    "y": np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]]),
    "-y": np.array([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]]),
    "image": np.eye(2),
}


@dataclass(frozen=True)
class SiteMap:
    """What a format calls its joints, in which units and axes, and which sites they are.

    sites: site of the model -> (joints whose mean it is, weight >= 0).
    """

    format: str
    joints: tuple[str, ...]
    units: str
    up: str
    frame_rate: float | None
    sites: dict[str, tuple[tuple[str, ...], float]]

    def world(self, positions: np.ndarray) -> np.ndarray:
        """Positions `[..., D]` in the format's units and axes -> m, z up (pixels stay pixels)."""
        return UNITS[self.units] * positions @ AXES[self.up].T

    def track(self, name: str, values: object, where: str) -> Keypoints:
        """The values of a file in this format, whose rate is known, as a track, every joint seen.

        Args:
          name: of the recording. values: `[F, J, D]`, checked. where: names the field in messages.
        """
        assert self.frame_rate is not None
        positions = checked(values, len(self.joints), len(AXES[self.up]), where)
        seen = np.ones(positions.shape[:2])
        return Keypoints(name, self.joints, self.world(positions), seen, self.frame_rate)


def names() -> tuple[str, ...]:
    """Formats that have a map here."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.json")))


def load(name_or_path: str | Path) -> SiteMap:
    """A map that ships, by name, or a JSON file; FormatError naming file and field."""
    path = FOLDER / f"{name_or_path}.json" if str(name_or_path) in names() else Path(name_or_path)
    there = f"there are: {', '.join(names())}, or give a file"
    want(path.is_file(), f"no site map {str(name_or_path)!r} here; {there}")
    return _from_json(read_json(path), path)


def _from_json(data: Any, path: Path) -> SiteMap:
    keys = {"format", "joints", "units", "up", "frame_rate", "sites"}
    got = set(data) - {"about"} if isinstance(data, dict) else set()
    wrong = ", ".join(sorted(keys - got) or sorted(got - keys))
    needed = f"a site map needs exactly {', '.join(sorted(keys))}"
    want(got == keys, f"{path}: {needed}; wrong: {wrong}")
    joints, rate = tuple(data["joints"]), data["frame_rate"]
    for key, known in (("units", UNITS), ("up", AXES)):
        one_of = f"want one of {', '.join(known)}"
        want(data[key] in known, f"{path}: {key} is {data[key]!r}, {one_of}")
    positive = rate is None or (isinstance(rate, int | float) and rate > 0)
    want(positive, f"{path}: frame_rate must be positive or null, got {rate!r}")
    sites: dict[str, tuple[tuple[str, ...], float]] = {}
    for site, entry in data["sites"].items():
        source = entry.get("joint") if isinstance(entry, dict) else None
        parts = tuple(source) if isinstance(source, list) else (source,)
        for part in parts:
            _known(part, joints, f"{path}: site {site}", "joint")
        weight = entry.get("weight", 1.0)
        good = isinstance(weight, int | float) and 0 <= weight < np.inf
        want(good, f"{path}: site {site}: weight must be 0 or more, got {weight!r}")
        sites[site] = (parts, float(weight))
    return SiteMap(data["format"], joints, data["units"], data["up"], rate, sites)


def to_sites(track: Keypoints, site_map: SiteMap, sites: Sequence[str]) -> Seen:
    """The track on the model's sites: positions `[F, n_sites, D]` and weights
    `[F, n_sites]`.

    A weight is the map's times the least confidence of the joints; 0 at sites that the map does
    not name. FormatError when a joint or a site is unknown.
    """
    frames = len(track.positions)
    positions = np.zeros((frames, len(sites), track.positions.shape[2]))
    weights = np.zeros((frames, len(sites)))
    for site, (parts, weight) in site_map.sites.items():
        at = _known(site, tuple(sites), f"site map {site_map.format}", "site")
        source = [_known(part, track.joints, track.name, "joint") for part in parts]
        positions[:, at] = track.positions[:, source].mean(axis=1)
        weights[:, at] = weight * track.confidence[:, source].min(axis=1)
    return positions, weights


def _known(name: Any, known: Sequence[str], where: str, what: str) -> int:
    if name in known:
        return list(known).index(name)
    close = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known)}"
    raise FormatError(f"{where}: unknown {what} {name!r}; {hint}")


def with_keypoints(
    spec: WindowSpec,
    track: Keypoints,
    site_map: SiteMap,
    model: PhysicsModel,
    start: float,
    dt: float,
    weight: float,
    camera: Camera | None = None,
) -> WindowSpec:
    """The window with a track as what its motion is compared with.

    A 2-D track becomes the reprojection term, in 1/pixels^2 and seen by `camera`; a 3-D one takes
    the place of the reference, in 1/m^2. Weights of the sites are the map's times the confidence.

    Args:
      spec: of the window. track: what was observed. site_map: which joint is which site.
      model: whose sites they are.
      start: s, when the window begins in the track. dt: s, the spec's time step.
      weight: of the term. camera: that saw a 2-D track.

    Raises:
      FormatError: the track is too short, or a name is unknown.
      ValueError: a 2-D track without a camera.
    """
    positions, confidence = at_times(track, start + dt * spec.frame_steps)
    seen = dataclasses.replace(track, positions=positions, confidence=confidence)
    values, trust = to_sites(seen, site_map, [site.name for site in model.sites])
    if values.shape[2] == 3:
        return dataclasses.replace(spec, reference=values, confidence=trust, weight_position=weight)
    require(camera is not None, f"{track.name}: keypoints in pixels need a camera")
    spec = dataclasses.replace(spec, camera=camera, weight_reprojection=weight)
    return dataclasses.replace(spec, keypoints=values, keypoint_confidence=trust)
