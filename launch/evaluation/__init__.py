"""Judging weights: start against end, held-out problems, and the role that does both in a run."""
