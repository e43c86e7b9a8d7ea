"""The supervisor of one node: starts the role, ties its life to the launcher's, stops all of it.

    python -m launch.program.supervisor [--ppid P] [--grace 8]
        [--restart on-failure --limit 5] [--optional] [--record FILE] -- COMMAND ...

Only the standard library is imported: a supervisor is small, and nothing the role loads can harm
it.

* When the launcher (process P, whoever started this one) dies, the kernel sends the supervisor
  SIGTERM (PR_SET_PDEATHSIG) and it stops its child. When the supervisor dies, the kernel kills the
  child.
* The child leads its own session, so Ctrl-C in a terminal reaches the supervisor only. SIGTERM,
  SIGINT and SIGHUP all mean "stop": the child gets one SIGTERM, however often they come. After
  `--grace` seconds, or at a second SIGINT, its whole process group is killed.
* When the child has ended, whatever it started ends too, even what left its process group (the
  supervisor is the subreaper of its descendants). Only `kill -9` of it can leave some behind.
* With `--restart on-failure` a role that failed starts again after half a second, or twice the
  last pause if it had run for less than a minute; but at most `--limit` times within ten minutes.
  Code 78 (`FINAL`) and mistakes in the command are not mended by trying again. On fleets
  supervisord, Slurm or Kubernetes does this.
* With `--optional` the run can do without the role: when it is abandoned, the code is 0 all the
  same.
* With `--record` how the role ended is written down, see `launch.program.exit_record`.

Exit code: the child's; 128 + n when signal n ended it; 0 when it ended well (code 0, or by SIGTERM)
because it was asked to; 1 launcher already gone; 2 usage; 126 or 127 command cannot be run.
"""

import argparse
import contextlib
import ctypes
import os
import random
import signal
import sys
import time
from collections.abc import Iterator

from launch.program import exit_record

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
FINAL = 78  # EX_CONFIG: the role says that another start would fail the same way
_NO_RESTART = (0, 2, 126, 127, FINAL)
_WINDOW = 600.0  # s in which `--limit` restarts may happen
_LONGEST_PAUSE = 30.0  # s
_HEALTHY = 60.0  # s of running after which pauses are short again


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # its log's disk is full: the role must not end for that
        os.write(2, f"supervisor: {text}\n".encode())


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl({option}, {value}) failed")


def _start(command: list[str], blocked: set[signal.Signals]) -> int:
    """Executes `command` as the leader of a session of its own; returns its process id."""
    parent = os.getpid()
    pid = os.fork()  # safe: this process has one thread
    if pid:
        return pid
    status = 127  # as shells do: 127 not found, 126 not executable
    try:
        os.setsid()
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:  # else it died before the line above took hold
            signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
            os.execvp(command[0], command)
    except OSError as error:
        status = 126 if isinstance(error, PermissionError) else 127
        _say(f"cannot run {command[0]!r}: {error.strerror}")
    finally:
        os._exit(status)


def _ended(child: int) -> bool:
    """True once `child` is a zombie (kept, so its group id stays ours); reaps adopted orphans."""
    while True:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if found is None or found.si_pid == child:
            return found is not None
        os.waitpid(found.si_pid, 0)


def _children() -> Iterator[int]:
    """Process ids of this process's children, out of /proc."""
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{entry}/stat", "rb") as stat:
            if int(stat.read().rpartition(b")")[2].split()[1]) == os.getpid():
                yield int(entry)


def _sweep(child: int) -> int:
    """Kills what the ended child left (its group, its descendants); returns its wait status."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    deadline = time.monotonic() + 2.0  # killed processes leave at once, unless stuck in the kernel
    while time.monotonic() < deadline:
        for orphan in _children():
            os.kill(orphan, signal.SIGKILL)  # not reaped yet, so the id is still its own
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return status
        time.sleep(0.005)
    _say(f"could not end the processes {sorted(_children())}")
    return status


def run(command: list[str], options: argparse.Namespace) -> int:
    """Runs `command` until it ends or is stopped; returns the exit code described above."""
    limit = options.limit if options.restart == "on-failure" else 0
    stops = _block_signals()
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if options.ppid is not None and os.getppid() != options.ppid:
        _say(f"the launcher (process {options.ppid}) is gone; nothing started")
        return 1
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    failures: list[float] = []
    restarts, pause = 0, 0.0
    while True:
        exit_record.begin(options.record, restarts)
        began = time.monotonic()
        asked, code = _once(command, options.grace, stops)
        if asked or code in _NO_RESTART:
            break
        now = time.monotonic()
        failures = [*(t for t in failures if now - t < _WINDOW), now]
        if len(failures) > limit:
            break
        pause = min(_LONGEST_PAUSE, 2 * pause) if pause and now - began < _HEALTHY else 0.5
        wait = pause * random.uniform(0.7, 1.3)
        again = f"restart {len(failures)} of at most {limit} in {wait:.1f} s"
        _say(f"{options.name or command[0]}: {exit_record.ending(code)}; {again}")
        if signal.sigtimedwait(stops, wait) is not None:
            asked, code = True, 0
            break
        restarts += 1
    return _ended_for_good(options, code, asked, restarts)


def _block_signals() -> set[signal.Signals]:
    """Makes all signals of interest wait to be fetched one by one; those that mean "stop"."""
    stops = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # nohup
        stops.remove(signal.SIGHUP)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, stops | {signal.SIGCHLD})
    return stops


def _ended_for_good(options: argparse.Namespace, code: int, asked: bool, restarts: int) -> int:
    """Says and writes down how the role ended; returns the supervisor's exit code."""
    if asked and code in (0, -signal.SIGTERM):
        code = 0
    abandoned = code != 0 and not (asked and code > 0)
    optional = options.optional
    cause = abandoned and not asked and not optional  # of the run's end; else a consequence of it
    exit_record.end(options.record, code, restarts, failed=cause)
    if abandoned and options.name:
        tries = f" after {restarts} restarts" if restarts else ""
        goes_on = "; the run goes on without it" if optional else ""
        _say(f"{options.name}: {exit_record.ending(code)}{tries}; abandoned{goes_on}")
    if optional and not asked:
        return 0
    return code if code >= 0 else 128 - code


def _once(command: list[str], grace: float, stops: set[signal.Signals]) -> tuple[bool, int]:
    """Runs `command` once: (whether it was asked to stop, its exit code, or minus a signal)."""
    waited = stops | {signal.SIGCHLD}
    child = _start(command, waited)
    asked, interrupts, deadline = False, 0, float("inf")
    while not _ended(child):
        left = min(max(deadline - time.monotonic(), 0.0), 3600.0)
        arrived = signal.sigtimedwait(waited, left)
        number = arrived.si_signo if arrived else None
        interrupts += number == signal.SIGINT
        if number in stops and not asked:
            asked, deadline = True, time.monotonic() + grace
            os.kill(child, signal.SIGTERM)
        late = time.monotonic() >= deadline
        if late or (interrupts > 1 and deadline < float("inf")):
            deadline = float("inf")
            why = f"did not stop within {grace:g} s" if late else "stopped by a second interrupt"
            _say(f"{command[0]} {why}; killing its process group {child}")
            os.killpg(child, signal.SIGKILL)
    return asked, os.waitstatus_to_exitcode(_sweep(child))


def main() -> int:
    usage = "%(prog)s [options] -- COMMAND ..."
    parser = argparse.ArgumentParser("launch.program.supervisor", usage=usage)
    add = parser.add_argument
    add("--ppid", type=int, help="the launcher; if it is gone, nothing is started")
    add("--grace", type=float, default=8.0, help="seconds before SIGKILL (8)")
    add("--name", help="of the role, for what is said of it")
    add("--record", help="file for how the role ended, FOLDER/ROLE/INDEX.exit.json")
    add("--restart", choices=["never", "on-failure"], default="never")
    add("--limit", type=int, default=5, help="restarts within ten minutes (5)")
    add("--optional", action="store_true", help="abandoned, it has ended well")
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options, command = parser.parse_args(sys.argv[1:split]), sys.argv[split + 1 :]
    if not command:
        parser.error("no command; give it after --")
    if not 0 <= options.grace < float("inf"):
        parser.error(f"--grace {options.grace:g}: want seconds, 0 or more")
    if options.limit < 0:
        parser.error(f"--limit {options.limit}: want 0 or more")
    name = os.path.basename(options.record or f"0{exit_record.SUFFIX}")
    if not name.endswith(exit_record.SUFFIX) or not name.removesuffix(exit_record.SUFFIX).isdigit():
        parser.error(f"--record {options.record}: want FOLDER/ROLE/INDEX{exit_record.SUFFIX}")
    return run(command, options)


if __name__ == "__main__":
    sys.exit(main())
