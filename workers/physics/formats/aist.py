"""AIST++ (Li et al. 2021): keypoints3d/*.pkl and motions/*.pkl, 60 frames a second.

Layout: the data set's own loader (google/aistplusplus_api). Pickles are read without running them.
"""

from pathlib import Path
from typing import Any

import numpy as np

from workers.physics.formats import safe_pickle, site_map, want
from workers.physics.formats.keypoints import Keypoints, checked
from workers.physics.formats.smpl import SmplMotion


def read_keypoints3d(path: str | Path, field: str = "keypoints3d_optim") -> Keypoints:
    """COCO joints in m, z up.

    field: "keypoints3d_optim" (smoothed) or "keypoints3d" (triangulated; may hold NaN, which is
    refused). Both are [F, 17, 3] in cm, y up.
    """
    values = _field(safe_pickle.load(path), field, path)
    return site_map.load("aist-keypoints3d").track(Path(path).stem, values, f"{path}: {field}")


def read_motion(path: str | Path, rate: float = 60.0) -> SmplMotion:
    """SMPL poses: smpl_poses [F, 72] rad, smpl_trans [F, 3], smpl_scaling [1] (trans / scaling is
    in m)."""
    data = safe_pickle.load(path)
    poses = checked(_field(data, "smpl_poses", path), 24, 3, f"{path}: smpl_poses")
    trans = np.asarray(_field(data, "smpl_trans", path))[:, None]
    trans = checked(trans, 1, 3, f"{path}: smpl_trans")[:, 0]
    scaling = np.asarray(_field(data, "smpl_scaling", path), np.float64).ravel()
    positive = scaling.size == 1 and 0 < scaling[0] < np.inf
    want(positive, f"{path}: smpl_scaling must be one positive number, got {scaling}")
    frames = f"{len(trans)} frames and smpl_poses {len(poses)}"
    want(len(trans) == len(poses), f"{path}: smpl_trans has {frames}")
    return SmplMotion(Path(path).stem, poses, trans / scaling[0], rate)


def _field(data: Any, name: str, path: str | Path) -> Any:
    there = ", ".join(map(str, data)) if isinstance(data, dict) else type(data).__name__
    known = isinstance(data, dict) and name in data
    want(known, f"{path}: no field {name!r}; there are: {there}")
    array = np.ndim(data[name]) > 0 or name == "smpl_scaling"
    want(array, f"{path}: {name} must be an array, got {data[name]!s:.80}")
    return data[name]
