"""Inner tasks in JAX: closed-form losses drawn from a key.

`analytic` has the two small families every runner knows; the rest is for the fused trainer: the 15
functions of the benchmark (`mixture`), generated families (`generated`), small neural networks
(`networks`), and how all are drawn in random dimension, moved, rotated, scaled, and assigned to
lanes (`distribution`).
"""

from optimus.tasks.analytic import FAMILIES as FAMILIES
from optimus.tasks.analytic import Family as Family
from optimus.tasks.analytic import TaskData as TaskData
from optimus.tasks.analytic import family as family
from optimus.tasks.analytic import make as make
from optimus.tasks.analytic import task_key as task_key
