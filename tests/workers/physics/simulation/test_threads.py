"""Many threads at once: the same bits as one thread alone, and really side by side."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from workers.physics.loss import PhysicsOptions, window_spec
from workers.physics.model import model_text
from workers.physics.simulation import Simulator, WindowSpec


@pytest.fixture(autouse=True)
def _assets(assets):
    """Every test here needs the clips."""


def test_threads_are_bit_equal_and_windows_may_come_and_go(humanoid):
    # Without generated code: the tapes and their slots are what is tested.
    simulators = {
        control: Simulator(model_text(humanoid), 1 / 120, control, fast=False)
        for control in ("pd", "torque")
    }
    cases = [(clip, control) for clip in ("walk", "roll", "kick") for control in simulators]

    def evaluate(case, seed):
        clip, control = case
        options = PhysicsOptions(control=control)
        spec = window_spec(clip, 0.1, 0.25, options, simulators[control])
        window = simulators[control].window(spec)
        x = 0.1 * np.random.default_rng(seed).standard_normal(window.dim)
        _, value, grad = window.loss_and_grad(x)
        return value, grad.tobytes()

    jobs = [(case, seed) for seed in range(10) for case in cases]
    alone = [evaluate(*job) for job in jobs]
    with ThreadPoolExecutor(48) as pool:  # more threads than slots
        together = list(pool.map(lambda job: evaluate(*job), jobs))
    assert together == alone


def test_models_are_made_and_destroyed_by_threads(humanoid):
    text = model_text(humanoid)
    q0 = np.zeros(43)
    q0[2] = 1.0
    q0[[3, 7, 11, 15, 20, 24, 29, 34, 38]] = 1.0

    def run(i):
        simulator = Simulator(text, 1 / 120, "torque")
        window = simulator.window(
            WindowSpec(
                n_controls=28,
                control_index=np.tile(np.arange(28), (5, 1)),
                targets=None,
                frame_steps=np.array([2, 5]),
                reference=np.zeros((2, simulator.n_sites, 3)),
                q0=q0,
                qd0=np.zeros(34),
            )
        )
        del simulator
        _, loss, grad = window.loss_and_grad(np.full(28, 0.1))
        return loss, grad.tobytes()

    with ThreadPoolExecutor(8) as pool:
        results = set(pool.map(run, range(64)))
    assert len(results) == 1
