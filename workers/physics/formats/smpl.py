"""SMPL poses as a clip of the humanoid: shared joints keep their orientations.

SMPL's body frame is x left, y up, z forward, in a T-pose; ours x forward, y up, z right, arms
hanging. Each of our bodies takes the world orientation of its SMPL joint (smpl.json), after the
turn that brings our rest pose into the T-pose. Knees and elbows are hinges here: what an SMPL joint
turns about other axes is lost. The root follows the pelvis of SMPL's mean shape; bone lengths stay
the humanoid's.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workers.physics.formats import want
from workers.physics.formats.site_map import AXES
from workers.physics.model import PhysicsModel
from workers.physics.model.rotations import conjugate, exp_map, multiply
from workers.physics.motion import QUARTER_TURN, Clip, rotation_spans, without_sign_jumps

_SMPL = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class SmplMotion:
    """poses [F, 24, 3]: rotation vectors, rad. trans [F, 3]: m, y up. rate: frames a second."""

    name: str
    poses: np.ndarray
    trans: np.ndarray
    rate: float


def to_clip(motion: SmplMotion, model: PhysicsModel) -> Clip:
    """A clip of the model. FormatError when the model has a body that smpl.json does not name.

    Heights are SMPL's: `states.on_ground` puts the clip on the ground.
    """
    turned = motion.poses[..., [2, 1, 0]] * np.array([1.0, 1.0, -1.0])  # into our body axes
    local = exp_map(turned)
    world: list[np.ndarray] = []  # orientation of each SMPL joint in SMPL's world
    for joint, parent in enumerate(_SMPL["parents"]):
        own = local[:, joint]
        world.append(own if parent < 0 else multiply(world[parent], own))

    orientations: list[np.ndarray] = []
    q = np.zeros((len(motion.poses), rotation_spans(model)[-1][1]))
    for body, (begin, end) in zip(model.bodies, rotation_spans(model)):
        named = body.name in _SMPL["bodies"]
        want(named, f"smpl.json names no SMPL joint for body {body.name!r}")
        entry = _SMPL["bodies"][body.name]
        rest = exp_map(np.radians(np.array(entry.get("rest", [0.0, 0.0, 0.0]))))
        orientation = multiply(world[_SMPL["joints"].index(entry["joint"])], rest[None])
        orientations.append(orientation)
        if body.parent < 0:
            # From our body axes to SMPL's: x forward is its z, z right its -x.
            axes = exp_map(np.array([[0.0, -np.pi / 2, 0.0]]))
            q[:, begin:end] = multiply(QUARTER_TURN, multiply(_smpl(orientation), axes))
            continue
        relative = multiply(conjugate(orientations[body.parent]), orientation)
        if end - begin == 4:
            q[:, begin:end] = relative
        else:
            twice = np.arctan2(relative[:, 1:] @ np.array(body.axis), relative[:, 0])
            angle = (2 * twice + np.pi) % (2 * np.pi) - np.pi
            q[:, begin] = np.clip(angle, body.lower, body.upper)
    q[:, :3] = (motion.trans + np.array(_SMPL["pelvis"])) @ AXES[_SMPL["up"]].T
    times = np.arange(len(q)) / motion.rate
    return Clip(motion.name, times, without_sign_jumps(q, model))


def _smpl(q: np.ndarray) -> np.ndarray:
    """A turn given in our body axes as the same turn in SMPL's."""
    return np.stack([q[..., 0], -q[..., 3], q[..., 2], q[..., 1]], axis=-1)
