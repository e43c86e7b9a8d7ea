"""`optimus render`: a reconstruction beside its reference, as a moving picture."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from launch import Say
from optimus.errors import ConfigError, require_positive, require_size, require_within
from optimus.installation import extra_command


@dataclass(frozen=True)
class Render:
    """Draw a reconstructed motion beside its reference, as GIF, MP4 (needs ffmpeg) or PNG.

    Examples:

      optimus render walk --seconds 1 --out walk.gif
      optimus render runs/physics/cells/optimus-roll@0.000-0123456789abcdef.npz --out roll.gif
    """

    source: tyro.conf.Positional[str]
    """A clip's name, reconstructed now by L-BFGS, or a cell of `optimus bench physics`."""
    out: Path = Path("motion.gif")
    """What to write: .gif, .mp4 or .png (six moments)."""
    start: float = 0.0
    """Start of the window in the clip, s."""
    seconds: float = 0.5
    """Length of the window, s."""
    controls: Path | None = None
    """An .npz with `controls`, to be shown instead of what L-BFGS finds."""
    evaluations: int = 100
    """Loss evaluations L-BFGS may make."""
    control: Literal["pd", "torque"] = "pd"
    """What x is: PD targets or torques."""
    target_base: Literal["initial", "reference"] = "initial"
    """Where PD targets start: initial (the first pose held) or reference (the clip)."""

    def run(self, say: Say) -> int:
        """Exit code; a mistake in the arguments is a `ConfigError`."""
        require_positive(self.seconds, "--seconds", 3600.0)
        require_within(self.start, 0.0, 1e6, "--start")
        require_size(self.evaluations, "--evaluations", 1, 10**7)
        try:
            from workers.physics.loss import PhysicsOptions
            from workers.physics.rendering.showing import main

            given = dict(vars(self))
            loss = {name: given.pop(name) for name in ("control", "target_base")}
            return main(**given, options=PhysicsOptions(**loss), say=say)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        except ModuleNotFoundError as error:
            if error.name != "PIL":
                raise
            raise ConfigError(f"drawing needs Pillow: {extra_command('bench')}") from None
