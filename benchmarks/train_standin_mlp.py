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
import functools
import itertools
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import standin_tasks as tasks
from optimus import rules, weights
from optimus.adafactor_mlp import AdafactorMlpConfig

WINDOW, SHORTEST, LONGEST = 10, 20, 200  # inner steps
LANES = 20  # tasks per update
SIZES = ((10, 2), (10, 2), (10, 2), (50, 10))  # (padded size, smallest n), taken in turn
TASK_CLIP, CAP, FLOOR = 1.0, 5.0, 1e-10
CANDIDATES = tuple(
    AdafactorMlpConfig(hidden=hidden, step_mult=step_mult)
    for hidden, step_mult in itertools.product((4, 32), (1e-3, 1e-2, 1e-1))
)
RATES = (1e-3, 1e-2)
VALIDATION_KEY, VALIDATION_TASKS = 1 << 30, 256  # per size; training folds in smaller numbers


class Lane(NamedTuple):
    """One episode in progress."""

    task: tasks.Task
    x: jax.Array
    state: Any
    first: jax.Array  # loss at the start
    left: jax.Array  # inner steps to go


def start(config: rules.Config, key: jax.Array, size: int, low: int) -> Lane:
    """A new episode, with length log-uniform in SHORTEST..LONGEST."""
    task_key, length_key = jax.random.split(key)
    task, x = tasks.sample(task_key, size, low)
    bounds = np.log(SHORTEST / WINDOW), np.log(LONGEST / WINDOW + 1)
    windows = jnp.exp(jax.random.uniform(length_key, (), jnp.float32, *bounds)).astype(jnp.int32)
    state = rules.rule_of(config).init_state(config, x)
    return Lane(task, x, state, tasks.value(task, x), WINDOW * windows)


def unroll(config: rules.Config, params: Any, lane: Lane, steps: int) -> tuple[jax.Array, Lane]:
    """Values after each of so many steps, `[steps]`, and the lane after them."""
    rule = rules.rule_of(config)

    def body(carry: Any, _: Any) -> Any:
        x, state = carry
        gradient = jax.grad(tasks.value, argnums=1)(lane.task, jax.lax.stop_gradient(x))
        step, state = rule.update(config, params, state, x, gradient, lane.task.mask)
        x = x + step
        return (x, state), tasks.value(lane.task, x)

    (x, state), losses = jax.lax.scan(body, (lane.x, lane.state), length=steps)
    return losses, lane._replace(x=x, state=state, left=lane.left - steps)


@functools.cache
def make_update(
    config: rules.Config, size: int, low: int, optimizer: optax.GradientTransformation
) -> Any:
    """The jitted meta-update of one size."""

    def window_loss(params: Any, lane: Lane) -> tuple[jax.Array, Lane]:
        losses, lane = unroll(config, params, lane, WINDOW)
        gap = jnp.log(losses / lane.first + FLOOR)
        return jnp.mean(jnp.where(gap < CAP, gap, CAP)), lane  # NaN scores the cap

    def clipped(params: Any, lane: Lane) -> Any:
        (loss, lane), gradient = jax.value_and_grad(window_loss, has_aux=True)(params, lane)
        squares = [jnp.sum(jnp.square(leaf)) for leaf in jax.tree_util.tree_leaves(gradient)]
        norm = jnp.sqrt(sum(squares))
        factor = TASK_CLIP / jnp.maximum(norm, TASK_CLIP)
        gradient = jax.tree_util.tree_map(
            lambda g: jnp.where(jnp.isfinite(norm), g * factor, 0.0), gradient
        )
        return loss, lane, gradient

    def meta_update(params: Any, moments: Any, rate: jax.Array, lanes: Lane, key: jax.Array) -> Any:
        losses, lanes, gradients = jax.vmap(clipped, in_axes=(None, 0))(params, lanes)
        gradient = jax.tree_util.tree_map(lambda g: jnp.mean(g, axis=0), gradients)
        steps, moments = optimizer.update(gradient, moments)
        params = jax.tree_util.tree_map(lambda p, s: p - rate * s, params, steps)
        fresh = jax.vmap(lambda k: start(config, k, size, low))(jax.random.split(key, LANES))
        over = (lanes.left <= 0) | ~jnp.all(jnp.isfinite(lanes.x), axis=1) | (losses >= CAP)
        lanes = jax.tree_util.tree_map(
            lambda new, old: jnp.where(over.reshape((-1,) + (1,) * (old.ndim - 1)), new, old),
            fresh,
            lanes,
        )
        return params, moments, lanes, jnp.mean(losses)

    return jax.jit(meta_update)


@functools.cache
def _validator(config: rules.Config, size: int, low: int) -> Any:
    def score(params: Any, key: jax.Array) -> jax.Array:
        lane = start(config, key, size, low)
        losses, _ = unroll(config, params, lane, LONGEST)
        ratios = jnp.append(losses, lane.first) / lane.first
        best = jnp.min(jnp.where(jnp.isfinite(ratios), ratios, jnp.inf))
        return jnp.log10(best + FLOOR)

    return jax.jit(jax.vmap(score, in_axes=(None, 0)))


def validate(config: rules.Config, params: Any) -> float:
    """Mean log10 share of the first value that is left after 200 steps, both sizes alike."""
    means = []
    for size, low in sorted(set(SIZES)):
        key = jax.random.fold_in(jax.random.PRNGKey(VALIDATION_KEY), size)
        scores = _validator(config, size, low)(params, jax.random.split(key, VALIDATION_TASKS))
        means.append(float(jnp.mean(scores)))
    return float(np.mean(means))


def train(config: rules.Config, rate: float, updates: int, seed: int) -> tuple[Any, dict[str, Any]]:
    """Meta-parameters, and what the card says of their making."""
    optimizer = optax.scale_by_adam()
    key = jax.random.PRNGKey(seed)
    params = rules.rule_of(config).init_params(config, key)
    moments = optimizer.init(params)
    lanes = {}
    for size, low in set(SIZES):
        keys = jax.random.split(jax.random.fold_in(key, size), LANES)
        fresh = functools.partial(start, config, size=size, low=low)
        # Staggered, so that a batch holds early and late windows from the first update on.
        lanes[size] = jax.vmap(fresh)(keys)._replace(left=WINDOW * (1 + jnp.arange(LANES)))

    began = time.monotonic()
    running: dict[int, Any] = dict.fromkeys(lanes, float("nan"))
    programs = {each: make_update(config, *each, optimizer) for each in set(SIZES)}
    for count in range(updates):
        now = rate * max(0.5 * (1.0 + np.cos(np.pi * count / updates)), 0.01)
        size, low = SIZES[count % len(SIZES)]
        params, moments, lanes[size], loss = programs[size, low](
            params, moments, np.float32(now), lanes[size], jax.random.fold_in(key, count + 1000)
        )
        running[size] = loss if count < len(SIZES) else 0.99 * running[size] + 0.01 * loss
    final = {f"n<={size}": round(float(loss), 2) for size, loss in sorted(running.items())}
    return params, {
        "seed": seed,
        "updates": updates,
        "inner_steps": updates * LANES * WINDOW,
        "learning_rate": rate,
        "minutes": round((time.monotonic() - began) / 60, 2),
        "final_running_meta_loss": final,
    }


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
        params, made = train(config, rate, options.trial_updates, options.seed)
        score = validate(config, params)
        trials.append((score, config, rate))
        trial_minutes += made["minutes"]
        print(f"{score:+.3f}  {config}, rate {rate}, {made}", flush=True)
    _, config, rate = min(trials, key=lambda trial: trial[0])
    params, training = train(config, rate, options.updates, options.seed)
    training["validation"] = round(validate(config, params), 3)
    training["trials"] = [
        {
            "hidden": each.hidden,
            "step_mult": each.step_mult,
            "learning_rate": each_rate,
            "validation": round(score, 3),
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
