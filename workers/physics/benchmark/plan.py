"""Settings of the motion benchmark, checked, and the windows they stand for."""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

from optimus.errors import require, require_known, require_size
from workers.physics import sequences
from workers.physics.benchmark.methods import BASELINES, METHODS, Models
from workers.physics.loss import PhysicsOptions, humanoid
from workers.physics.loss.reconstruction import Reconstruction, synthetic_window
from workers.physics.loss.spec import clip_of
from workers.physics.loss.windows import START_RULES, fixed_windows, random_window
from workers.physics.motion import CLIPS, SPLITS, Clip

SPLIT_NAMES = (*SPLITS, "synthetic", "clips", *sequences.TABLES)
TUNING_SEEDS = range(10_000, 10_004)  # of the train windows on which Adam's rate is chosen
DEFAULT_MODEL, DEFAULT_MLP = "optimus-physics", "adafactor-mlp-physics"


@dataclass(frozen=True)
class Settings:
    """What decides the numbers.

    split: train, validation, test: fixed windows of that split. synthetic: simulator-made, optimum
    0. clips: the first min(1 s, clip) of all 15 clips. aist, human36m: the paper's tables, from
    `data`. None: the split's default.
    """

    split: str = "validation"
    windows: int = 8
    seconds: float | None = None
    methods: tuple[str, ...] | None = None
    evaluations: int | None = None
    model: str = DEFAULT_MODEL
    adafactor_model: str = DEFAULT_MLP
    start_model: str = Models.start
    policy: Path | None = None
    data: Path | None = None
    control: str = "pd"
    target_base: str | None = None
    start: str = "zero"
    seed: int = 0

    def __post_init__(self) -> None:
        require_known(self.split, SPLIT_NAMES, "--split")
        require_known(self.start, tuple(START_RULES), "--start")
        for method in self.methods or ():
            require_known(method, (*METHODS, *BASELINES), "--methods")
        require_size(self.windows, "--windows", 1, 10**5)
        require_size(self.budget, "--evaluations", 1, 10**7)
        require_size(self.seed, "--seed", 0, 2**63 - 1)
        policy = "policy" not in self.rows or self.policy is not None
        require(policy, "method policy needs --policy FILE")
        data = self.split not in sequences.TABLES or self.data is not None
        require(data, f"--split {self.split} needs --data DIR, the folder with the files")
        self.options  # noqa: B018 -- checks control and target_base

    @property
    def length(self) -> float:
        """Seconds of a window, at most."""
        usual = 1.0 if self.split == "clips" else 0.5
        return usual if self.seconds is None else self.seconds

    @property
    def budget(self) -> int:
        """Evaluations of loss and gradient."""
        default = 300 if self.split == "clips" else 200
        return default if self.evaluations is None else self.evaluations

    @property
    def rows(self) -> tuple[str, ...]:
        """Methods and baselines, in the tables' order."""
        if self.methods is not None:
            rows = self.methods
        elif self.split == "clips":
            rows = ("kinematic", "pd_tracking", "l_bfgs_b")
        else:
            rows = ("kinematic", "pd_tracking", *METHODS)
        return (*rows, "policy") if self.policy is not None and "policy" not in rows else rows

    @property
    def options(self) -> PhysicsOptions:
        """Of the loss. Clips are tracked from their own poses: x holds offsets to them."""
        base = self.target_base or ("reference" if self.split == "clips" else "initial")
        return PhysicsOptions(control=self.control, target_base=base)


@dataclass(frozen=True, eq=False)
class Case:
    """A window: which of how many, its data (None where a simulator made it), how to build it."""

    index: int
    count: int
    name: str
    clip: Clip | None
    start: float
    seconds: float
    seed: int = 0

    @property
    def digest(self) -> str:
        """Of the data, so that another file of the same name is another case."""
        data = b"" if self.clip is None else self.clip.q.tobytes() + self.clip.times.tobytes()
        return hashlib.sha256(data).hexdigest()[:16]

    def build(self, options: PhysicsOptions) -> Reconstruction:
        """The loss of this window."""
        if self.clip is None:
            return synthetic_window(self.seed, self.seconds, options)
        return Reconstruction(self.clip, self.start, self.seconds, options)


def cases(settings: Settings) -> list[Case]:
    """The windows, in a fixed order."""
    length, count = settings.length, settings.windows
    if settings.split == "synthetic":
        seeds = range(settings.seed, settings.seed + count)
        return [Case(i, count, f"synthetic-{k}", None, 0.0, length, k) for i, k in enumerate(seeds)]
    if settings.split in SPLITS:
        windows = fixed_windows(settings.split, length, count)
        return _numbered([(clip_of(each.clip), each.start, each.seconds) for each in windows])
    if settings.split == "clips":
        whole = [clip_of(name) for name in CLIPS]
    else:
        assert settings.data is not None
        rows = sequences.table(settings.split)[:count]
        whole = [sequences.load(row, settings.data, humanoid()) for row in rows]
    dt = settings.options.dt
    steps = [math.floor(min(length, clip.seconds) / dt + 1e-6) for clip in whole]
    return _numbered([(clip, 0.0, many * dt) for clip, many in zip(whole, steps)])


def tuning_cases(settings: Settings) -> list[Case]:
    """Windows of the train split, on which Adam's rate is chosen."""
    length = min(settings.length, 1.0)
    drawn = [random_window(seed, "train", length) for seed in TUNING_SEEDS]
    return _numbered([(clip_of(name), start, length) for name, start in drawn])


def _numbered(found: list[tuple[Clip, float, float]]) -> list[Case]:
    """Cases of (clip, start, seconds)."""
    return [
        Case(i, len(found), f"{clip.name}@{start:.3f}", clip, start, seconds)
        for i, (clip, start, seconds) in enumerate(found)
    ]
