"""Doors for other people's monitoring: Prometheus and TensorBoard, fed from a run's files alone."""
