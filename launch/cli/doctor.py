"""`optimus doctor`: whether everything native works here."""

from dataclasses import dataclass

from launch import Say


@dataclass(frozen=True)
class Doctor:
    """Load every native library, do one round trip through each engine, say what is wrong."""

    quick: bool = False
    """Leave out the small real run at the end (about 40 s)."""

    def run(self, say: Say) -> int:
        """Exit code: 0 when nothing failed, else 1."""
        from launch.doctor import doctor

        return doctor(quick=self.quick)
