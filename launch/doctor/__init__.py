"""`optimus doctor`: loads every native library and tries each engine once.

Each check runs in a process of its own with a time limit: a native library that crashes or hangs is
one FAIL line. Nothing heavy is imported here.
"""

import importlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from launch import run_alone
from launch.doctor.checks import CHECKS, REAL_RUN, ROOT, Check, Failed, Skipped
from launch.program import environment
from optimus.errors import UserError

Status = Literal["ok", "skipped", "FAIL", "FAIL, told"]  # told: the text says what to do


def doctor(quick: bool = False) -> int:
    """Prints one line per check: ok, skipped (an option that is not here) or FAIL with what to do.

    Args:
      quick: leave out the small real run, which takes most of the time.

    Returns:
      0 when all that is installed works, else 1.
    """
    failed = 0
    for check in CHECKS if quick else (*CHECKS, REAL_RUN):
        if sys.stdout.isatty():
            print(f"  ...    {check.name} (at most {check.timeout:.0f} s)", end="\r", flush=True)
        status, text = _isolated(check) if check.isolated else _outcome(check.run)
        failed += status.startswith("FAIL")
        told = f"; to do: {check.remedy}" if status == "FAIL" and check.remedy else ""
        clear = "\x1b[K" if sys.stdout.isatty() else ""
        line = f"{status.partition(',')[0]:<8} {check.name}: {' '.join(text.split())}{told}{clear}"
        print(line, flush=True)
    print(f"failed: {failed}" if failed else "nothing failed", flush=True)
    return 1 if failed else 0


# -- running a check -----------------------------------------------------------------------------


def _outcome(run: Callable[[], str]) -> tuple[Status, str]:
    try:
        return "ok", run()
    except Skipped as reason:
        return "skipped", str(reason)
    except Failed as fault:
        return "FAIL", str(fault)
    except UserError as error:
        return "FAIL, told", str(error)
    except BaseException as error:
        lines = str(error).strip().splitlines() or ["no message"]
        return "FAIL", f"{type(error).__name__}: {lines[0]}"


def _isolated(check: Check) -> tuple[Status, str]:
    """`_outcome` of the check in a process of its own, in an empty folder."""
    code = "import sys; from launch.doctor import child; child(*sys.argv[1:])"
    function = [check.run.__module__, check.run.__qualname__]
    path = filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
    variables = {**os.environ, **environment.of_role("doctor"), "PYTHONPATH": os.pathsep.join(path)}
    with tempfile.TemporaryDirectory(prefix="doctor-", ignore_cleanup_errors=True) as name:
        result, work = Path(name) / "result.json", Path(name) / "work"
        work.mkdir()
        words = [sys.executable, "-c", code, *function, str(result)]
        ended, printed = run_alone(words, check.timeout, cwd=work, env=variables)
        if ended is None:
            return "FAIL", f"no answer within {check.timeout:g} s"
        try:
            status, text = json.loads(result.read_text(encoding="utf-8"))
            return status, text
        except (OSError, ValueError):
            last = (printed.strip() or "none").splitlines()[-1]
            killed = f"killed by {signal.Signals(-ended).name}" if ended < 0 else ""
            return "FAIL", f"{killed or f'ended with code {ended}'}; last words: {last}"


def child(module: str, name: str, result: str) -> None:
    """Runs one check here and writes its outcome; never returns."""
    outcome = _outcome(getattr(importlib.import_module(module), name))
    Path(result).write_text(json.dumps(outcome), encoding="utf-8")
    os._exit(0)  # threads of native libraries could keep or crash an orderly exit
