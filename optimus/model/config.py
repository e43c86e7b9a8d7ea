"""Sizes and forms of the learned optimizer: plain values, so that reading a configuration needs no
JAX.

Two are frozen by name. `PAPER` is the model of the paper (CVPR 2023) as far as its supplement
tells, with our choices where it is silent; `PLUS` is the form we would train today. Sizes are
changed with `dataclasses.replace(PLUS, dim=32, encoders=2)`.
"""

import typing
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from optimus.errors import (
    ConfigError,
    require,
    require_known,
    require_whole,
    require_within,
)

RankOne = Literal["sym", "signed", "gated", "asym", "none"]
TimeFeatures = Literal["shifted", "none"]
Position = Literal["x", "displacement", "none"]
Attention = Literal["full", "inducing", "none"]
AttentionPrecision = Literal["float32", "bfloat16"]
StepScale = Literal["fixed", "relative"]
GradientScale = Literal["raw", "first"]

# Options that older cards and configurations hold, with the only value that is still understood.
REMOVED = MappingProxyType({"branch": "encoder", "coord_pos": "none", "axes": 0})
REMOVED_CHOICES = MappingProxyType({"time_features": ("paper",)})


def refusal(path: str, value: object) -> ConfigError:
    """The error for something that was removed: `path` is a dotted field of a configuration."""
    return ConfigError(
        f"{path}: got {value!r}, which this version no longer has; commit 7acff6f is the last that "
        "can run it"
    )


def without_removed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of an `OptimizerConfig` as they were saved, without options that are no more.

    Raises:
      ConfigError: one of these is not at its default, so that this version cannot do the same.
    """
    for field, value in values.items():
        gone = field in REMOVED and value != REMOVED[field]
        if gone or value in REMOVED_CHOICES.get(field, ()):
            raise refusal(f"optimizer.{field}", value)
    return {field: value for field, value in values.items() if field not in REMOVED}


# Sizes beyond these are typos, found before memory is taken for them or a program traced.
_WIDEST, _DEEPEST, _MOST_WEIGHTS = 8192, 128, 2**30
_FLOATS = (1e-30, 1e30)  # what float32 holds, with room for a product


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

    dim: int = 128
    encoders: int = 3
    heads: int = 4
    ffn_multiplier: int = 4
    lambda_a: float = 0.1
    lambda_b: float = 0.1
    rank_one: RankOne = "sym"
    b_decay: float = 1.0
    rank: int = 0
    time_features: TimeFeatures = "shifted"
    position: Position = "x"
    place: bool = False
    curvature: bool = False
    progress: bool = False
    secant: int = 0
    gradient_scale: GradientScale = "raw"
    normalizer_eps: float = 1e-5
    step_scale: StepScale = "fixed"
    b_decay_learned: bool = False
    attention: Attention = "full"
    inducing_points: int = 32
    attention_precision: AttentionPrecision = "float32"

    def __post_init__(self) -> None:
        self._check_numbers()
        for field, hint in typing.get_type_hints(OptimizerConfig).items():
            value, where = getattr(self, field), f"optimizer.{field}"
            if hint is bool:
                require(isinstance(value, bool), f"{where}: got {value!r}, want true or false")
            elif typing.get_origin(hint) is Literal:
                require_known(value, typing.get_args(hint), where)
        require(
            0.0 < self.b_decay < 1.0 or not self.b_decay_learned,
            f"optimizer.b_decay: got {self.b_decay}, want inside (0, 1) where it is learned",
        )
        require(
            self.attention != "none" or self.attention_precision == "float32",
            f"optimizer.attention_precision: got {self.attention_precision!r}, want float32 where "
            "attention is none",
        )
        for field in ("rank", "b_decay_learned"):
            value = getattr(self, field)
            require(
                self.rank_one != "none" or not value,
                f"optimizer.{field}: got {value}, want {type(value)()} where rank_one is none",
            )

    def _check_numbers(self) -> None:
        width, ffn = (1, _WIDEST), self.ffn_multiplier
        require_whole(self, "optimizer", dim=width, heads=width, encoders=(1, _DEEPEST))
        require_whole(self, "optimizer", ffn_multiplier=width, inducing_points=width)
        require_whole(self, "optimizer", rank=(0, _WIDEST), secant=(0, _WIDEST))
        weights = self.encoders * (4 + 2 * ffn) * self.dim**2
        _require_few(weights, f"dim: got {self.dim} with {self.encoders} encoders, ffn x {ffn}")
        whole = self.dim % self.heads == 0
        require(whole, f"optimizer.dim: got {self.dim}, want a multiple of heads ({self.heads})")
        require_within(self.lambda_a, *_FLOATS, "optimizer.lambda_a")
        require_within(self.lambda_b, *_FLOATS, "optimizer.lambda_b")
        require_within(self.b_decay, 0.0, 1.0, "optimizer.b_decay")
        # Squares of float32 stay exact enough down to 1e-30.
        require_within(self.normalizer_eps, 1e-30, 1.0, "optimizer.normalizer_eps")

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

    hidden: int = 4  # width of the hidden layers
    layers: int = 2  # hidden layers, ReLU
    step_mult: float = 1e-3
    exp_mult: float = 1e-3

    def __post_init__(self) -> None:
        require_whole(self, "optimizer", hidden=(1, _WIDEST), layers=(1, _DEEPEST))
        weights = self.layers * self.hidden**2
        _require_few(weights, f"hidden: got {self.hidden} with {self.layers} layers")
        require_within(self.step_mult, *_FLOATS, "optimizer.step_mult")
        require_within(self.exp_mult, *_FLOATS, "optimizer.exp_mult")
