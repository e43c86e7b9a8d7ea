"""COCO person keypoints in JSON: a data set's annotations, or a detector's list of results.

    {"images": [{"id": 1}, ...], "annotations": [{"image_id": 1, "keypoints": [x, y, v] * 17}]}
    [{"image_id": 1, "keypoints": [x, y, c] * 17, "score": 0.9, "track_id": 0}, ...]

v is 0 (not labelled), 1 (hidden) or 2 (seen) and becomes a confidence of 0, 0.5, 1; a detector's c
is one already. Images are the frames, in the order of their ids. A frame without the person, or an
invisible keypoint, has confidence 0 and keeps the last position seen, which nothing weighs.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from optimus.errors import require_positive
from optimus.files import parse_json
from workers.physics.formats import FormatError, site_map
from workers.physics.formats.keypoints import Keypoints


def read(
    path: str | Path,
    frame_rate: float,
    track_id: int | None = None,
    mapping: site_map.SiteMap | None = None,
) -> Keypoints:
    """One person's keypoints in pixels, positions `[F, 17, 2]`.

    Args:
      path: of the file.
      frame_rate: Hz, the video's; COCO does not hold it.
      track_id: whose, where the file has several people.
      mapping: of the joints, that of COCO by default.

    Raises:
      FormatError: the file is damaged, or an image shows several people and none is chosen.
    """
    mapping = mapping or site_map.load("coco-keypoints")
    require_positive(frame_rate, "frame_rate")
    entries, images, detector = _entries(path)
    width = 3 * len(mapping.joints)
    found: dict[Any, np.ndarray] = {}
    for i, entry in enumerate(entries):
        where = f"{path}: annotation {i}"
        if not isinstance(entry, dict) or "image_id" not in entry or "keypoints" not in entry:
            raise FormatError(f"{where}: needs image_id and keypoints")
        if track_id is not None and entry.get("track_id") != track_id:
            continue
        try:
            row = np.asarray(entry["keypoints"], np.float64)
        except (TypeError, ValueError):
            row = np.zeros(0)
        if row.shape != (width,) or not np.isfinite(row).all():
            raise FormatError(f"{where}: keypoints must be {width} finite numbers")
        image = entry["image_id"]
        if image in found:
            raise FormatError(f"{where}: image {image} shows several people; give track_id")
        found[image] = row.reshape(-1, 3)
    frames = images if images is not None else sorted(found)
    if len(found) < 2 or len(frames) < 2:
        raise FormatError(f"{path}: keypoints in {len(found)} images, two or more are needed")
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
    try:
        data = parse_json(Path(path).read_bytes())
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from None
    except json.JSONDecodeError as error:
        raise FormatError(f"{path}, line {error.lineno}: {error.msg}") from None
    except UnicodeDecodeError:
        raise FormatError(f"{path}: not a text file") from None
    except ValueError as error:
        raise FormatError(f"{path}: {error}") from None
    if isinstance(data, list):
        return data, None, True
    if not isinstance(data, dict) or not isinstance(data.get("annotations"), list):
        raise FormatError(f"{path}: wants a list of results, or an object with annotations")
    images = data.get("images")
    if images is None:
        return data["annotations"], None, False
    if not all(isinstance(image, dict) and "id" in image for image in images):
        raise FormatError(f"{path}: every entry of images needs an id")
    return data["annotations"], sorted(image["id"] for image in images), False
