"""Watch a training run: load each checkpoint as it appears, and try it on one function.

python examples/watch_checkpoint.py
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import optimus

run_dir = Path(tempfile.mkdtemp()) / "run"
changes = ("updates=60", "phases.0.estimator.kind=bptt", "layout.groups=1", "layout.lanes=8")
command = [sys.executable, "-m", "launch.cli.main", "train", "smoke", "--launch", "fused"]
command += ["--run-dir", str(run_dir), *(word for c in changes for word in ("--set", c))]
training = subprocess.Popen(command, stdout=subprocess.DEVNULL)
newest, seen = run_dir / "checkpoints" / "LATEST", ""
while True:
    over = training.poll() is not None
    step = newest.read_text().strip() if newest.exists() else ""
    if step and step != seen:
        seen = step
        result = optimus.minimize(
            lambda x: np.sum(x**2),
            np.ones(10),
            jac=lambda x: 2.0 * x,
            model=newest.parent / step,
            safeguard="none",
            maxiter=20,
        )
        print(f"checkpoint {step:>3}: f 10 -> {result.fun:.4f}", flush=True)
    elif over:
        break
    time.sleep(0.1)
print("training ended with exit code", training.returncode)
