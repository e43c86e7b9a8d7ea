"""Human3.6M poses: VideoPose3D's .npz files, and MyPoseFeatures/D3_Positions/*.cdf.mat.

Layout: VideoPose3D's prepare_data_h36m.py. `positions_3d` holds {subject: {action: [F, 32 or 17,
3]}} in m, world, z up; `positions_2d` {subject: {action: [one [F, 17, 2] a camera]}} in pixels.
The .mat files hold `data` with [F, 96] in mm.
"""

from pathlib import Path
from typing import Any

import numpy as np

from workers.physics.formats import FormatError, safe_pickle, site_map, want
from workers.physics.formats.keypoints import Keypoints, checked

CAMERAS = ("54138969", "55011271", "58860488", "60457274")  # in the order of positions_2d


def read_positions_3d(path: str | Path, subject: str, action: str) -> Keypoints:
    """One action of data_3d_h36m.npz. Actions may be written Walking_1 or "Walking 1"."""
    values, where = _action(path, "positions_3d", subject, action)
    joints = np.shape(values)[1] if np.ndim(values) == 3 else 0
    shape = f"must have shape [F, 17 or 32, 3], got {np.shape(values)}"
    want(joints in (17, 32), f"{where}: {shape}")
    return site_map.load(f"human36m-{joints}").track(f"{subject} {action}", values, where)


def read_positions_2d(path: str | Path, subject: str, action: str, camera: str) -> Keypoints:
    """One action of data_2d_h36m_*.npz as seen by one camera.

    Args:
      path: of the file. subject: "S9". action: as of `read_positions_3d`. camera: of `CAMERAS`.
    """
    want(camera in CAMERAS, f"no camera {camera!r}; there are: {', '.join(CAMERAS)}")
    values, where = _action(path, "positions_2d", subject, action)
    there = f"must hold {len(CAMERAS)} cameras, got {len(values)}"
    want(len(values) == len(CAMERAS), f"{where}: {there}")
    seen, name = values[CAMERAS.index(camera)], f"{subject} {action} {camera}"
    return site_map.load("human36m-2d").track(name, seen, f"{where}, camera {camera}")


def read_subject_folder(folder: str | Path, subject: str, action: str) -> Keypoints:
    """FOLDER/S9/MyPoseFeatures/D3_Positions/Walking 1.cdf.mat (MATLAB 5 files)."""
    from scipy.io import loadmat

    path = subject_file(folder, subject, action)
    want(path.is_file(), f"no {path}")
    try:
        values = loadmat(path)["data"]
    except Exception as error:  # SciPy has many, for as many kinds of damage
        raise FormatError(f"{path}: not a MATLAB 5 file with 'data' ({error})") from None
    while values.dtype == object and values.size == 1:
        values = values.ravel()[0]
    positions = checked(values, 32, 3, f"{path}: data") / 1000
    return site_map.load("human36m-32").track(f"{subject} {action}", positions, str(path))


def subject_file(folder: str | Path, subject: str, action: str) -> Path:
    """Where `read_subject_folder` looks; the first spelling of the action if none is there."""
    base = Path(folder) / subject / "MyPoseFeatures" / "D3_Positions"
    paths = [base / f"{name}.cdf.mat" for name in _spellings(action)]
    return next((path for path in paths if path.is_file()), paths[0])


def _spellings(action: str) -> tuple[str, ...]:
    """An action such as "Walking_1" as files and VideoPose3D's canonical names spell it."""
    name = action.replace("_", " ")
    short = name.replace("TakingPhoto", "Photo").replace("WalkingDog", "WalkDog")
    long = short.replace("Photo", "TakingPhoto").replace("WalkDog", "WalkingDog")
    return tuple(dict.fromkeys((name, short, long)))


def _action(path: str | Path, field: str, subject: str, action: str) -> tuple[Any, str]:
    data = safe_pickle.read_npz(path, field)
    there = ", ".join(data) if isinstance(data, dict) else type(data).__name__
    known = isinstance(data, dict) and isinstance(data.get(subject), dict)
    want(known, f"{path}: {field} has no subject {subject!r}; there are: {there}")
    actions = data[subject]
    for name in _spellings(action):
        if name in actions:
            return actions[name], f"{path}: {field}, {subject}, {name}"
    there = ", ".join(sorted(actions))
    raise FormatError(f"{path}: {subject} has no action {action!r}; there are: {there}")
