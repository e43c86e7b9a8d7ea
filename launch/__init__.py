"""The system around the optimizer: configurations, runners, program, monitoring, commands."""

from collections.abc import Callable

Say = Callable[[str], None]  # takes lines for the user
