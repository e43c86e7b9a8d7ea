"""Gradient estimators: pure functions from samples to a direction, shared by every runner."""
