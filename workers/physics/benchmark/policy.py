"""A user's policy, scored like everything else.

FILE.npz   `controls` float64 [N] for every window, or [W, N], a row for each window in the
           benchmark's order: the x of the loss.
FILE.py    defines act(q, qd, time) -> PD targets [n_target]: called once a control period with
           the state q [nq] and velocity qd [nv] of the simulated body and the time in s, it
           answers with joint targets in the layout of q[7:] (quaternions are normalised). The file
           is run: it is the user's own code.
"""

import itertools
import runpy
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np

from optimus.errors import ConfigError, require
from workers.physics.loss import PhysicsOptions, humanoid
from workers.physics.loss.reconstruction import Reconstruction
from workers.physics.motion import rotation_spans
from workers.physics.simulation import Simulator, Status
from workers.physics.simulation.window_spec import WindowSpec

Act = Callable[[np.ndarray, np.ndarray, float], Any]


def read(path: str | Path) -> np.ndarray | Act:
    """Controls [N] or [W, N], or `act`; `ConfigError` naming the file and what it lacks."""
    path = Path(path)
    require(path.is_file(), f"--policy {path}: no such file")
    if path.suffix == ".npz":
        controls = read_controls(path, "--policy ", "controls")
        fits = controls.ndim in (1, 2) and bool(np.isfinite(controls).all())
        require(fits, f"--policy {path}: controls must be [N] or [W, N] and finite")
        return controls
    either = "want a .npz with controls or a .py with act(q, qd, time)"
    require(path.suffix == ".py", f"--policy {path}: {either}")
    try:
        act = runpy.run_path(str(path)).get("act")
    except Exception as error:  # the user's own code
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ConfigError(f"--policy {path}: {reason}") from None
    require(callable(act), f"--policy {path}: defines no function act(q, qd, time)")
    return cast("Act", act)


def read_controls(path: Path, prefix: str, *names: str) -> np.ndarray:
    """The first array of these names in an .npz, float64 `[...]`.

    Args:
      path: of the file. prefix: of messages, before it. *names: any of them will do.

    Raises:
      ConfigError: there is no such file or array, or it holds no numbers.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            name = next((each for each in names if each in arrays.files), names[-1])
            return np.asarray(arrays[name], np.float64, order="C")
    except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
        wanted = " or ".join(map(repr, names))
        raise ConfigError(f"{prefix}{path}: no array {wanted} of numbers ({error})") from None


def controls_for(controls: np.ndarray, index: int, windows: int, dim: int) -> np.ndarray:
    """The controls of a window, `[dim]`.

    Args:
      controls: of `read`. index, windows: which window of how many. dim: N.

    Raises:
      ValueError: sizes do not fit.
    """
    fits = controls.ndim == 1 or len(controls) == windows
    require(fits, f"policy: controls has {len(controls)} rows for {windows} windows")
    row = controls[index] if controls.ndim == 2 else controls
    needs = f"{len(row)} numbers a window, this one needs {dim}"
    require(row.shape == (dim,), f"policy: controls has {needs}")
    return np.ascontiguousarray(row)


def follow(act: Act, task: Reconstruction, options: PhysicsOptions) -> np.ndarray | None:
    """States q [S + 1, nq] of the body under the policy, None after an overflow.

    The policy acts at options.control_rate under PD control, whatever options.control is.
    """
    simulator = task.simulator
    steps = len(task.spec.control_index)
    periods = max(1, round(steps * simulator.dt * options.control_rate))
    bounds = [round(k * steps / periods) for k in range(periods + 1)]
    q, qd = task.spec.q0, task.spec.qd0
    states = [q[None]]
    for begin, end in itertools.pairwise(bounds):
        targets = _targets(act(q.copy(), qd.copy(), begin * simulator.dt), simulator)
        axes, steps_of = simulator.n_actuated, (end - begin, 1)
        spec = WindowSpec(
            n_controls=axes,
            control_index=np.tile(np.arange(axes, dtype=np.int32), steps_of),
            targets=np.tile(targets, steps_of),
            frame_steps=np.array([end - begin]),
            reference=np.zeros((1, simulator.n_sites, 3)),
            q0=q,
            qd0=qd,
        )
        status, qs, qds = simulator.window(spec).rollout(np.zeros(axes))
        if status is not Status.OK:
            return None
        q, qd = qs[-1], qds[-1]
        states.append(qs[1:])
    return np.concatenate(states)


def _targets(answer: Any, simulator: Simulator) -> np.ndarray:
    targets = np.array(answer, np.float64).ravel()
    count = simulator.n_target
    finite = targets.shape == (count,) and bool(np.isfinite(targets).all())
    require(finite, f"policy: act must return {count} finite numbers, got {targets.shape}")
    for begin, end in rotation_spans(humanoid())[1:]:
        if end - begin == 4:
            part = targets[begin - 7 : end - 7]
            length = np.linalg.norm(part)
            require(bool(length >= 1e-6), "policy: act returned a quaternion of length 0")
            part /= length
    return targets
