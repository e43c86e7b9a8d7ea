"""Readers for users' motion data: AIST++, Human3.6M, SMPL poses and COCO keypoints.

None of these data sets can be redistributed; users bring their files. The readers follow the
published layouts and are tested on small files written in them, not on the data sets themselves.

    track = aist.read_keypoints3d("keypoints3d/gBR_sBM_cAll_d04_mBR0_ch01.pkl")
    clip, fit = states.clip_from_keypoints(track, site_map.load("aist-keypoints3d"), humanoid())
    loss = PhysicsLoss(clip, 0.0, 1.0, options)        # as any other clip
"""

import json
from pathlib import Path
from typing import Any

from optimus.errors import UserError
from optimus.files import parse_json


class FormatError(UserError, ValueError):
    """A file is not what its reader expects; one line naming file, field or line, and remedy."""


def want(holds: object, message: str) -> None:
    """Raises `FormatError` unless the condition holds."""
    if not holds:
        raise FormatError(message)


def read_bytes(path: str | Path) -> bytes:
    """What a file holds; FormatError where it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from None


def read_json(path: str | Path) -> Any:
    """What a JSON file says; FormatError with the line where it is damaged."""
    data = read_bytes(path)
    try:
        return parse_json(data)
    except json.JSONDecodeError as error:
        raise FormatError(f"{path}, line {error.lineno}: {error.msg}") from None
    except UnicodeDecodeError:
        raise FormatError(f"{path}: not a text file") from None
    except ValueError as error:
        raise FormatError(f"{path}: {error}") from None
