"""Sizes and forms of the learned optimizer: plain values, so that reading a configuration needs no
JAX.

Two are frozen by name. `PAPER` is the model of the paper (CVPR 2023) as far as its supplement
tells, with our choices where it is silent; `PLUS` is the form we would train today. Sizes are
changed with `dataclasses.replace(PLUS, dim=32, encoders=2)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

RANK_ONE_FORMS = ("sym", "signed", "gated", "asym", "none")
BRANCHES = ("encoder", "features")
TIME_FEATURES = ("shifted", "paper", "none")
POSITIONS = ("x", "displacement", "none")
COORDINATE_POSITIONS = ("none", "sin", "rel")
ATTENTIONS = ("full", "inducing", "none")
ATTENTION_PRECISIONS = ("float32", "bfloat16")
STEP_SCALES = ("fixed", "relative")
GRADIENT_SCALES = ("raw", "first")


def _require(valid: bool, field: str, value: object, allowed: str) -> None:
    if not valid:
        raise ValueError(f"OptimizerConfig.{field} is {value!r}, must be {allowed}")


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
      branch: what alpha and d are read from, the last "encoder" or the "features".
      time_features: "shifted": tanh(t/x - 1) as in the public code; "paper": tanh(t/x);
        "none": without these eleven inputs, for ablations.
      position: what stands in the channel "parameter". "x", the paper; "displacement": x - x0;
        "none": 0. With either of the last two, moving function and start moves the whole run.
      place: adds the channels of `history.PLACE_NAMES`, where x is relative to the origin. The
        paper's channel "parameter" is normalised and tells only how coordinates compare.
      curvature: adds the normalised channels of `history.CURVATURE_NAMES`: last step, last change
        of the gradient, B g. The first two are the data of a quasi-Newton update.
      progress: adds the scalars of `history.PROGRESS_NAMES`, the same for all coordinates: how
        far the gradient's length has fallen, and whether the last step went too far.
      secant: m > 0: the quasi-Newton direction of the last m pairs of a step and a change of the
        gradient is an input (`history.SECANT_NAMES`), and a share of it between 0 and 2 that the
        network predicts for every coordinate is added to the step. 0: no such thing.
      gradient_scale: "raw"; or "first": gradients are divided by the root mean square of the first
        one that is not 0, so that a constant factor on f changes nothing.
      normalizer_eps: added to a channel's mean square before dividing by its root. 1e-5 as in the
        public code lets channels fade below 3e-3.
      step_scale: "fixed"; or "relative": lambda_a is only the first step's length, after that a
        running mean of the lengths of the steps taken stands in its place. Steps can then grow
        and shrink geometrically over any number of decades.
      b_decay_learned: b_decay, which must lie inside (0, 1), is where a trained decay starts.
      coord_pos: whether the order of the coordinates means something. "none": they are a set,
        which is what makes the optimizer permutation equivariant; "sin": sinusoids of the index
        are added to the embedding; "rel": a trained bias on the attention logits by i - j, for
        neighbours up to 8 apart, one value for all that are further.
      axes: A > 0: the N numbers are the courses of A axes over time (`axes.axes_and_times`), and
        a trained vector for each axis and one for time and time left are added to the embedding.
        Such a model is for problems of this one kind, and takes no padding.
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
    rank_one: str = "sym"
    b_decay: float = 1.0
    rank: int = 0
    branch: str = "encoder"
    time_features: str = "shifted"
    position: str = "x"
    place: bool = False
    curvature: bool = False
    progress: bool = False
    secant: int = 0
    gradient_scale: str = "raw"
    normalizer_eps: float = 1e-5
    step_scale: str = "fixed"
    b_decay_learned: bool = False
    coord_pos: str = "none"
    axes: int = 0
    attention: str = "full"
    inducing_points: int = 32
    attention_precision: str = "float32"

    def __post_init__(self) -> None:
        self._check_numbers()
        for field in ("place", "curvature", "progress", "b_decay_learned"):
            value = getattr(self, field)
            _require(isinstance(value, bool), field, value, "true or false")
        for field, allowed in (
            ("rank_one", RANK_ONE_FORMS),
            ("branch", BRANCHES),
            ("time_features", TIME_FEATURES),
            ("position", POSITIONS),
            ("gradient_scale", GRADIENT_SCALES),
            ("step_scale", STEP_SCALES),
            ("coord_pos", COORDINATE_POSITIONS),
            ("attention", ATTENTIONS),
            ("attention_precision", ATTENTION_PRECISIONS),
        ):
            value = getattr(self, field)
            _require(value in allowed, field, value, f"one of {', '.join(allowed)}")
        if self.b_decay_learned:
            inside = 0.0 < self.b_decay < 1.0
            _require(inside, "b_decay", self.b_decay, "inside (0, 1) where it is learned")
        if self.attention != "full":
            # A bias by i - j has no meaning but between coordinates.
            allowed_here = f"none or sin where attention is {self.attention}"
            _require(self.coord_pos != "rel", "coord_pos", self.coord_pos, allowed_here)
        if self.attention == "none":
            precision, allowed_here = self.attention_precision, "float32 where attention is none"
            _require(precision == "float32", "attention_precision", precision, allowed_here)
        if self.rank_one == "none":
            _require(self.rank == 0, "rank", self.rank, "0 where rank_one is none")
            learned = self.b_decay_learned
            _require(not learned, "b_decay_learned", learned, "false where rank_one is none")

    def _check_numbers(self) -> None:
        for field in ("dim", "encoders", "heads", "ffn_multiplier", "inducing_points"):
            value = getattr(self, field)
            valid = isinstance(value, int) and not isinstance(value, bool) and value >= 1
            _require(valid, field, value, "an integer of at least 1")
        for field in ("rank", "secant", "axes"):
            value = getattr(self, field)
            valid = isinstance(value, int) and not isinstance(value, bool) and value >= 0
            _require(valid, field, value, "an integer of at least 0")
        multiple = f"a multiple of heads = {self.heads}"
        _require(self.dim % self.heads == 0, "dim", self.dim, multiple)
        for field in ("lambda_a", "lambda_b"):
            value = getattr(self, field)
            # Written so that NaN fails too.
            _require(0.0 < value < float("inf"), field, value, "positive and finite")
        _require(0.0 <= self.b_decay <= 1.0, "b_decay", self.b_decay, "within [0, 1]")
        # Squares of float32 stay exact enough down to 1e-30.
        eps_valid = 1e-30 <= self.normalizer_eps <= 1.0
        _require(eps_valid, "normalizer_eps", self.normalizer_eps, "within [1e-30, 1]")

    @property
    def factored(self) -> bool:
        """Whether B is kept as its terms (of which there may be none), not as a matrix."""
        return self.rank > 0 or self.rank_one == "none"

    @property
    def linear_cost(self) -> bool:
        """Whether time and memory of a step are linear in N, not quadratic."""
        return self.attention != "full" and self.factored


PAPER = OptimizerConfig()
# Chosen by trials of 600 updates (docs/experiments/forms.md): the relative step length gains most.
# Seeing x itself scores better, and is not wanted: where minima lie relative to the origin is a
# habit of the training tasks.
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
        for field in ("hidden", "layers"):
            value = getattr(self, field)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(
                    f"AdafactorMlpConfig.{field} is {value!r}, must be an integer of at least 1"
                )
        for field in ("step_mult", "exp_mult"):
            value = getattr(self, field)
            # Written so that NaN fails too.
            if not 0.0 < value < float("inf"):
                raise ValueError(
                    f"AdafactorMlpConfig.{field} is {value!r}, must be positive and finite"
                )
