"""Trains the stand-in weights `optimus-standin` in minutes on one core.

Truncated back-propagation through the learned optimizer with the inner gradient held constant
(fact sheet `training.md`, sections 1 to 3): windows of 10 steps, episodes of 20 to 200 steps,
log-gap meta-loss, gradient clipped per task, Adam with cosine decay over the given minutes. Tasks
are generated (`benchmarks/standin_tasks.py`), with n in 2..50 by padding masks, in two sizes of
program: 10 and 50.

What is reached in given minutes depends on the machine; --updates asks for a number of updates
instead, which is repeatable (to the bit on one machine and JAX version). At the end the mean over
512 tasks never trained on of log10(best of 200 values / first + 1e-10) is printed and kept.

--config picks the form: "standin", that of the shipped weights (the paper's with b_decay 0.9), or
a name in `optimus.CONFIGURATIONS`; --set changes any field of it. The shipped weights:

    taskset -c 0 python -m benchmarks.train_standin --updates 4000 --seed 0 --out standin
    python -m benchmarks.check_standin standin         (measures them and adds that to the card)
"""

import argparse
import dataclasses
import functools
import json
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import standin_tasks as tasks
from optimus import weights
from optimus.model.config import CONFIGURATIONS, PAPER, OptimizerConfig
from optimus.model.registry import Config, rule_of

FORMS = {"standin": dataclasses.replace(PAPER, b_decay=0.9), **CONFIGURATIONS}
WINDOW, SHORTEST, LONGEST = 10, 20, 200  # inner steps
LANES = 20  # tasks per update
SIZES = ((10, 2), (10, 2), (10, 2), (50, 10))  # (padded size, smallest n), taken in turn
TASK_CLIP, CAP, FLOOR = 1.0, 5.0, 1e-10
VALIDATION_KEY, VALIDATION_TASKS = 1 << 30, 256  # per size; training folds in smaller numbers


class Lane(NamedTuple):
    """One episode in progress."""

    task: tasks.Task
    x: jax.Array
    state: Any
    first: jax.Array  # loss at the start
    left: jax.Array  # inner steps to go


def start(config: Config, key: jax.Array, size: int, low: int) -> Lane:
    """A new episode, with length log-uniform in SHORTEST..LONGEST."""
    task_key, length_key = jax.random.split(key)
    task, x = tasks.sample(task_key, size, low)
    bounds = np.log(SHORTEST / WINDOW), np.log(LONGEST / WINDOW + 1)
    windows = jnp.exp(jax.random.uniform(length_key, (), jnp.float32, *bounds)).astype(jnp.int32)
    return Lane(
        task, x, rule_of(config).init_state(config, x), tasks.value(task, x), WINDOW * windows
    )


def unroll(config: Config, params: Any, lane: Lane, steps: int) -> tuple[jax.Array, Lane]:
    """Values after each of so many steps, `[steps]`, and the lane after them."""

    def body(carry: Any, _: Any) -> Any:
        x, state = carry
        gradient = jax.grad(tasks.value, argnums=1)(lane.task, jax.lax.stop_gradient(x))
        step, state = rule_of(config).update(config, params, state, x, gradient, lane.task.mask)
        x = x + step
        return (x, state), tasks.value(lane.task, x)

    (x, state), losses = jax.lax.scan(body, (lane.x, lane.state), length=steps)
    return losses, lane._replace(x=x, state=state, left=lane.left - steps)


def window_loss(config: Config, params: Any, lane: Lane) -> tuple[jax.Array, Lane]:
    """Mean log-gap over a window, and the lane after it."""
    losses, lane = unroll(config, params, lane, WINDOW)
    gap = jnp.log(losses / lane.first + FLOOR)
    return jnp.mean(jnp.where(gap < CAP, gap, CAP)), lane  # NaN scores the cap


@functools.cache
def make_update(
    config: Config, size: int, low: int, optimizer: optax.GradientTransformation
) -> Any:
    """The jitted meta-update of one size."""
    value_and_grad = jax.value_and_grad(functools.partial(window_loss, config), has_aux=True)

    def clipped(params: Any, lane: Lane) -> Any:
        (loss, lane), gradient = value_and_grad(params, lane)
        norm = jnp.sqrt(sum(jnp.sum(jnp.square(g)) for g in jax.tree_util.tree_leaves(gradient)))
        factor = jnp.where(jnp.isfinite(norm), TASK_CLIP / jnp.maximum(norm, TASK_CLIP), 0.0)
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


def validate(config: Config, params: Any) -> dict[str, float]:
    """Mean log10 share of the first value that is left after 200 steps, by size of program."""

    def score(key: jax.Array, size: int, low: int) -> jax.Array:
        lane = start(config, key, size, low)
        losses, _ = unroll(config, params, lane, LONGEST)
        ratios = jnp.append(losses, lane.first) / lane.first
        return jnp.log10(jnp.min(jnp.where(jnp.isfinite(ratios), ratios, jnp.inf)) + FLOOR)

    found = {}
    for size, low in sorted(set(SIZES)):
        key = jax.random.fold_in(jax.random.PRNGKey(VALIDATION_KEY), size)
        one = functools.partial(score, size=size, low=low)
        scores = jax.jit(jax.vmap(one))(jax.random.split(key, VALIDATION_TASKS))
        found[f"n<={size}"] = round(float(jnp.mean(scores)), 3)
    return found


def train(config: Config, options: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """Meta-parameters and what the card says of their making."""
    optimizer = optax.scale_by_adam()
    key = jax.random.PRNGKey(options.seed)
    params = rule_of(config).init_params(config, key)
    moments = optimizer.init(params)
    lanes = {}
    for size, low in set(SIZES):
        keys = jax.random.split(jax.random.fold_in(key, size), LANES)
        lanes[size] = jax.vmap(functools.partial(start, config, size=size, low=low))(keys)
        # Staggered, so that a batch holds early and late windows from the first update on.
        lanes[size] = lanes[size]._replace(left=WINDOW * (1 + jnp.arange(LANES)))

    began, count, running = time.monotonic(), 0, dict.fromkeys(lanes, float("nan"))
    while True:
        spent = time.monotonic() - began
        share = count / options.updates if options.updates else spent / (60 * options.minutes)
        if share >= 1.0:
            break
        rate = options.rate * max(0.5 * (1.0 + np.cos(np.pi * share)), 0.01)
        size, low = SIZES[count % len(SIZES)]
        params, moments, lanes[size], loss = make_update(config, size, low, optimizer)(
            params, moments, np.float32(rate), lanes[size], jax.random.fold_in(key, count + 1000)
        )
        old = running[size]
        running[size] = float(loss) if np.isnan(old) else 0.99 * old + 0.01 * float(loss)
        count += 1
        if count % 100 == 0:
            text = ", ".join(f"n<={s} {v:+.2f}" for s, v in sorted(running.items()))
            print(f"{spent:6.0f} s, update {count}: running meta-loss {text}", flush=True)
    return params, {
        "seed": options.seed,
        "minutes": round((time.monotonic() - began) / 60, 1),
        "updates": count,
        "learning_rate": options.rate,
        "final_running_meta_loss": {f"n<={s}": round(v, 2) for s, v in sorted(running.items())},
        "validation": validate(config, params),
    }


def chosen(options: argparse.Namespace) -> OptimizerConfig:
    """The configuration that the command line asks for."""
    changes: dict[str, Any] = {"dim": options.dim, "encoders": options.encoders}
    for assignment in options.set:
        field, _, text = assignment.partition("=")
        try:
            changes[field] = json.loads(text)
        except ValueError:
            changes[field] = text
    return dataclasses.replace(FORMS[options.config], **changes)


def main() -> None:
    """Trains and saves."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--minutes", type=float, default=9.0, help="including compilation (default 9)"
    )
    parser.add_argument("--updates", type=int, help="stop after these many instead")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=float, default=1e-3, help="Adam's first learning rate")
    parser.add_argument("--config", choices=sorted(FORMS), default="standin")
    parser.add_argument("--dim", type=int, default=32, help="D (default 32)")
    parser.add_argument("--encoders", type=int, default=2, help="L (default 2)")
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="FIELD=VALUE", help="other fields to change"
    )
    parser.add_argument("--out", required=True, help="folder, or NAME.safetensors")
    options = parser.parse_args()
    config = chosen(options)
    params, training = train(config, options)
    print(training)
    form = f"--config {options.config} --dim {config.dim} --encoders {config.encoders}"
    changed = f" --set {' '.join(options.set)}" if options.set else ""
    command = f"python -m benchmarks.train_standin {form}{changed} --updates {training['updates']}"
    card = {
        "what": "A stand-in: small and trained in minutes, until properly trained weights ship.",
        "trained_on": "generated quadratics, powers, curved valleys (relatives of Rosenbrock's "
        "function) and bumpy bowls, n in 2..50, random shift, scale, width, half of them rotated; "
        "no benchmark function and no held-out set",
        "method": "truncated back-propagation, inner gradient held constant, window 10, episodes "
        "of 20 to 200 steps, 20 tasks per update, gradient clipped per task, Adam",
        "training": training,
        "command": f"{command} --seed {options.seed} --rate {options.rate} --out standin",
    }
    print(f"wrote {weights.save(options.out, config, params, card)}")


if __name__ == "__main__":
    main()
