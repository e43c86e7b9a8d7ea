"""Looking at a run from its files alone: watch, report, Prometheus, TensorBoard."""
