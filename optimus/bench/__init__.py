"""Benchmarks: the paper's tables and figures, remade."""
