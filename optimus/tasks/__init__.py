"""Inner tasks in JAX: closed-form losses drawn from a key.

`analytic` has the two small families every runner knows; the rest is for the fused trainer: the 15
functions of the benchmark (`mixture`), generated families (`generated`), small neural networks
(`networks`), and how all are drawn in random dimension, moved, rotated, scaled, and assigned to
lanes (`distribution`).
"""
