"""What is compiled for one task is let go after it: memory maps and memory stay flat."""

import functools
import gc
import io
import threading
import weakref
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

import optimus
from launch.evaluation import suites
from optimus import weights
from optimus.bench import cells, plan
from optimus.bench.classical import run as classical
from optimus.bench.methods import learned
from optimus.minimization import proposal
from optimus.model import registry
from optimus.model.config import AdafactorMlpConfig
from optimus.problems.functions import FUNCTIONS

MAPS = Path("/proc/self/maps")
pytestmark = pytest.mark.skipif(not MAPS.exists(), reason="no /proc/self/maps on this system")


def maps():
    gc.collect()
    return MAPS.read_bytes().count(b"\n")


def resident():
    """MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def growth(once, rounds=12, warm=4):
    """Memory maps and MiB that a round adds, after `warm` of them."""
    for number in range(warm):
        once(number)
    before = maps(), resident()
    for number in range(warm, warm + rounds):
        once(number)
    return (maps() - before[0]) / rounds, (resident() - before[1]) / rounds


def assert_flat(once, **more):
    by_maps, by_memory = growth(once, **more)
    assert by_maps < 4, f"{by_maps} memory maps a round"
    # A program that stays takes 7 to 22 MiB; what the allocator keeps differs between JAX releases.
    assert by_memory < 5, f"{by_memory} MiB a round"


@pytest.fixture(scope="module")
def model():
    return optimus.load("optimus-classical")


def test_minimize_in_a_loop_lets_each_function_go(model):
    def once(number):
        centre = np.arange(3.0) + number
        found = optimus.minimize(
            lambda x: jnp.sum((x - centre) ** 2), np.zeros(3), model=model, maxiter=3
        )
        assert found.nit

    assert_flat(once)


def test_minimize_in_a_loop_lets_each_jitted_function_go(model):
    def once(number):
        centre = np.arange(3.0) + number
        fun = jax.jit(lambda x: jnp.sum((x - centre) ** 2))
        for _ in range(2):
            optimus.minimize(fun, np.zeros(3), model=model, maxiter=3)

    assert_flat(once)


class Data(np.ndarray):
    """An array that can be referred to weakly."""


@pytest.mark.parametrize("jitted", [False, True])
def test_a_function_and_its_data_are_not_kept_alive(model, jitted):
    data = np.ones(1000).view(Data)
    alive = weakref.ref(data)

    def fun(x, data=data):
        return jnp.sum((x - np.asarray(data)[:3]) ** 2)

    optimus.minimize(jax.jit(fun) if jitted else fun, np.zeros(3), model=model, maxiter=3)
    del data, fun
    gc.collect()
    assert alive() is None


def test_a_jitted_function_is_compiled_once_as_long_as_it_lives(model):
    traced = []

    @jax.jit
    def fun(x):
        traced.append(1)
        return jnp.sum(x**2)

    class Holder:
        @jax.jit
        def method(x):
            traced.append(1)
            return jnp.sum(x**2)

    for _ in range(3):
        optimus.minimize(fun, np.ones(3), model=model, maxiter=2)
    assert len(traced) == 1
    for _ in range(3):
        optimus.minimize(Holder.method, np.ones(3), model=model, maxiter=2)
    assert len(traced) == 2


def test_programs_of_other_sizes_are_let_go(model, monkeypatch):
    for name in ("compiled", "start_of", "step_of"):
        few = functools.lru_cache(maxsize=1)(getattr(proposal, name).__wrapped__)
        monkeypatch.setattr(proposal, name, few)

    def square(x):
        return float(x @ x), 2.0 * x

    def once(number):
        x = np.ones(2 + number, np.float32)
        optimus.minimize(square, x, jac=True, model=model, maxiter=2)

    assert_flat(once, warm=3, rounds=4)


def test_only_so_many_programs_are_kept(model):
    for kept in (proposal.compiled, proposal.start_of, proposal.step_of, learned.compiled):
        assert kept.cache_info().maxsize <= 32


def test_evaluations_of_other_sizes_let_their_programs_go():
    config = AdafactorMlpConfig(hidden=2)
    params = registry.rule_of(config).init_params(config, jax.random.PRNGKey(0))
    small = weights.LearnedOptimizer(config, params, {})

    def once(number):
        chosen = suites.Plan(("levy",), (2 + number,), starts=1, steps=2)
        suites.evaluate(small, None, chosen, threading.Event())

    assert_flat(once, warm=suites.KEPT, rounds=4)


def test_the_programs_of_the_usual_evaluation_are_all_kept():
    usual = suites.Plan()
    assert len(usual.functions) * len(usual.dims) <= suites.KEPT <= 8


def quiet():
    return Console(file=io.StringIO())


@pytest.mark.slow
def test_cells_of_the_benchmark_let_their_programs_go(tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "CELLS_BETWEEN", 8)
    functions = [name for name in FUNCTIONS if name not in ("powell", "perm")]
    methods = plan.methods_of("bfgs,optax_lbfgs,newton_cg,return_zero")

    def once(number):
        counts = (1, 3, 0)
        pair = functions[2 * number : 2 * number + 2]
        found = classical.run("fair-shift", pair, (3,), methods, *counts, tmp_path, quiet())
        assert found.computed == 8

    assert_flat(once, warm=3, rounds=3)
