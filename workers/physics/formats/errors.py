"""The one exception of the readers."""

from __future__ import annotations


class FormatError(ValueError):
    """A file is not what its reader expects; one line naming file, field or line, and remedy."""
