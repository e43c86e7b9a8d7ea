"""`bench runtime`: what is timed, how rounds and budgets go, the files. No time is asserted."""

import csv
import functools
import io
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from rich.console import Console

from launch.cli import bench as bench_commands
from optimus.bench.methods import bfgs_quadratic
from optimus.bench.runtime import report, steps, timing
from optimus.bench.runtime import run as runtime
from optimus.bench.runtime.steps import REFERENCE
from optimus.bench.runtime.timing import Timed, TooLarge
from optimus.config import ConfigError
from optimus.model.config import OptimizerConfig

SMALL = OptimizerConfig(dim=8, encoders=1)


def quiet():
    return Console(file=io.StringIO(), width=200)


def fake(seconds, flops=1e6, log=None):
    """A row whose calls take as long as they are said to."""

    def call():
        if log is not None:
            log.append(seconds)
        return seconds

    return lambda dim: Timed(call, steps=1, compile_seconds=0.25, flops=flops)


def refuse(dim):
    raise TooLarge("9.0 GiB, limit 4 GiB")


def test_main_writes_table_and_picture(tmp_path):
    builders = {REFERENCE: fake(0.01), "double": fake(0.02, 4e6), "huge": refuse}
    console = quiet()
    code = runtime.main("2,10", repeats=3, out=tmp_path, console=console, builders=builders)
    assert code == 0
    with open(tmp_path / "runtime.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == runtime.COLUMNS
    assert [(row["N"], row["method"]) for row in rows] == [
        ("2", REFERENCE),
        ("2", "double"),
        ("10", REFERENCE),
        ("10", "double"),
    ]
    row = rows[1]
    assert float(row["median_ms"]) == float(row["q90_ms"]) == 20.0 and row["samples"] == "3"
    assert float(row["times_scipy_bfgs"]) == 2.0 and float(row["compile_s"]) == 0.25
    assert float(row["times_floor"]) == pytest.approx(20.0 / float(row["floor_ms"]))
    assert float(row["floor_ms"]) == pytest.approx(4 * float(rows[0]["floor_ms"]))
    text = (tmp_path / "runtime.md").read_text()
    assert "| 2 | 10 | 20 |" in text and "visible cores" in text and "GFLOP/s" in text
    assert "skipped: huge N = 10: 9.0 GiB, limit 4 GiB" in text
    assert "skipped: huge N = 2" in console.file.getvalue()
    pytest.importorskip("matplotlib")
    assert (tmp_path / "runtime.png").stat().st_size > 1000


def test_rounds_are_interleaved_and_slow_rows_stop_when_their_time_is_up():
    log = []
    builders = {"fast": fake(0.01, log=log), "slow": fake(2.0, log=log)}
    rows, skipped, rates = runtime.measure((2,), 4, 3.0, quiet(), builders)
    samples = {row["method"]: row["samples"] for row in rows}
    assert samples == {"fast": 4, "slow": 2} and not skipped
    assert log[-6:] == [0.01, 2.0, 0.01, 2.0, 0.01, 0.01]
    assert rates[2] > 0 and np.isnan(rows[0]["times_scipy_bfgs"])


def test_a_row_slower_than_its_time_is_measured_once():
    rows, _, _ = runtime.measure((2,), 5, 1.0, quiet(), {"slow": fake(60.0)})
    assert rows[0]["samples"] == 1


@pytest.mark.parametrize("form", ["call", "scan", "vmap"])
def test_the_learned_step_is_compiled_and_counted(form, monkeypatch):
    monkeypatch.setattr(steps, "SCAN_STEPS", 3)
    monkeypatch.setattr(steps, "LANES", 2)
    timed = steps.learned(SMALL, 3, form)
    assert timed.steps == {"call": 1, "scan": 3, "vmap": 2}[form]
    assert timed.compile_seconds > 0 and timed.sample(2) > 0
    # Per coordinate at least twice the weights of one encoder's linear layers: 12 D².
    assert timed.flops > 2 * 3 * 12 * 8**2


def test_what_does_not_fit_is_refused_before_it_is_made(monkeypatch):
    monkeypatch.setattr(timing, "MEMORY_LIMIT", 1 << 20)
    monkeypatch.setattr(steps, "LANES", 1 << 10)
    with pytest.raises(TooLarge, match=r"GiB, limit 0 GiB"):
        steps.learned(SMALL, 50, "vmap")


def test_scipys_update_is_the_one_multiplied_out():
    random = np.random.default_rng(1)
    root = random.standard_normal((6, 6))
    inverse, s = root @ root.T, random.standard_normal(6)
    y = s * random.uniform(1, 2, 6)
    expected = steps.cubic_update(inverse, s, y)
    np.testing.assert_allclose(expected @ y, s, atol=1e-9)  # the quasi-Newton equation
    updated = bfgs_quadratic.update_inverse(inverse.copy(), s, y)
    np.testing.assert_allclose(updated, expected, atol=1e-9)


@pytest.mark.parametrize("method", ["BFGS", "L-BFGS-B"])
def test_the_functions_time_is_taken_out(method, monkeypatch):
    now = 0.0

    def clock():
        nonlocal now
        now += 1.0
        return now

    def slow(x, gradient=scipy.optimize.rosen_der):
        nonlocal now
        now += 1e6
        return gradient(x)

    monkeypatch.setattr(steps, "time", types.SimpleNamespace(perf_counter=clock))
    monkeypatch.setattr(scipy.optimize, "rosen_der", slow)
    timed = steps.scipy_iteration(4, method)
    assert timed.steps > 10
    assert 0 < timed.call() < 1e5
    assert now > 1e7


def test_every_builder_builds():
    for name, build in steps.BUILDERS.items():
        if not name.startswith("optimus"):
            timed = build(3)
            assert timed.sample(2) > 0 and timed.flops > 0, name
    names = {
        f"{name}_{form}"
        for name in ("optimus", "optimus_small", "optimus_tiny")
        for form in ("call", "scan", "vmap")
    }
    assert names < set(steps.BUILDERS)
    assert isinstance(steps.BUILDERS["optimus_call"], functools.partial)


def test_compile_times_are_not_those_of_the_cache_on_disk(tmp_path, monkeypatch):
    before = jax.config.jax_compilation_cache_dir, jax.config.jax_enable_compilation_cache
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    try:
        with timing.compiling_anew():
            assert not jax.config.jax_enable_compilation_cache
            timing.compiled_with_seconds(lambda x: 3 * x, jnp.ones(3))
        assert not list(tmp_path.iterdir())
        assert jax.config.jax_enable_compilation_cache == before[1]
    finally:
        jax.config.update("jax_compilation_cache_dir", before[0])
        timing.compilation_cache.reset_cache()


def test_the_report_says_how_many_threads_there_were(monkeypatch):
    rows = runtime.measure((2,), 1, 1.0, quiet(), {REFERENCE: fake(0.01)})
    for flags, blas, words in (
        ("--x intra_op_parallelism_threads=1", "1", "threads: XLA 1, BLAS 1"),
        ("", "", "threads: XLA all, BLAS all"),
    ):
        monkeypatch.setenv("XLA_FLAGS", flags)
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", blas)
        monkeypatch.setenv("OMP_NUM_THREADS", "")
        assert words in report.markdown(*rows, (0.0, 0.0))


def test_flops_are_xlas_count():
    matrix = jnp.ones((32, 32))
    compiled, _ = timing.compiled_with_seconds(jnp.matmul, matrix, matrix)
    assert timing.flops_of(compiled) == pytest.approx(2 * 32**3, rel=0.01)


def test_mistakes_are_one_line(tmp_path):
    for changes, words in (
        (dict(dims="1,10"), "dims must be within 2 and 5000: 1,10"),
        (dict(dims="10,100000"), "dims must be within 2 and 5000"),
        (dict(dims="a"), "dims must be whole numbers"),
        (dict(repeats=0), "repeats: got 0, want an integer of at least 1"),
        (dict(repeats=10**30), "repeats: got 10+, want at most 100000"),
        (dict(budget=float("nan")), "budget: got nan, want > 0 and at most"),
    ):
        with pytest.raises(ValueError, match=words) as caught:
            runtime.main(**changes, out=tmp_path / "never", console=quiet())
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "never").exists()
    with pytest.raises(ConfigError, match="repeats: got 0"):
        bench_commands.Bench(bench_commands.Runtime(repeats=0, out=tmp_path)).run(print)
