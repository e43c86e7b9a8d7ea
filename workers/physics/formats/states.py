"""From joint positions to states of the model: inverse kinematics by damped Gauss-Newton.

    minimise  sum over sites of w |site(q) - p|^2 + CLOSE |q - q_before|^2 + REST |joints of q|^2

frame after frame, each from the one before. CLOSE and REST decide only what the positions leave
open, such as turns about a limb.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np

from workers.physics.formats import want
from workers.physics.formats.keypoints import Keypoints
from workers.physics.formats.site_map import Seen, SiteMap, to_sites
from workers.physics.model import PhysicsModel, model_text
from workers.physics.model.rotations import exp_map, from_matrix, multiply
from workers.physics.motion import Clip, displacement, rotation_spans, without_sign_jumps
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


def clip_from_keypoints(track: Keypoints, sites: SiteMap, model: PhysicsModel) -> tuple[Clip, Fit]:
    """The model's motion that comes closest to a 3-D track, at the track's rate, on the ground.

    FormatError when the hips and a point above them are not in the map, which leaves no way to
    start.
    """
    simulator = Simulator(model_text(model), 1 / 120, "pd")
    names = [site.name for site in model.sites]
    positions, weights = to_sites(track, sites, names)
    scale = _scale(positions, weights, names, simulator.sites(_rest(model)))
    positions = scale * positions
    q = np.empty((len(positions), simulator.nq))
    before = _first((positions[0], weights[0]), names, model)
    for frame in range(len(positions)):
        count = FIRST_ITERATIONS if frame == 0 else ITERATIONS
        seen = positions[frame], weights[frame]
        before = q[frame] = _fit(simulator, model, before, seen, count)
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


def move(q: np.ndarray, step: np.ndarray, model: PhysicsModel, freely: bool = False) -> np.ndarray:
    """State q [nq] after a small displacement [nv] (position, then turns in body axes).

    Args:
      q, step: the state and what is added to it. model: whose they are.
      freely: as a derivative wants it: hinges may pass their limits, nothing is normalised.
    """
    moved, at = q.copy(), 3
    moved[:3] += step[:3]
    for body, (begin, end) in zip(model.bodies, rotation_spans(model)):
        part = step[at : at + min(3, end - begin)]
        at += len(part)
        if len(part) == 1:
            angle = moved[begin] + part[0]
            moved[begin] = angle if freely else np.clip(angle, body.lower, body.upper)
            continue
        if part.any():
            moved[begin:end] = multiply(q[begin:end], exp_map(part))
        if not freely:
            moved[begin:end] /= np.linalg.norm(moved[begin:end])
    return moved


def _rest(model: PhysicsModel) -> np.ndarray:
    spans = rotation_spans(model)
    q = np.zeros(spans[-1][1])
    q[[begin for begin, end in spans if end - begin == 4]] = 1.0
    return q


def _fit(
    simulator: Simulator, model: PhysicsModel, before: np.ndarray, seen: Seen, iterations: int
) -> np.ndarray:
    q, rest, nv = before, _rest(model), simulator.nv
    positions, root = seen[0], np.sqrt(np.repeat(seen[1], 3))
    joints = (np.arange(nv) >= 6).astype(float)
    damping = 1e-3

    def errors(q: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        """Of the sites, from the frame before, from the rest pose; and what they cost together."""
        residual = root * (simulator.sites(q) - positions).ravel()
        back, bent = displacement(before, q, model), joints * displacement(rest, q, model)
        cost = residual @ residual + CLOSE * back @ back + REST * bent @ bent
        return residual, back, bent, cost

    for _ in range(iterations):
        here = simulator.sites(q)
        nudged = [simulator.sites(move(q, STEP * e, model, freely=True)) for e in np.eye(nv)]
        change = np.stack([(each - here).ravel() for each in nudged], axis=1)
        jacobian = change * root[:, None] / STEP
        residual, back, bent, cost = errors(q)
        gradient = jacobian.T @ residual + CLOSE * back + REST * bent
        hessian = jacobian.T @ jacobian + np.diag(CLOSE + REST * joints)
        for _ in range(8):
            step = -np.linalg.solve(hessian + damping * np.eye(nv), gradient)
            step *= min(1.0, 0.5 / np.max(np.abs(step)) if step.any() else 1.0)
            trial = move(q, step, model)
            if errors(trial)[-1] < cost:
                q, damping = trial, max(damping / 5, 1e-9)
                break
            damping *= 5
        else:
            break  # no descent left
        if np.max(np.abs(step)) < 1e-7:
            break
    return q


def _first(seen: Seen, names: list[str], model: PhysicsModel) -> np.ndarray:
    """The rest pose turned and moved to the observed hips and trunk, limbs slightly bent."""

    at = {name: p for name, p, weight in zip(names, *seen) if weight > 0}
    above = [at[name] for name in ("left_shoulder", "right_shoulder", "neck", "head") if name in at]
    needed = "left_hip, right_hip and a shoulder, neck or head"
    start = {"left_hip", "right_hip"} <= at.keys() and above
    want(start, f"the first frame needs {needed} to start from")
    hips = (at["left_hip"] + at["right_hip"]) / 2
    up = np.mean(above, axis=0) - hips
    right = at["right_hip"] - at["left_hip"]
    up = up / np.linalg.norm(up)
    right = right - (right @ up) * up
    right = right / np.linalg.norm(right)
    q = _rest(model)
    q[:3] = hips
    q[3:7] = from_matrix(np.stack([np.cross(up, right), up, right], axis=1))
    for body, (begin, end) in zip(model.bodies, rotation_spans(model)):
        if end - begin == 1:
            q[begin] = np.clip(0.0, body.lower + 0.3, body.upper - 0.3)
    return q


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
    if ours == 0:
        return 1.0
    want(length > 0, "the observed limbs have length 0: wrong units or an empty track")
    return ours / length
