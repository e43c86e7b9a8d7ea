"""`optimus configs`: which configurations and sweeps there are."""

from __future__ import annotations

from dataclasses import dataclass

from launch import Say


@dataclass(frozen=True)
class Configs:
    """List the configurations for `optimus train` and the sweeps for `optimus sweep`."""

    def run(self, say: Say) -> int:
        """Exit code 0."""
        from launch import configs

        runs, sweeps = configs.summaries()
        width = max(map(len, (*runs, *sweeps))) + 2
        for title, found in (("optimus train", runs), ("optimus sweep", sweeps)):
            say(f"{title} ...")
            for name, summary in found.items():
                say(f"  {name:<{width}}{summary}")
        return 0
