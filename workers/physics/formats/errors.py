"""The one exception of the readers."""

from __future__ import annotations

from optimus.errors import UserError


class FormatError(UserError, ValueError):
    """A file is not what its reader expects; one line naming file, field or line, and remedy."""
