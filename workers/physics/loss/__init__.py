"""The physics loss: joint controls over a short window of motion, compared with a clip.

    loss(x) = weight_position * mean over frames and sites |site - reference|^2   (m^2)
            + weight_control * mean x^2
            + further terms, each a weight times a mean of squares (table in `WindowSpec`)

The lower bound is 0. x holds one number for each actuated axis and control period: 0.25 s at
30 Hz is 210 variables, 0.5 s 420, 1 s 840; with initial_velocity the nv entries of the velocity
follow. Simulator and gradient: `docs/results/physics.md`.
"""

from __future__ import annotations

import functools
from typing import Literal, TypeVar, get_args

import numpy as np

from optimus.errors import require, require_known
from workers.physics.loss.options import DEFAULT
from workers.physics.loss.options import PhysicsOptions as PhysicsOptions
from workers.physics.loss.options import options_hash as options_hash
from workers.physics.loss.spec import clip_of, humanoid_simulator
from workers.physics.loss.spec import humanoid as humanoid
from workers.physics.loss.spec import window_spec as window_spec
from workers.physics.motion import Clip
from workers.physics.simulation import Simulator, Status
from workers.physics.simulation.window_spec import WindowSpec

Backend = Literal["direct", "tensorflow"]
Loss = TypeVar("Loss", bound="PhysicsLoss")


def normal(seed: int, count: int) -> np.ndarray:
    """Normal noise `[count]`, drawn by the seed."""
    return np.random.Generator(np.random.Philox(key=seed)).standard_normal(count)


class PhysicsLoss:
    """One window of one clip as a function of its controls, with an exact gradient.

    `window` is the simulator's (rollouts), `spec` what it simulates and against what.

    Args:
      clip: a name in `motion.CLIPS`, or a user's `Clip` (`workers.physics.formats`).
      start, seconds: the window within the clip, s; `seconds` is a whole number of steps dt.
      options: what decides the loss besides its window.
      backend: "direct" (ctypes) or "tensorflow" (the op); same bits.

    Raises:
      ValueError: in one line: no such clip, no such window, or a wrong option.
    """

    def __init__(
        self,
        clip: str | Clip,
        start: float,
        seconds: float,
        options: PhysicsOptions = DEFAULT,
        backend: Backend = "direct",
    ):
        simulator = humanoid_simulator(options.dt, options.control)
        spec = window_spec(clip, float(start), float(seconds), options, simulator)
        self.options = options
        self._set(spec, simulator, clip_of(clip).name, backend)

    @classmethod
    def from_spec(
        cls: type[Loss],
        spec: WindowSpec,
        simulator: Simulator,
        name: str = "spec",
        options: PhysicsOptions = DEFAULT,
        backend: Backend = "direct",
    ) -> Loss:
        """The loss of any motion: users' data, users' bodies.

        Args:
          spec: schedule, start, references and weights (all taken from it, none from `options`).
          simulator: of the body; its dt is the spec's.
          name: what `clip` says.
          options: only initial_noise is used.
          backend: as of the class.

        Raises:
          ValueError: in one line: the shape or contents of an array are wrong.
        """
        loss = cls.__new__(cls)
        loss.options = options
        loss._set(spec, simulator, name, backend)
        return loss

    def _set(self, spec: WindowSpec, simulator: Simulator, clip: str, backend: Backend) -> None:
        require_known(backend, get_args(Backend), "backend")
        self.clip = clip
        self.spec = spec
        self.simulator = simulator
        self.seconds = len(spec.control_index) * simulator.dt
        self.window = simulator.window(spec)
        self._evaluate = self.window.loss_and_grad
        if backend == "tensorflow":
            from workers.physics.simulation.tf_op import evaluate

            self._evaluate = functools.partial(evaluate, self.window.handle)

    @property
    def dim(self) -> int:
        """N, the number of variables."""
        return self.window.dim

    def initial_guess(self, seed: int) -> np.ndarray:
        """x0 float64 `[N]`: options.initial_noise times normal noise drawn by the seed."""
        if self.options.initial_noise == 0:
            return np.zeros(self.dim)
        return self.options.initial_noise * normal(seed, self.dim)

    def evaluate(self, x: np.ndarray) -> tuple[Status, float, np.ndarray]:
        """(status, loss, gradient float64 `[N]`) at x float64 `[N]`.

        Status.NONFINITE: the motion overflowed; loss is +inf and the gradient all nan.
        ValueError when x has another shape or dtype or holds nan or infinity.
        """
        kind = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
        require(kind == np.float64, f"x must be a float64 array [{self.dim}], got {kind}")
        require(x.shape == (self.dim,), f"x must have shape ({self.dim},), got {x.shape}")
        finite = np.isfinite(x)
        bad = int(np.argmin(finite))
        require(bool(finite.all()), f"x must be finite, x[{bad}] is {x[bad]}")
        return self._evaluate(x)

    def value_and_grad(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """(loss, gradient float64 `[N]`); (+inf, all nan) when the motion overflowed."""
        _, loss, grad = self.evaluate(x)
        return loss, grad
