"""The fused trainer: tasks x signs x window and the meta-update in one compiled program.

`unroll` runs windows, `lanes` keeps episodes, `group` is a group's part of an update, `program` all
of it, `validation` judges weights, `trainer` holds a run's state. For
losses in JAX, on CPU, GPU or several devices.
"""
