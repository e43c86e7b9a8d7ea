"""Motions as pictures: stick figures, GIFs, and what `optimus render` shows."""
