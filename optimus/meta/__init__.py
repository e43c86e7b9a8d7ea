"""Meta-training: noise, meta-loss, gradient estimators, meta-update, and the fused trainer."""
