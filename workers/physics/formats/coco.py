"""COCO person keypoints in JSON: a data set's annotations, or a detector's list of results.

    {"images": [{"id": 1}, ...], "annotations": [{"image_id": 1, "keypoints": [x, y, v] * 17}]}
    [{"image_id": 1, "keypoints": [x, y, c] * 17, "score": 0.9, "track_id": 0}, ...]

v is 0 (not labelled), 1 (hidden) or 2 (seen) and becomes a confidence of 0, 0.5, 1; a detector's c
is one already. Images are the frames, in the order of their ids. A frame without the person, or an
invisible keypoint, has confidence 0 and keeps the last position seen, which nothing weighs.
"""

from pathlib import Path
from typing import Any

import numpy as np

from optimus.errors import require_positive
from workers.physics.formats import read_json, site_map, want
from workers.physics.formats.keypoints import Keypoints


def read(path: str | Path, frame_rate: float, track_id: int | None = None) -> Keypoints:
    """One person's keypoints in pixels, positions `[F, 17, 2]`.

    Args:
      path: of the file.
      frame_rate: Hz, the video's; COCO does not hold it.
      track_id: whose, where the file has several people.

    Raises:
      FormatError: the file is damaged, or an image shows several people and none is chosen.
    """
    mapping = site_map.load("coco-keypoints")
    require_positive(frame_rate, "frame_rate")
    entries, images, detector = _entries(path)
    width = 3 * len(mapping.joints)
    found: dict[Any, np.ndarray] = {}
    for i, entry in enumerate(entries):
        where = f"{path}: annotation {i}"
        whole = isinstance(entry, dict) and {"image_id", "keypoints"} <= entry.keys()
        want(whole, f"{where}: needs image_id and keypoints")
        if track_id is not None and entry.get("track_id") != track_id:
            continue
        try:
            row = np.asarray(entry["keypoints"], np.float64)
        except (TypeError, ValueError):
            row = np.zeros(0)
        finite = row.shape == (width,) and np.isfinite(row).all()
        want(finite, f"{where}: keypoints must be {width} finite numbers")
        image = entry["image_id"]
        want(image not in found, f"{where}: image {image} shows several people; give track_id")
        found[image] = row.reshape(-1, 3)
    frames = images if images is not None else sorted(found)
    several = len(found) >= 2 and len(frames) >= 2
    want(several, f"{path}: keypoints in {len(found)} images, two or more are needed")
    data = np.stack([found.get(image, np.zeros((len(mapping.joints), 3))) for image in frames])
    confidence = np.clip(data[..., 2] if detector else data[..., 2] / 2, 0, 1)
    positions = data[..., :2].copy()
    for frame in range(1, len(frames)):
        unseen = confidence[frame] == 0
        positions[frame, unseen] = positions[frame - 1, unseen]
    world, name = mapping.world(positions), Path(path).stem
    return Keypoints(name, mapping.joints, world, confidence, frame_rate)


def _entries(path: str | Path) -> tuple[list[Any], list[Any] | None, bool]:
    """Annotations, image ids in order if the file lists them, and whether a detector wrote it."""
    data = read_json(path)
    if isinstance(data, list):
        return data, None, True
    annotated = isinstance(data, dict) and isinstance(data.get("annotations"), list)
    want(annotated, f"{path}: wants a list of results, or an object with annotations")
    images = data.get("images")
    if images is None:
        return data["annotations"], None, False
    known = all(isinstance(image, dict) and "id" in image for image in images)
    want(known, f"{path}: every entry of images needs an id")
    return data["annotations"], sorted(image["id"] for image in images), False
