"""Options of the physics loss, and the hash that stands for them."""

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass

from optimus.errors import require, require_known, require_positive, require_within
from workers.physics.native.binding import TERMS
from workers.physics.simulation import CONTROLS
from workers.physics.simulation.window_spec import Camera

VERSION = 1  # part of options_hash: raise it whenever the same options would mean another loss


@dataclass(frozen=True)
class PhysicsOptions:
    """Options of a loss besides its window.

    Attributes:
      control: "pd": x is added to PD targets, in units of control_scale rad (a rotation vector in
        the child's axes on spherical joints). "torque": x in units of the joint's largest torque
        (y = control_scale * x gives torque_max * y / sqrt(1 + y^2)).
      control_rate: Hz.
      frame_rate: compared frames a second (the last frame is always the window's end).
      dt: simulation step, s.
      target_base: PD targets at x = 0: "initial" holds the window's first pose, so the optimiser
        has to find the motion; "reference" follows the clip.
      control_scale: see `control`.
      weight_position: 1/m^2 (100: an rms error of 10 cm is a loss of 1).
      weight_control: on the mean of x^2.
      initial_noise: standard deviation of initial_guess; 0 starts at x = 0 whatever the seed.
      weight_root, weight_com: 1/m^2, on the root's and the centre of mass's position.
      weight_velocity: s^2/m^2, on the sites' velocities.
      weight_reprojection: 1/pixels^2, on the sites seen through `camera` (for clips the keypoints
        are the reference's sites as it sees them).
      weight_limit: 1/rad^2, on excesses over joint limits.
      weight_smoothness: on squared changes from one control to the axis's next.
      site_weight: one number for each site, None for ones: weights of the mean in the position,
        velocity and reprojection terms; 0 leaves a site out.
      camera: of the reprojection term.
      initial_velocity: x ends with nv more numbers, which times velocity_scale are added to the
        clip's initial velocity.
      velocity_scale: m/s and rad/s.
    """

    control: str = "pd"
    control_rate: float = 30.0
    frame_rate: float = 30.0
    dt: float = 1 / 120
    target_base: str = "initial"
    control_scale: float = 1.0
    weight_position: float = 100.0
    weight_control: float = 1e-3
    initial_noise: float = 0.0
    weight_root: float = 0.0
    weight_com: float = 0.0
    weight_velocity: float = 0.0
    weight_reprojection: float = 0.0
    weight_limit: float = 0.0
    weight_smoothness: float = 0.0
    site_weight: tuple[float, ...] | None = None
    camera: Camera | None = None
    initial_velocity: bool = False
    velocity_scale: float = 1.0

    def __post_init__(self) -> None:
        require_known(self.control, CONTROLS, "control")
        require_known(self.target_base, ("initial", "reference"), "target_base")
        for name in ("control_rate", "frame_rate", "dt", "control_scale", "velocity_scale"):
            require_positive(getattr(self, name), name)
        for name in (*(f"weight_{term}" for term in TERMS), "initial_noise"):
            require_within(getattr(self, name), 0.0, math.inf, name)
        data = [f"weight_{term}" for term in _DATA_TERMS]
        given = any(getattr(self, name) for name in data)
        require(given, f"all of {', '.join(data)} are 0, want one of them positive")
        seen = self.camera is not None or not self.weight_reprojection
        require(seen, "camera: got None, want one where weight_reprojection is not 0")


# Terms that compare the motion with data.
_DATA_TERMS = ("position", "root", "com", "velocity", "reprojection")
# Options of the first version. Later ones enter the hash where they differ from their default, so
# that losses that did not change keep theirs.
_FIRST = (
    *("control", "control_rate", "frame_rate", "dt", "target_base", "control_scale"),
    *("weight_position", "weight_control", "initial_noise"),
)


def options_hash(options: PhysicsOptions) -> str:
    """16 hexadecimal digits that stand for the options and the version of the loss."""
    default, given = dataclasses.asdict(DEFAULT), dataclasses.asdict(options)
    named = {k: value for k, value in given.items() if k in _FIRST or value != default[k]}
    text = json.dumps([VERSION, named], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


DEFAULT = PhysicsOptions()
