"""Sizes and forms of the learned optimizer: plain values, so that reading a configuration needs no
JAX.

Two are frozen by name. `PAPER` is the model of the paper (CVPR 2023) as far as its supplement
tells, with our choices where it is silent; `PLUS` is the form we would train today. Sizes are
changed with `dataclasses.replace(PLUS, dim=32, encoders=2)`.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from optimus.errors import require
from optimus.fields import check_fields, whole, within

RankOne = Literal["sym", "signed", "gated", "asym", "none"]
AttentionPrecision = Literal["float32", "bfloat16"]

# Sizes beyond these are typos, found before memory is taken for them or a program traced.
_WIDEST, _DEEPEST, _MOST_WEIGHTS = 8192, 128, 2**30
_FLOATS = (1e-30, 1e30)  # what float32 holds, with room for a product
_LEAST_EPS = 1e-30  # squares of float32 stay exact enough down to it


def _require_few(weights: int, sizes: str) -> None:
    few = weights <= _MOST_WEIGHTS
    require(few, f"optimizer.{sizes}: {weights:.1e} weights, want at most {_MOST_WEIGHTS:.1e}")


@dataclass(frozen=True)
class OptimizerConfig:
    """Sizes and forms of the optimizer; the defaults are the paper's model for human motion.

    The paper fixes D, L, lambda_a, lambda_b, the 39 features and that B is a sum of rank-one terms.
    The fields after `time_features` are options of ours on which it is silent.

    Attributes:
      dim: D, channels per coordinate.
      encoders: L, also the number of rank-one terms per step.
      heads: attention heads, dividing D.
      ffn_multiplier: width of the encoders' hidden layer, in units of D.
      lambda_a, lambda_b: the step is B [lambda_a exp(lambda_b alpha) * d].
      rank_one: the terms of dB. "sym": g u u^T with g > 0; "signed": g in (-1, 1), so that B can
        shrink again; "gated": as "signed", with g predicted at each step from the mean over the
        coordinates of the encoder's output; "asym": g u v^T, g > 0; "none": B = I, for ablations.
      b_decay: B <- I + b_decay (B - I) + dB. 1 is the paper, 0.9 trains stably.
      rank: 0: B is dense, as in the paper; else factored, from the last `rank` steps' terms.
      time_features: "shifted": tanh(t/x - 1) as in the public code; "none": without these eleven
        inputs, for ablations.
      position: what stands in the channel "parameter". "x", the paper; "displacement": x - x0;
        "none": 0. With either of the last two, moving function and start moves the whole run.
      place: adds the channels of `trajectory_features.PLACE_NAMES`, where x is relative to the
        origin. The paper's channel "parameter" is normalised: it tells how coordinates compare.
      curvature: adds the normalised channels of `trajectory_features.CURVATURE_NAMES`: last step,
        last change of the gradient, B g. The first two are the data of a quasi-Newton update.
      progress: adds the scalars of `trajectory_features.PROGRESS_NAMES`, the same for all
        coordinates: how far the gradient's length has fallen, and whether the last step went too
        far.
      secant: m > 0: the L-BFGS direction of the last m pairs of a step and a change of the
        gradient is an input (`trajectory_features.SECANT_NAMES`), and a share of it between 0 and 2
        that the network predicts for every coordinate is added to the step. 0: no such thing.
      gradient_scale: "raw"; or "first": gradients are divided by the root mean square of the first
        one that is not 0, so that a constant factor on f changes nothing.
      normalizer_eps: added to a channel's mean square before dividing by its root. 1e-5 as in the
        public code lets channels fade below 3e-3.
      step_scale: "fixed"; or "relative": lambda_a is only the first step's length, after that a
        running mean of the lengths of the steps taken stands in its place. Steps can then grow
        and shrink geometrically over any number of decades.
      b_decay_learned: b_decay, which must lie inside (0, 1), is where a trained decay starts.
      attention: "full" over the coordinates, in time and memory N^2; or "inducing", linear: a few
        trained points attend to the coordinates and the coordinates to those; or "none", for
        ablations: coordinates then share only the normalisation of their features and B.
      inducing_points: how many, where attention is "inducing".
      attention_precision: "float32"; or "bfloat16": what attention multiplies is rounded to
        bfloat16, for hardware with units for it; sums and softmax stay float32.
    """

    dim: int = whole(128, 1, _WIDEST)
    encoders: int = whole(3, 1, _DEEPEST)
    heads: int = whole(4, 1, _WIDEST)
    ffn_multiplier: int = whole(4, 1, _WIDEST)
    lambda_a: float = within(0.1, *_FLOATS)
    lambda_b: float = within(0.1, *_FLOATS)
    rank_one: RankOne = "sym"
    b_decay: float = within(1.0, 0.0, 1.0)
    rank: int = whole(0, 0, _WIDEST)
    time_features: Literal["shifted", "none"] = "shifted"
    position: Literal["x", "displacement", "none"] = "x"
    place: bool = False
    curvature: bool = False
    progress: bool = False
    secant: int = whole(0, 0, _WIDEST)
    gradient_scale: Literal["raw", "first"] = "raw"
    normalizer_eps: float = within(1e-5, _LEAST_EPS, 1.0)
    step_scale: Literal["fixed", "relative"] = "fixed"
    b_decay_learned: bool = False
    attention: Literal["full", "inducing", "none"] = "full"
    inducing_points: int = whole(32, 1, _WIDEST)
    attention_precision: AttentionPrecision = "float32"

    def __post_init__(self) -> None:
        check_fields(self, "optimizer")
        weights = self.encoders * (4 + 2 * self.ffn_multiplier) * self.dim**2
        sizes = f"{self.dim} with {self.encoders} encoders, ffn x {self.ffn_multiplier}"
        _require_few(weights, f"dim: got {sizes}")
        whole_heads = self.dim % self.heads == 0
        wanted = f"want a multiple of heads ({self.heads})"
        require(whole_heads, f"optimizer.dim: got {self.dim}, {wanted}")
        inside = 0.0 < self.b_decay < 1.0 or not self.b_decay_learned
        wanted = "want inside (0, 1) where it is learned"
        require(inside, f"optimizer.b_decay: got {self.b_decay}, {wanted}")
        got = f"optimizer.attention_precision: got {self.attention_precision!r}"
        used = self.attention != "none" or self.attention_precision == "float32"
        require(used, f"{got}, want float32 where attention is none")
        for field in ("rank", "b_decay_learned"):
            value = getattr(self, field)
            wanted = f"want {type(value)()} where rank_one is none"
            used = self.rank_one != "none" or not value
            require(used, f"optimizer.{field}: got {value}, {wanted}")

    @property
    def factored(self) -> bool:
        """Whether B is kept as its terms (of which there may be none), not as a matrix."""
        return self.rank > 0 or self.rank_one == "none"

    @property
    def linear_cost(self) -> bool:
        """Whether time and memory of a step are linear in N, not quadratic."""
        return self.attention != "full" and self.factored


PAPER = OptimizerConfig()
# Chosen by trials of 600 updates (docs/experiments/2026-11-forms.md): the relative step length
# gains most. Seeing x itself scores better, and is not wanted: where minima lie relative to the
# origin is a habit of the training tasks.
PLUS = OptimizerConfig(
    dim=64,
    encoders=3,
    rank_one="gated",
    b_decay=0.9,
    b_decay_learned=True,
    position="displacement",
    curvature=True,
    progress=True,
    gradient_scale="first",
    normalizer_eps=1e-18,
    step_scale="relative",
)
CONFIGURATIONS = MappingProxyType({"paper": PAPER, "plus": PLUS})


@dataclass(frozen=True)
class AdafactorMlpConfig:
    """Sizes and multipliers; the defaults are the published ones: 197 meta-parameters."""

    hidden: int = whole(4, 1, _WIDEST)  # width of the hidden layers
    layers: int = whole(2, 1, _DEEPEST)  # hidden layers, ReLU
    step_mult: float = within(1e-3, *_FLOATS)
    exp_mult: float = within(1e-3, *_FLOATS)

    def __post_init__(self) -> None:
        check_fields(self, "optimizer")
        weights = self.layers * self.hidden**2
        _require_few(weights, f"hidden: got {self.hidden} with {self.layers} layers")
