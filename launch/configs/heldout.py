"""`optimus-heldout-GROUP`, arm C: as `classical`, but never a function of one group. 6 minutes on
one core each.

    optimus train heldout-quadratic --launch fused
    optimus train heldout-power --launch fused        # also -valley, -ripple, -well

Groups are those of `optimus.problems.groups`; generated families of the group are not drawn, and
validation is on the groups that are left. n up to 50. `optimus bench classical --methods
heldout:optimus-heldout` scores every function with the weights that have not seen its group.
"""

import dataclasses

from launch.configs import classical
from optimus.config import ClassicalTask, TrainConfig
from optimus.problems.groups import GROUPS

VARIANTS = tuple(GROUPS)


def get_config(group: str) -> TrainConfig:
    """The configuration that holds `group` out."""
    return dataclasses.replace(
        classical.base(),
        name=f"heldout-{group}",
        task=ClassicalTask(
            hold_out=(group,),
            sizes=(10, 10, 20, 10, 50),
            generated=0.15,
            shift=0.4,
            rotate=0.2,
            f_scale=10.0,
        ),
        updates=1500,
        phases=(classical.guided(1500, 100.0, 1e-3),),
    )
