"""Unrolling Optimus over a window on a group of lanes, in two ways with one result.

`AnalyticUnroll` compiles the whole window, losses included, into one scan. `PooledUnroll` compiles
one optimizer step and gets each loss from a pool of workers. In both, a lane carries the value and
gradient at its current x, so a window of W steps costs exactly W evaluations per trajectory: the
loss is scored *after* each update, and a new episode adds one evaluation at its start, shared by
both signs.
"""

from workers.unroll.analytic import AnalyticUnroll as AnalyticUnroll
from workers.unroll.base import Unroll as Unroll
from workers.unroll.base import parameter_layout as parameter_layout
from workers.unroll.pooled import PooledUnroll as PooledUnroll
