"""Sizes and forms of the learned optimizer: plain values, so that reading a configuration needs no
JAX."""

from __future__ import annotations

from dataclasses import dataclass

RANK_ONE_FORMS = ("sym", "signed", "asym")
BRANCHES = ("encoder", "features")
TIME_FEATURES = ("shifted", "paper")


def _require(valid: bool, field: str, value: object, allowed: str) -> None:
    if not valid:
        raise ValueError(f"OptimizerConfig.{field} is {value!r}, must be {allowed}")


@dataclass(frozen=True)
class OptimizerConfig:
    """Sizes and forms of the optimizer; the defaults are the paper's model for human motion."""

    dim: int = 128  # D, channels per coordinate
    encoders: int = 3  # L, also the number of rank-one terms per step
    heads: int = 4
    ffn_multiplier: int = 4
    lambda_a: float = 0.1
    lambda_b: float = 0.1
    rank_one: str = "sym"  # g u u^T with g > 0; "signed": g in (-1, 1); "asym": g u v^T
    b_decay: float = 1.0  # B <- I + b_decay (B - I) + dB; 1 is the paper, 0.9 trains stably
    rank: int = (
        0  # 0: B is dense, as in the paper; else factored, from the last `rank` steps' terms
    )
    branch: str = "encoder"  # what alpha and d are read from; or "features"
    time_features: str = "shifted"  # tanh(t/x - 1) as in the code; "paper": tanh(t/x)

    def __post_init__(self) -> None:
        for field in ("dim", "encoders", "heads", "ffn_multiplier"):
            value = getattr(self, field)
            valid = isinstance(value, int) and not isinstance(value, bool) and value >= 1
            _require(valid, field, value, "an integer of at least 1")
        rank_valid = isinstance(self.rank, int) and not isinstance(self.rank, bool)
        _require(rank_valid and self.rank >= 0, "rank", self.rank, "an integer of at least 0")
        multiple = f"a multiple of heads = {self.heads}"
        _require(self.dim % self.heads == 0, "dim", self.dim, multiple)
        for field in ("lambda_a", "lambda_b"):
            value = getattr(self, field)
            # Written so that NaN fails too.
            _require(0.0 < value < float("inf"), field, value, "positive and finite")
        _require(0.0 <= self.b_decay <= 1.0, "b_decay", self.b_decay, "within [0, 1]")
        for field, allowed in (
            ("rank_one", RANK_ONE_FORMS),
            ("branch", BRANCHES),
            ("time_features", TIME_FEATURES),
        ):
            value = getattr(self, field)
            _require(value in allowed, field, value, f"one of {', '.join(allowed)}")
