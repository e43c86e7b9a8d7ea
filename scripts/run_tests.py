"""The tiers of tests: what each part runs, and a table of what came out.

    python scripts/run_tests.py quick        # 2 minutes: lint, types, the tests that compile little
    python scripts/run_tests.py test         # 15 minutes: everything that a change needs
    python scripts/run_tests.py all          # 2 hours: test, then every part of REST
    python scripts/run_tests.py rest 60      # those parts of REST that fit into 60 minutes
    python scripts/run_tests.py PART [...]   # single parts; `list` shows them

Called by the Makefile, with the interpreter of .venv. `ARGS="-k pes"` reaches every pytest part.
The order in which `rest` takes the parts rotates by commit; it prints those it did not run.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHON, NEWEST, DOCS = (f".venv{name}/bin/python" for name in ("", "-newest", "-docs"))
# Distributed tests wait more than they compute, so three processes share two cores. They come first
# (launch before optimus), so that the last to end are short ones.
PYTEST = "-m pytest -q -n 3 --dist loadfile --no-loadscope-reorder --durations 20"
SIMULATION = "-m pytest -q -o faulthandler_timeout=0 tests/workers/physics/simulation"
NOTHING_CHOSEN = 5  # pytest's exit code when ARGS leave no test


@dataclass(frozen=True)
class Part:
    """One command of a tier.

    Attributes:
      name: as given on the command line.
      what: one line for people.
      command: after the interpreter; split as a shell does.
      minutes: what it takes on two cores; `rest` begins no part that would end too late.
      python: the interpreter, relative to the repository.
      environment: variables for this part alone.
    """

    name: str
    what: str
    command: str
    minutes: float
    python: str = PYTHON
    environment: tuple[tuple[str, str], ...] = ()


LINT = (
    Part("lint", "ruff check", "-m ruff check -q", 0.1),
    Part("format", "ruff format", "-m ruff format -q --check", 0.1),
    Part("types", "mypy", "-m mypy --no-error-summary", 1.0),
    Part("docstrings", "shapes and Args", "scripts/check_docstrings.py", 0.1),
)
QUICK = Part(
    "quick-tests",
    "tests that compile little and start no program",
    f"{PYTEST} -m 'not slow and not story' tests/test_repository.py tests/optimus/config "
    "tests/optimus/rundir tests/optimus/wire tests/learner tests/launch/pool",
    1.0,
)
TESTS = Part(
    "tests",
    "all packages on this Python, without `slow` and `story`",
    f"{PYTEST} -m 'not slow and not story' tests",
    13.0,
)
NEWEST_CHOICE = Part(
    "newest-choice",
    "model, minimization and a round of training on the newest Python and JAX, as users compile",
    f"{PYTEST} -m 'not slow and not story' tests/optimus/model/test_optimizer.py "
    "tests/optimus/minimization tests/optimus/test_optax_adapter.py tests/optimus/config "
    "tests/optimus/meta/test_update.py",
    2.0,
    NEWEST,
    (("XLA_FLAGS", ""),),
)
REST = (
    Part("slow", "long tests of single parts", f"{PYTEST} -m slow tests", 12.0),
    Part("stories", "runs that die, hang and come back", f"{PYTEST} -m story tests/launch", 30.0),
    Part(
        "newest",
        "the core tests on the newest Python and JAX, as users compile",
        f"{PYTEST} -m 'not slow and not story' tests/optimus",
        20.0,
        NEWEST,
        (("XLA_FLAGS", ""),),
    ),
    Part(
        "stress",
        "10,000 random rollouts of the simulator, 1,000 with gradient",
        f"{SIMULATION}/test_robustness.py",
        10.0,
        environment=(("OPTIMUS_STRESS", "1"),),
    ),
    Part(
        "sanitize",
        "the simulator under the address and undefined-behaviour sanitizers",
        f"{SIMULATION}/test_sanitize.py",
        10.0,
        environment=(("OPTIMUS_SANITIZE", "1"),),
    ),
    Part(
        "docs",
        "the documentation, built strictly",
        "-m mkdocs build --strict",
        0.5,
        DOCS,
        (("NO_MKDOCS_2_WARNING", "1"),),
    ),
)
TIERS = {"quick": (*LINT, QUICK), "test": (*LINT, TESTS, NEWEST_CHOICE)}
TIERS["all"] = (*TIERS["test"], *REST)


@dataclass(frozen=True)
class Outcome:
    """What became of a part: exit code, wall-clock minutes, tests by outcome."""

    part: Part
    code: int
    minutes: float
    counts: dict[str, int]


def run(part: Part) -> Outcome:
    """Runs a part with its output on ours."""
    print(f"== {part.name}: {part.what}", flush=True)
    start = time.monotonic()
    if part.python == NEWEST and not _newest_environment():
        return Outcome(part, 0, 0.0, {})
    if part.python == DOCS and not _docs_environment():
        return Outcome(part, 1, 0.0, {})
    words = shlex.split(part.command)
    if "pytest" in words:
        words += shlex.split(os.environ.get("ARGS", ""))
    environment = os.environ | dict(part.environment)
    process = subprocess.Popen(
        [str(ROOT / part.python), *words],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    last = ""
    for line in process.stdout:
        print(line, end="", flush=True)
        last = line if re.search(r"\d+ (passed|failed|error|skipped)", line) else last
    code = process.wait()
    counts = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|skipped|error)", last)}
    if code == NOTHING_CHOSEN and os.environ.get("ARGS"):
        code = 0
    return Outcome(part, code, (time.monotonic() - start) / 60, counts)


def _newest_environment() -> bool:
    """Whether there is an environment with the newest JAX beside .venv; says why not."""
    if (ROOT / ".venv/environment").read_text().strip() == "base":
        print("skipped: .venv itself is an environment of CPython 3.11 or newer", flush=True)
        return False
    code = subprocess.run(["sh", "scripts/setup.sh", "newest"], cwd=ROOT).returncode
    if code == 3:
        print("skipped, for the reason above", flush=True)
    elif code:
        sys.exit(code)
    return code == 0


def _docs_environment() -> bool:
    """Whether what builds the documentation is there, beside .venv."""
    return subprocess.run(["sh", "scripts/setup.sh", "docs"], cwd=ROOT).returncode == 0


def rotated(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """The parts from another one on with each commit."""
    try:
        command = ["git", "rev-list", "--count", "HEAD"]
        count = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    except FileNotFoundError:
        count = ""  # as in an unpacked source distribution
    first = int(count or 0) % len(parts)
    return parts[first:] + parts[:first]


def report(outcomes: list[Outcome], left: list[Part]) -> int:
    """Prints the table and the totals; 1 where a part failed."""
    print(f"\n{'part':<14} {'minutes':>7} {'passed':>6} {'failed':>6} {'skipped':>7}  result")
    total = dict.fromkeys(("passed", "failed", "skipped"), 0)
    for outcome in outcomes:
        counts = outcome.counts | {
            "failed": outcome.counts.get("failed", 0) + outcome.counts.get("error", 0)
        }
        row = [counts.get(word, 0) for word in total]
        for word, count in zip(total, row, strict=True):
            total[word] += count
        result = "ok" if outcome.code == 0 else f"FAILED ({outcome.code})"
        numbers = f"{row[0]:>6} {row[1]:>6} {row[2]:>7}"
        print(f"{outcome.part.name:<14} {outcome.minutes:>7.1f} {numbers}  {result}")
    for part in left:
        print(f"{part.name:<14} {'-':>7} {'-':>6} {'-':>6} {'-':>7}  NOT RUN ({part.what})")
    if not outcomes:
        return 0
    minutes = sum(outcome.minutes for outcome in outcomes)
    print(f"{minutes:.1f} minutes in all")
    print(f"tests: {total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped")
    if os.environ.get("ARGS") and not any(total.values()):
        print(f'ARGS="{os.environ["ARGS"]}" chooses no test', file=sys.stderr)
        return NOTHING_CHOSEN
    return int(any(outcome.code for outcome in outcomes))


def main(words: list[str]) -> int:
    """Runs tiers or parts in turn; a failure does not keep the others from running."""
    every = {part.name: part for part in (*TIERS["all"], QUICK)}
    if words == ["list"] or not words:
        for part in every.values():
            print(f"{part.name:<14} {part.minutes:>5.1f} min  {part.what}")
        return 0
    limit = 0.0
    if words[0] == "rest" and len(words) == 2:
        limit, words = float(words[1]), []
    unknown = [word for word in words if word not in {*every, *TIERS}]
    if unknown:
        names = ", ".join((*TIERS, *every))
        print(f"unknown {unknown[0]!r}: want rest MINUTES, or some of {names}", file=sys.stderr)
        return 2
    begun = time.monotonic()
    outcomes = [run(part) for word in words for part in TIERS.get(word) or (every[word],)]
    left: list[Part] = []
    for part in rotated(REST) if limit else ():
        if (time.monotonic() - begun) / 60 + part.minutes > limit:
            left.append(part)
        else:
            outcomes.append(run(part))
    return report(outcomes, left)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
