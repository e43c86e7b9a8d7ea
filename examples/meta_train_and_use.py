"""Meta-train an optimizer for a few seconds, then use it on a function it has not seen.

python examples/meta_train_and_use.py
"""

import tempfile
from pathlib import Path

import numpy as np

import optimus
from launch.configs import find
from launch.runners.train import train
from optimus.config import override

changes = ("phases.0.estimator.kind=bptt", "meta.learning_rate=1e-2", "layout.groups=1")
changes += ("layout.lanes=8", "updates=40", "checkpoint_every=40")
config = override(find("smoke"), changes)  # random rotated quadratics of 10 variables
run_dir = Path(tempfile.mkdtemp()) / "run"
train(config, run_dir, launch="fused", say=print)

curvature = np.linspace(1.0, 5.0, 10)
for step in (0, 40):
    result = optimus.minimize(
        lambda x: 0.5 * np.sum(curvature * x**2),
        np.ones(10),
        jac=lambda x: curvature * x,
        model=run_dir / "checkpoints" / str(step),
        safeguard="none",  # the learned steps alone
        maxiter=20,
        stop_history=None,
    )
    print(f"weights after {step:2d} updates: f {result.history[0]:.2f} -> {result.fun:.4f}")
