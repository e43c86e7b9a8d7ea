"""Learned optimizers in the benchmark: the contract of all methods, one program per row, lanes."""

import csv
import functools
import io
import itertools

import jax
import numpy as np
import pytest
from rich.console import Console

from launch.cli.bench import Classical
from optimus import weights
from optimus.bench import plan
from optimus.bench.classical import run as classical
from optimus.bench.methods import BASELINES, LEARNED, learned
from optimus.bench.methods.counting import (
    STATUSES,
    compiled_value_and_grad,
    restart_points,
    stacked,
)
from optimus.model import registry
from optimus.model.adafactor_mlp import AdafactorMlpConfig
from optimus.model.config import OptimizerConfig
from optimus.problems import presets
from optimus.weights import LearnedOptimizer

SMALL = OptimizerConfig(dim=8, encoders=1, heads=2, b_decay=0.9)
MLP = AdafactorMlpConfig(step_mult=0.1)
CONFIGS = dict.fromkeys(LEARNED, SMALL) | {"adafactor_mlp": MLP}
ON_HOST = ("optimus_safeguarded", "optimus_hopping")
COMPILED = [name for name in LEARNED if name not in ON_HOST]
RATES = {"adam": 0.1, "adam_cosine": 0.1, "momentum": 1e-4}


@functools.cache
def model(config):
    params = registry.rule_of(config).init_params(config, jax.random.PRNGKey(0))
    return LearnedOptimizer(config, params, {})


def problems(function="rosenbrock", dim=4, count=2, preset="fair-shift"):
    return [presets.problem(preset, function, dim, 0, start) for start in range(count)]


def run(name, given, steps, **options):
    if name in LEARNED:
        return LEARNED[name](given, steps, model=model(CONFIGS[name]), **options)
    if name in RATES:
        options["lr"] = RATES[name]
    return BASELINES[name](given, steps, **options)


# ----------------------------------------------------------------------------------------- contract

TABLE = (*LEARNED, *(name for name in BASELINES if not name.startswith(("cma", "optax"))))


@pytest.mark.parametrize("name", TABLE)
def test_every_method_keeps_the_contract_on_every_kind_of_function(name):
    cap = 9
    functions = ("sphere", "rosenbrock", "levy", "rastrigin")
    cases = list(itertools.product(functions, (2, 10)))
    if name in LEARNED:  # a program for each case is compiled
        cases = list(zip(functions, (2, 10, 2, 10)))
    for function, dim in cases:
        given = problems(function, dim, 2)
        traces = run(name, given, 20, max_evaluations=cap)
        for problem, trace in zip(given, traces):
            with presets.arithmetic("float64"):
                start = float(problem.value(problem.x0))
            if name != "return_zero":  # which does not look at the start
                assert trace.points[0] == pytest.approx(start, rel=1e-12)
                assert np.isfinite(trace.best[-1]) and trace.best[-1] <= trace.points[0]
            assert (np.diff(trace.best) <= 0).all() and trace.status in STATUSES
            assert 1 <= trace.n_f == len(trace.points) <= cap and trace.n_g <= trace.n_f
    # Where a benchmark was interrupted, it begins again and must find the same numbers.
    for trace, again in zip(traces, run(name, given, 20, max_evaluations=cap)):
        np.testing.assert_array_equal(trace.points, again.points)


@pytest.mark.parametrize("name", LEARNED)
def test_a_start_does_not_depend_on_its_companions(name):
    given = problems("levy", 3, 3)
    (alone,), together = run(name, given[1:2], 15), run(name, given, 15)
    np.testing.assert_allclose(alone.points, together[1].points, rtol=1e-4)


# -------------------------------------------------------------------------------------------- lanes


@pytest.mark.parametrize("name", ["optimus", "adafactor_mlp"])
@pytest.mark.parametrize("preset", ["paper", "fair-rotate"])
def test_traces_are_those_of_the_rule_by_hand(name, preset):
    """Value before update; x in the preset's precision, the optimizer in float32."""
    config, dtype = CONFIGS[name], presets.preset(preset).dtype
    rule = registry.rule_of(config)
    update = jax.jit(functools.partial(rule.update, config, model(config).params))
    given = problems("rosenbrock", 2, 2, preset)
    traces = run(name, given, 8)
    with presets.arithmetic(dtype):
        for problem, trace in zip(given, traces):
            x, state = problem.x0, rule.init_state(config, problem.x0)
            for k in range(8):
                value, gradient = compiled_value_and_grad(problem.objective)(problem.data, x)
                assert trace.points[k] == pytest.approx(float(value), rel=1e-4)
                np.testing.assert_allclose(trace.path[k], x, rtol=1e-5)
                step, state = update(state, x, gradient)
                assert step.dtype == np.float32 and x.dtype == dtype
                x = x + np.asarray(step, dtype)
            assert (trace.n_f, trace.n_g, trace.status) == (8, 8, "steps")
            assert trace.path.shape == (8, 2)
    assert run(name, problems("sphere", 2, 1, preset), 3)[0].path is None


def test_float64_points_are_not_rounded_to_float32():
    trace = run("adafactor_mlp", problems("rosenbrock", 2, 1), 4)[0]
    assert not np.array_equal(trace.path[-1], np.float32(trace.path[-1]))


def test_a_lane_that_is_not_finite_stops_and_leaves_the_others_alone(monkeypatch):
    given = problems("rosenbrock", 4, 3)
    healthy = run("adafactor_mlp", given, 10)
    given[1].data["shift"][2] = np.nan
    traces = run("adafactor_mlp", given, 10)
    assert [trace.status for trace in traces] == ["steps", "non_finite", "steps"]
    assert (traces[1].n_f, traces[1].non_finite) == (1, 1) and len(traces[1].path) == 1
    for i in (0, 2):
        np.testing.assert_allclose(traces[i].points, healthy[i].points, rtol=1e-5)


@pytest.mark.parametrize("name, starts", [("adafactor_mlp", 1), ("multistart_optimus", 4)])
def test_explosions_end_the_record_and_are_never_best(name, starts):
    if name == "adafactor_mlp":
        config = AdafactorMlpConfig(step_mult=1e30)
    else:
        config = OptimizerConfig(dim=8, encoders=1, heads=2, lambda_a=1e30)
    given = problems("rosenbrock", 4, 2, "paper")
    for problem, trace in zip(given, LEARNED[name](given, 12, model=model(config))):
        assert trace.n_f < 12 and trace.non_finite == starts
        best = min(problem.value(x) for x in (problem.x0, *restart_points(problem, starts - 1)))
        assert trace.best[-1] == pytest.approx(float(best), rel=1e-5)
        assert trace.status == ("non_finite" if starts == 1 else "stalled")


def test_large_problems_run_in_groups_with_the_same_result(monkeypatch):
    given = problems("levy", 5, 6)
    whole = run("optimus", given, 10)
    monkeypatch.setattr(learned, "MEMORY", 2 * learned.lane_bytes(SMALL, 5))
    assert learned.lanes_together(SMALL, 5, 6) == 2
    for one, other in zip(whole, run("optimus", given, 10)):
        np.testing.assert_allclose(one.points, other.points, rtol=1e-4)
    monkeypatch.setattr(learned, "MEMORY", 1)
    assert learned.lanes_together(SMALL, 5, 6) == 1


# ------------------------------------------------------------------------------------------ program


@pytest.fixture(scope="module")
def compilations():
    """Number of XLA compilations so far, in a list of one."""
    count = [0]

    def listen(event, duration, **more):
        count[0] += event == "/jax/core/compile/backend_compile_duration"

    jax.monitoring.register_event_duration_secs_listener(listen)
    return count


@pytest.mark.parametrize("name", COMPILED)
def test_a_row_of_64_starts_is_one_program(name, compilations):
    """N = 100, 200 steps: one compilation, all lanes vmapped, nothing else compiled by the way."""
    given = problems("rosenbrock", 100, 64, "paper")
    model(CONFIGS[name])
    before = compilations[0]
    traces = run(name, given, 200 if name == "adafactor_mlp" else 20)
    assert compilations[0] == before + 1
    assert len(traces) == 64
    lanes = 256 if name.startswith("multi") else 64
    for config in (CONFIGS[name], OptimizerConfig()):
        assert learned.lanes_together(config, 100, lanes) == lanes


@pytest.mark.parametrize("config", [OptimizerConfig(encoders=1), MLP], ids=["optimus", "mlp"])
def test_64_starts_of_a_thousand_variables_fit_the_memory(config):
    """What XLA says the program needs at full width, without running it."""
    data, x0 = stacked(problems("rosenbrock", 1000, 64, "paper"))
    together = learned.lanes_together(config, 1000, 64)
    objective = problems("rosenbrock", 1000, 1, "paper")[0].objective
    program = learned.compiled(objective, config, 200, together)
    analysis = program.lower(model(config).params, data, x0).compile().memory_analysis()
    assert analysis.temp_size_in_bytes + analysis.output_size_in_bytes < 4e9


# --------------------------------------------------------------------------------------- multistart


def test_multistart_shares_the_evaluations_out():
    given = problems("rosenbrock", 3, 2)
    single = run("optimus", given, 4)
    for budget in (13, 16, 3):
        traces = LEARNED["multistart_optimus"](given, budget, model=model(SMALL), restarts=4)
        for problem, trace, alone in zip(given, traces, single):
            length = -(-budget // 4)
            assert trace.n_f == budget == len(trace.path)
            np.testing.assert_allclose(trace.points[:length], alone.points[:length], rtol=1e-4)
            low, high = problem.box
            further = restart_points(problem, 3)
            assert (low <= further).all() and (further <= high).all()
            expected = trace.path[length::length][:3]
            np.testing.assert_array_equal(expected, further[: len(expected), :2])
    capped = LEARNED["multistart_optimus"](given, 16, model=model(SMALL), max_evaluations=8)
    assert [trace.n_f for trace in capped] == [8, 8]


def test_restarts_are_those_of_multistart_l_bfgs_b():
    problem = problems("sphere", 3, 1)[0]
    (trace,) = BASELINES["multistart_l_bfgs_b"]([problem], 40)
    with presets.arithmetic("float64"):
        values = [float(problem.value(x)) for x in restart_points(problem, 3)]
    for value in values:
        assert np.isclose(trace.points, value, rtol=1e-9).any()


# ------------------------------------------------------------------------------------ command line


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_the_command_line_takes_models(tmp_path):
    files = [
        str(weights.save(tmp_path / name, config, model(config).params))
        for name, config in (("o", SMALL), ("a", MLP))
    ]
    arguments = dict(functions="sphere", dims="2", starts=2, steps=4, out=tmp_path / "out")
    arguments["methods"] = ",".join(LEARNED)
    assert Classical(**arguments, model=files[0], adafactor_model=files[1]).run() == 0
    hashes = {row["method"]: row["weights_hash"] for row in read(tmp_path / "out/results.csv")}
    assert hashes["optimus"] == hashes["multistart_optimus"] == model(SMALL).fingerprint
    assert hashes["adafactor_mlp"] == model(MLP).fingerprint


def test_cells_are_computed_anew_for_other_weights(tmp_path):
    arguments = dict(preset="paper", functions=("sphere",), dims=(2,), starts=1, steps=3, seed=0)
    arguments |= dict(out=tmp_path, console=Console(file=io.StringIO()))
    shipped = plan.methods_of("adafactor_mlp")
    first, again = (classical.run(methods=shipped, **arguments) for _ in range(2))
    untrained = plan.methods_of("adafactor_mlp", adafactor_model="untrained")
    other = classical.run(methods=untrained, **arguments)
    assert [each.computed for each in (first, again, other)] == [1, 0, 1]
    assert other.rows[0]["weights_hash"].startswith("untrained:")
    assert first.rows[0]["weights_hash"] == weights.load("adafactor-mlp-classical").fingerprint


def test_a_model_of_the_other_kind_is_refused_in_one_line():
    with pytest.raises(ValueError, match="optimus-classical holds weights of optimus, need adafac"):
        plan.methods_of("adafactor_mlp", adafactor_model="optimus-classical")
    with pytest.raises(ValueError, match="no weights named 'nothing'"):
        plan.methods_of("optimus", model="nothing")
