"""From joint positions to states of the model: inverse kinematics by damped Gauss-Newton.

    minimise  sum over sites of w |site(q) - p|^2 + CLOSE |q - q_before|^2 + REST |joints of q|^2

frame after frame, each from the one before. CLOSE and REST decide only what the positions leave
open, such as turns about a limb.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from workers.physics.formats import FormatError
from workers.physics.formats.keypoints import Keypoints
from workers.physics.formats.site_map import SiteMap, to_sites
from workers.physics.model import PhysicsModel, model_text
from workers.physics.model.rotations import conjugate, exp_map, log_map, multiply
from workers.physics.motion import Clip, rotation_spans, without_sign_jumps
from workers.physics.simulation import Simulator

CLOSE, REST = 1e-4, 1e-5  # m^2 / rad^2
ITERATIONS, FIRST_ITERATIONS = 8, 60
STEP = 1e-6  # of the finite differences, rad or m
LIMBS = (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))


@dataclass(frozen=True)
class Fit:
    """How well the model's skeleton took the observed shape.

    scale: what the observed lengths were multiplied by (the humanoid's limbs over the person's).
    rms: root mean square distance of the weighted sites, m. lift: m added to all heights.
    """

    scale: float
    rms: float
    lift: float


def clip_from_keypoints(
    track: Keypoints, site_map: SiteMap, model: PhysicsModel
) -> tuple[Clip, Fit]:
    """The model's motion that comes closest to a 3-D track, at the track's rate, on the ground.

    FormatError when the hips and a point above them are not in the map, which leaves no way to
    start.
    """
    simulator = Simulator(model_text(model), 1 / 120, "pd")
    names = [site.name for site in model.sites]
    positions, weights = to_sites(track, site_map, names)
    scale = _scale(positions, weights, names, simulator.sites(_rest(model)))
    positions = scale * positions
    q = np.empty((len(positions), simulator.nq))
    before = _first(positions[0], weights[0], names, model)
    for frame in range(len(positions)):
        count = FIRST_ITERATIONS if frame == 0 else ITERATIONS
        before = q[frame] = _fit(simulator, model, before, positions[frame], weights[frame], count)
    fitted = np.stack([simulator.sites(state) for state in q])
    error = np.sum(weights * np.sum((fitted - positions) ** 2, axis=-1)) / np.sum(weights)
    clip = Clip(track.name, np.arange(len(q)) / track.rate, without_sign_jumps(q, model))
    clip, lift = on_ground(clip, model, simulator)
    return clip, Fit(scale, float(np.sqrt(error)), lift)


def on_ground(clip: Clip, model: PhysicsModel, simulator: Simulator) -> tuple[Clip, float]:
    """The clip moved up or down until its lowest contact sphere touches z = 0; and by how much."""
    radii = np.array([sphere.radius for sphere in model.spheres])
    lift = -min(float(np.min(simulator.spheres(q)[:, 2] - radii)) for q in clip.q)
    q = clip.q.copy()
    q[:, 2] += lift
    return dataclasses.replace(clip, q=q), lift


def move(q: np.ndarray, step: np.ndarray, model: PhysicsModel) -> np.ndarray:
    """State q [nq] after a small displacement [nv] (position, then turns in body axes)."""
    moved, at = q.copy(), 3
    moved[:3] += step[:3]
    for body, (begin, end) in zip(model.bodies, rotation_spans(model)):
        if end - begin == 4:
            moved[begin:end] = multiply(q[begin:end], exp_map(step[at : at + 3]))
            moved[begin:end] /= np.linalg.norm(moved[begin:end])
            at += 3
        else:
            moved[begin] = np.clip(q[begin] + step[at], body.lower, body.upper)
            at += 1
    return moved


def _between(a: np.ndarray, b: np.ndarray, model: PhysicsModel) -> np.ndarray:
    """The displacement [nv] that leads from a to b."""
    parts = [b[:3] - a[:3]]
    for begin, end in rotation_spans(model):
        if end - begin == 4:
            parts.append(log_map(multiply(conjugate(a[begin:end]), b[begin:end])))
        else:
            parts.append(b[begin:end] - a[begin:end])
    return np.concatenate(parts)


def _rest(model: PhysicsModel) -> np.ndarray:
    q = np.zeros(rotation_spans(model)[-1][1])
    for begin, end in rotation_spans(model):
        q[begin] = 1.0 if end - begin == 4 else 0.0
    return q


def _fit(
    simulator: Simulator,
    model: PhysicsModel,
    before: np.ndarray,
    positions: np.ndarray,
    weights: np.ndarray,
    iterations: int,
) -> np.ndarray:
    q, rest, nv = before, _rest(model), simulator.nv
    root = np.sqrt(np.repeat(weights, 3))
    joints = (np.arange(nv) >= 6).astype(float)
    unit = np.eye(nv)
    damping = 1e-3
    cost = np.inf
    for _ in range(iterations):
        here = simulator.sites(q)
        residual = root * (here - positions).ravel()
        jacobian = (
            np.stack(
                [(simulator.sites(_nudged(q, STEP * e, model)) - here).ravel() for e in unit],
                axis=1,
            )
            * root[:, None]
            / STEP
        )
        back, bent = _between(before, q, model), joints * _between(rest, q, model)
        cost = residual @ residual + CLOSE * back @ back + REST * bent @ bent
        gradient = jacobian.T @ residual + CLOSE * back + REST * bent
        hessian = jacobian.T @ jacobian + np.diag(CLOSE + REST * joints)
        for _ in range(8):
            step = -np.linalg.solve(hessian + damping * np.eye(nv), gradient)
            step *= min(1.0, 0.5 / np.max(np.abs(step)) if step.any() else 1.0)
            trial = move(q, step, model)
            error = root * (simulator.sites(trial) - positions).ravel()
            back, bent = _between(before, trial, model), joints * _between(rest, trial, model)
            if error @ error + CLOSE * back @ back + REST * bent @ bent < cost:
                q, damping = trial, max(damping / 5, 1e-9)
                break
            damping *= 5
        else:
            break  # no descent left
        if np.max(np.abs(step)) < 1e-7:
            break
    return q


def _nudged(q: np.ndarray, step: np.ndarray, model: PhysicsModel) -> np.ndarray:
    """`move` along one coordinate, for a derivative: hinges may pass their limits."""
    i = int(np.argmax(step))
    if i < 3:
        moved = q.copy()
        moved[i] += step[i]
        return moved
    at = 3
    for begin, end in rotation_spans(model):
        width = 3 if end - begin == 4 else 1
        if at <= i < at + width:
            moved = q.copy()
            moved[begin:end] = (
                multiply(q[begin:end], exp_map(step[at : at + 3]))
                if width == 3
                else q[begin:end] + step[i]
            )
            return moved
        at += width
    raise AssertionError("coordinate beyond the model")


def _first(
    positions: np.ndarray, weights: np.ndarray, names: list[str], model: PhysicsModel
) -> np.ndarray:
    """The rest pose turned and moved to the observed hips and trunk, limbs slightly bent."""

    def seen(name: str) -> bool:
        return name in names and weights[names.index(name)] > 0

    def at(name: str) -> np.ndarray:
        return positions[names.index(name)]

    above = [name for name in ("left_shoulder", "right_shoulder", "neck", "head") if seen(name)]
    if not (seen("left_hip") and seen("right_hip") and above):
        raise FormatError(
            "the first frame needs left_hip, right_hip and a shoulder, neck or head to start from"
        )
    hips = (at("left_hip") + at("right_hip")) / 2
    up = np.mean([at(name) for name in above], axis=0) - hips
    right = at("right_hip") - at("left_hip")
    up = up / np.linalg.norm(up)
    right = right - (right @ up) * up
    right = right / np.linalg.norm(right)
    q = _rest(model)
    q[:3] = hips
    q[3:7] = _quaternion(np.stack([np.cross(up, right), up, right], axis=1))
    for body, (begin, end) in zip(model.bodies, rotation_spans(model)):
        if end - begin == 1:
            q[begin] = np.clip(0.0, body.lower + 0.3, body.upper - 0.3)
    return q


def _quaternion(matrix: np.ndarray) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    x, y, z, w = Rotation.from_matrix(matrix).as_quat()
    return np.array([w, x, y, z])


def _scale(positions: np.ndarray, weights: np.ndarray, names: list[str], rest: np.ndarray) -> float:
    """The model's limb lengths over the observed ones: the median over frames of the sums."""
    ours, theirs = 0.0, np.zeros(len(positions))
    for side in ("left", "right"):
        for ends in LIMBS:
            pair = [names.index(f"{side}_{end}") for end in ends if f"{side}_{end}" in names]
            if len(pair) == 2 and (weights[:, pair] > 0).any():
                ours += float(np.linalg.norm(rest[pair[0]] - rest[pair[1]]))
                theirs += np.linalg.norm(positions[:, pair[0]] - positions[:, pair[1]], axis=1)
    length = float(np.median(theirs))
    if ours > 0 and not length > 0:
        raise FormatError("the observed limbs have length 0: wrong units or an empty track")
    return ours / length if ours > 0 else 1.0
