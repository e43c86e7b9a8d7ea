"""Generated code against the tape: the same numbers up to rounding."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from workers.physics.loss import PhysicsOptions, window_spec
from workers.physics.model import model_text
from workers.physics.simulation import Simulator


@pytest.mark.parametrize("control", ["pd", "torque"])
@pytest.mark.parametrize(("clip", "start"), [("walk", 0.1), ("getup_facedown", 0.2), ("roll", 0.8)])
def test_generated_code_agrees_with_the_tape(clip, start, control, humanoid):
    options = PhysicsOptions(control=control)
    text = model_text(humanoid)
    fast, tape = (Simulator(text, options.dt, control, fast=fast) for fast in (True, False))
    if not fast.fast:
        pytest.skip("generated code is not built (python -m workers.physics.build --fast)")
    assert not tape.fast
    windows = [s.window(window_spec(clip, start, 0.5, options, s)) for s in (fast, tape)]
    x = 0.1 * np.random.default_rng(0).standard_normal(windows[0].n_controls)
    (_, loss, grad), (_, tape_loss, tape_grad) = (w.loss_and_grad(x) for w in windows)
    assert loss == tape_loss  # the forward pass is one and the same
    assert np.abs(grad - tape_grad).max() <= 1e-12 * np.abs(grad).max()
    with ThreadPoolExecutor(8) as pool:
        for _, _, again in pool.map(lambda _: windows[0].loss_and_grad(x), range(32)):
            assert (again == grad).all()


def test_code_comes_before_windows(humanoid):
    options = PhysicsOptions()
    simulator = Simulator(model_text(humanoid), options.dt, "pd")
    window = simulator.window(window_spec("walk", 0.1, 0.25, options, simulator))
    if not simulator.fast:
        pytest.skip("generated code is not built (python -m workers.physics.build --fast)")
    from workers.physics.native import generated_library

    with pytest.raises(ValueError, match="the model already has a window"):
        simulator._use_generated_code(generated_library(simulator.structure))
    assert window.n_controls == 210
