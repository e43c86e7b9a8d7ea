"""The paper's Table 3 (its search grids), one value changed at a time from those it used.

    optimus sweep table3

The grids are printed; not every combination was tried, and ours neither: 20 arms instead of 8,100.
The recipe is the paper's too (PES, horizon 50, Adam, clip 3) on the benchmark's functions with 2 to
10 variables. A window of 20 does not divide the horizon of 50; that arm has 60. The budget, 100,000
inner steps a cell, is 500 of the paper's updates: enough to see which values train at all and how
fast they start, not where they end.
"""

import dataclasses

from launch.configs import paper
from launch.sweeps import Arm, Axis, Sweep, one_at_a_time
from optimus.config import ClassicalTask, Evaluation

_BASE = dataclasses.replace(
    paper.get_config("paper-classical"),
    name="table3",
    task=ClassicalTask(sizes=(10,)),
    updates=1,
    evaluation=Evaluation(tasks=45, steps=100),
)


def get_sweep() -> Sweep:
    """The `table3` sweep."""
    arms = one_at_a_time(
        _BASE,
        Axis("meta.learning_rate", (0.1, 0.01, 0.001, 5e-4, 1e-4)),
        Axis("optimizer.dim", (64, 128, 256, 512)),
        Axis("optimizer.encoders", (1, 2, 3, 4, 5)),
        Axis("optimizer.lambda_a", (0.001, 0.01, 0.1)),
        Axis("optimizer.lambda_b", (0.001, 0.01, 0.1)),
        Axis("batch", (20, 50, 128), ("meta.batch", "layout.lanes")),
        Axis("estimator.truncation", (5, 10)),
    )
    longer = {"estimator.truncation": 20, "estimator.horizon": 60}
    longest = Arm("truncation=20", longer, "truncation")
    return Sweep("table3", _BASE, (*arms, longest), inner_steps=100_000, validations=5)
