"""The presets: what each of them prescribes for a function and a dimension. Plain values.

`docs/benchmark.md` explains the rules; `optimus.problems.presets` makes problems of them.
"""

from __future__ import annotations

from dataclasses import dataclass

from optimus.problems.functions import function

SCALES = {"sphere": 0.512, "rotated_hyper_ellipsoid": 6.5536, "sum_of_powers": 0.1}
TUNING_START = 1 << 20  # starts from here on are for choosing options, never for results

# Raised for a (preset, function) whose numbers change; part of the hash of a benchmark's cell.
REVISIONS = {
    ("paper", "trid"): 1,  # sums in pairs
    ("fair-shift", "perm"): 1,  # the shift in proportion to the box
    ("fair-rotate", "perm"): 1,
}


@dataclass(frozen=True)
class Preset:
    """What holds for every function of a preset.

    Attributes:
      dtype: "float32" or "float64", of objective, gradient and start.
      slips: with the paper's Levy, Perm, Trid and Powell.
      shift: half-width of the box of δ, 0 for none.
      rotate: with a random orthogonal matrix.
      most_dim: largest N, where there is one.
      counts_evaluations: the budget is evaluations; else iterations.
    """

    name: str
    dtype: str
    slips: bool = False
    shift: float = 0.0
    rotate: bool = False
    most_dim: int | None = None
    counts_evaluations: bool = True


PRESETS = {
    each.name: each
    for each in (
        Preset("paper", "float32", slips=True, counts_evaluations=False),
        Preset("fair-shift", "float64", shift=5.0),
        Preset("fair-rotate", "float64", shift=5.0, rotate=True, most_dim=100),
    )
}


SUITE = Preset(
    "suite", "float64"
)  # of the problems that `optimus.problems.suites` takes from elsewhere


def preset(name: str) -> Preset:
    """A preset by name; raises `ValueError` naming the known ones."""
    if name == SUITE.name:
        return SUITE
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}; known: {', '.join(PRESETS)}")
    return PRESETS[name]


def revision(preset_name: str, function_name: str) -> int:
    """How often the numbers of a function have changed under a preset."""
    return REVISIONS.get((preset_name, function_name), 0)


def dimension(preset_name: str, function_name: str, dim: int) -> int:
    """The `dim` a preset has in place of the one asked for: Powell's 2 is 4 where it is true.

    Raises:
      ValueError: unknown names, or a dimension that the preset leaves out, and why.
    """
    chosen, true = preset(preset_name), function(function_name)
    if chosen is SUITE:
        raise ValueError(
            f"{preset_name} has no function {function_name!r}; see optimus.problems.suites"
        )
    if dim < 1:
        raise ValueError(f"the dimension must be at least 1: {dim}")
    if chosen.most_dim is not None and dim > chosen.most_dim:
        raise ValueError(f"{preset_name} ends at dimension {chosen.most_dim}: {dim}")
    if chosen.slips:
        size(chosen, function_name, dim)
        return dim
    if function_name == "perm" and dim not in (2, 10):
        raise ValueError(f"{preset_name} has perm in dimensions 2 and 10 only: {dim}")
    if function_name == "sum_of_powers" and dim > 100:
        raise ValueError(f"{preset_name} ends sum_of_powers at dimension 100: {dim}")
    if function_name == "powell":
        dim = 4 * -(-dim // 4)
    true.check(dim)
    return dim


def size(chosen: Preset, function_name: str, dim: int) -> int:
    """N, the number of coordinates of the start; raises `ValueError` where there is none."""
    size = 4 * -(-dim // 4) if chosen.slips and function_name == "powell" else dim
    function(function_name).check(size)
    return size


def start_half_width(chosen: Preset, function_name: str) -> float:
    """Of the box of the starts: 10, and 1 for the true Perm, whose powers go up to x^N."""
    return 1.0 if function_name == "perm" and not chosen.slips else 10.0


def shift_half_width(chosen: Preset, function_name: str) -> float:
    """Of the box of δ: half of the box of the starts, so that the optimum stays among them.

    A shift of 5 would take Perm's optimum out of its box of ±1 in nearly every coordinate, and
    start it at 1e20 in 10 dimensions. Sum of Powers has 2: it overflows float64 beyond.
    """
    if function_name == "sum_of_powers":
        return min(2.0, chosen.shift)
    return chosen.shift * start_half_width(chosen, function_name) / 10.0
