"""Motion reconstruction, small: Optimus meta-trained by PES through the C++ simulator.

    optimus train physics-small --launch local_mp      # what `make train` runs

0.25 s windows of real motion clips, N = 210 controls, model width 32, 2 encoders; the paper's
estimator settings (PES, window 5, horizon 50, batch 20, Adam 5e-4, clip 3). B forgets with
`b_decay` 0.9, the form that stays stable over long horizons.

Time: 2 minutes on 2 cores, at most 5. Expected result, seed 0: 300 updates, and the meta-loss on
held-out clips goes from +0.84 to -2.1; the output says whether the interval of the change excludes
zero (16 windows of two clips: it speaks for those). Most of the gain comes in the first 60 updates.
"""

from optimus.config import Evaluation, Phase, PhysicsTask, TrainConfig
from optimus.model.config import OptimizerConfig


def get_config() -> TrainConfig:
    """The `physics-small` configuration."""
    return TrainConfig(
        name="physics-small",
        task=PhysicsTask(seconds=0.25, control="pd", dt=1 / 120),
        updates=300,
        phases=(Phase(),),  # the paper's estimator; two groups of ten lanes, two workers
        optimizer=OptimizerConfig(dim=32, encoders=2, heads=4, b_decay=0.9),
        evaluation=Evaluation(tasks=16, steps=50),
        checkpoint_every=50,
    )
