"""The fused trainer: tasks x signs x window and the meta-update in one compiled program.

`unroll` runs windows, `lanes` keeps episodes, `program` compiles an update, `validation` judges
weights, `trainer` holds a run's state. For losses in JAX, on CPU, GPU or several devices.
"""
