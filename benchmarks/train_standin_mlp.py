"""Trains the stand-in weights `adafactor-mlp-standin`, the rival of `optimus-standin`.

Same tasks (`benchmarks/standin_tasks.py`), same method as `benchmarks/train_standin.py`: truncated
back-propagation with the inner gradient held constant, windows of 10 steps, episodes of 20 to 200
steps, log-gap meta-loss, gradient clipped per task, Adam with cosine decay.

The published step multiplier of 0.001 goes about 0.2 far in 200 steps, so the form has to be
chosen too (fact sheets `optimus.md`, section 5, and `benchmark.md`, section 11): step_mult in
{1e-3, 1e-2, 1e-1} × hidden in {4, 32}, each with outer learning rates {1e-3, 1e-2}, is trained for
--trial-updates. The one that is best on validation tasks, generated from keys that training never
uses, is trained anew for --updates. Validation is the mean over tasks of
log10(best of 200 values / first + 1e-10); the card holds all of it.

    taskset -c 0 python -m benchmarks.train_standin_mlp --seed 0 --out standin-mlp

Minutes in the card are wall time; the shipped weights come from a machine shared with other work.
"""

import argparse
import itertools
from typing import Any

import numpy as np

from benchmarks.train_standin import LANES, WINDOW, train
from optimus import weights
from optimus.model.adafactor_mlp import AdafactorMlpConfig

CANDIDATES = tuple(
    AdafactorMlpConfig(hidden=hidden, step_mult=step_mult)
    for hidden, step_mult in itertools.product((4, 32), (1e-3, 1e-2, 1e-1))
)
RATES = (1e-3, 1e-2)


def trained(
    config: AdafactorMlpConfig, rate: float, updates: int, seed: int
) -> tuple[Any, dict[str, Any]]:
    """Meta-parameters, and what the card says of their making; validation is one number."""
    options = argparse.Namespace(rate=rate, updates=updates, seed=seed)
    params, made = train(config, options)
    made["inner_steps"] = updates * LANES * WINDOW
    made["validation"] = round(float(np.mean(list(made["validation"].values()))), 3)
    return params, made


def main() -> None:
    """Trials, choice, training, file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--updates", type=int, default=20_000)
    parser.add_argument("--trial-updates", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True, help="folder, or NAME.safetensors")
    options = parser.parse_args()
    trials, trial_minutes = [], 0.0
    for config, rate in itertools.product(CANDIDATES, RATES):
        _, made = trained(config, rate, options.trial_updates, options.seed)
        trials.append((score := made["validation"], config, rate))
        trial_minutes += made["minutes"]
        print(f"{score:+.3f}  {config}, rate {rate}, {made}", flush=True)
    _, config, rate = min(trials, key=lambda trial: trial[0])
    params, training = trained(config, rate, options.updates, options.seed)
    training["trials"] = [
        {
            "hidden": each.hidden,
            "step_mult": each.step_mult,
            "learning_rate": each_rate,
            "validation": score,
        }
        for score, each, each_rate in trials
    ]
    training["trial_updates"] = options.trial_updates
    training["trial_minutes"] = round(trial_minutes, 2)
    card = {
        "what": "A stand-in for the Adafactor-MLP rival: trained in minutes, on the tasks and with "
        "the method of optimus-standin, until properly trained weights ship.",
        "trained_on": "generated quadratics, powers, curved valleys (relatives of Rosenbrock's "
        "function) and bumpy bowls, n in 2..50, random shift, scale, width, half of them rotated; "
        "no benchmark function and no held-out set",
        "method": "truncated back-propagation, inner gradient held constant, window 10, episodes "
        "of 20 to 200 steps, 20 tasks per update, gradient clipped per task, Adam; step_mult, "
        "hidden and learning rate by the best validation among short trials (mean over 512 "
        "generated tasks of log10 of best of 200 values / first, lower is better)",
        "training": training,
        "command": f"python -m benchmarks.train_standin_mlp --updates {options.updates} "
        f"--trial-updates {options.trial_updates} --seed {options.seed} --out standin-mlp",
    }
    print(f"{training}\nwrote {weights.save(options.out, config, params, card)}")


if __name__ == "__main__":
    main()
