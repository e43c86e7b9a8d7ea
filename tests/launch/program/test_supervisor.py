"""The supervisor of a node, with real processes and real signals."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="parent-death signals are Linux's")

ROOT = pathlib.Path(__file__).resolve().parents[3]
DEADLINE = 15.0  # seconds; the machine may be busy

# What the roles below share: a line to the log for each event, written at once.
PRELUDE = """
import os, pathlib, signal, subprocess, sys, time
here = pathlib.Path(sys.argv[1])
def log(text):
    with open(here / "log", "a") as file:
        file.write(text + "\\n")
def linger():
    while True:
        time.sleep(0.01)
"""


class Tree:
    """Starts parents (and launchers) whose role is a few lines of Python; knows how each ended."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[str]] = []

    def parent(self, role: str, *options: str) -> subprocess.Popen[str]:
        return self.start(*self.command(role, *options))

    def command(self, role: str, *options: str) -> list[str]:
        script = self.folder / "role.py"
        script.write_text(PRELUDE + textwrap.dedent(role))
        child = [sys.executable, str(script), str(self.folder)]
        return [sys.executable, "-m", "launch.program.supervisor", *options, "--", *child]

    def start(self, *command: str) -> subprocess.Popen[str]:
        # Under nohup SIGHUP is ignored, which children inherit and the parent honours.
        inherited = signal.signal(signal.SIGHUP, signal.SIG_DFL)
        try:
            process = subprocess.Popen(
                command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True
            )
        finally:
            signal.signal(signal.SIGHUP, inherited)
        self.started.append(process)
        return process

    def log(self) -> list[str]:
        path = self.folder / "log"
        return path.read_text().splitlines() if path.exists() else []

    def pid(self, name: str) -> int:
        """Waits for the log line `name PID`."""
        prefix = f"{name} "
        until(lambda: any(line.startswith(prefix) for line in self.log()), f"{name} to start")
        return next(int(line.split()[1]) for line in self.log() if line.startswith(prefix))

    def clean(self) -> None:
        for line in self.log():  # whatever a failed test left
            with contextlib.suppress(OSError, ValueError, IndexError):
                pid = int(line.split()[1])
                if str(self.folder).encode() in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
                    os.kill(pid, signal.SIGKILL)
        for process in self.started:
            process.kill()
            with process:  # closes the pipe, waits
                pass


def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < deadline, f"waited {DEADLINE:g} s for {what}"
        time.sleep(0.01)


def state(pid: int) -> str:
    """One letter as in proc(5); X when there is no such process."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def gone(pid: int) -> bool:
    """True when the process has ended; a zombie (its reaper may be slow) has ended."""
    return state(pid) in "ZX"


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    errors = process.communicate(timeout=DEADLINE)[1]
    return process.returncode, errors


@pytest.fixture
def tree(tmp_path: pathlib.Path) -> Iterator[Tree]:
    tree = Tree(tmp_path)
    yield tree
    tree.clean()


GRACEFUL = """
def stop(number, frame):
    log(f"signal {number}")
    time.sleep(0.3)
    log("saved")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, stop)
log(f"role {os.getpid()}")
linger()
"""
STUBBORN = """
signal.signal(signal.SIGTERM, lambda *_: log("ignored"))
signal.signal(signal.SIGINT, signal.SIG_IGN)
log(f"role {os.getpid()}")
linger()
"""
PLAIN = 'log(f"role {os.getpid()}"); linger()'


@pytest.mark.parametrize(
    ("role", "code"),
    [
        ("sys.exit(0)", 0),
        ("sys.exit(7)", 7),
        ("raise SystemExit(255)", 255),
        ("os.kill(os.getpid(), signal.SIGKILL)", 137),
        ("os.kill(os.getpid(), signal.SIGTERM)", 143),  # not asked for: a failure
        ("signal.signal(signal.SIGSEGV, signal.SIG_DFL); os.kill(os.getpid(), 11)", 139),
    ],
)
def test_exit_code_is_the_childs(tree: Tree, role: str, code: int) -> None:
    assert finish(tree.parent(role)) == (code, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_stop_is_forwarded_once_and_ends_in_zero(tree: Tree, number: signal.Signals) -> None:
    parent = tree.parent(GRACEFUL)
    tree.pid("role")
    parent.send_signal(number)
    assert finish(parent) == (0, "")
    assert tree.log()[1:] == ["signal 15", "saved"]


def test_repeated_sigterms_do_not_break_a_graceful_stop(tree: Tree) -> None:
    parent = tree.parent(GRACEFUL)
    tree.pid("role")
    while parent.poll() is None:
        parent.send_signal(signal.SIGTERM)
        time.sleep(0.02)
    assert finish(parent) == (0, "")
    assert tree.log()[1:] == ["signal 15", "saved"]


def test_interrupt_of_the_whole_terminal_group_reaches_the_child_once(tree: Tree) -> None:
    """As Ctrl-C does: SIGINT to the group, then SIGTERM from the launcher that got it too."""
    parent = tree.parent(GRACEFUL)
    role = tree.pid("role")
    assert os.getpgid(role) == role != os.getpgid(parent.pid)
    os.killpg(os.getpgid(parent.pid), signal.SIGINT)
    parent.send_signal(signal.SIGTERM)
    assert finish(parent) == (0, "")
    assert tree.log()[1:] == ["signal 15", "saved"]


def test_default_reaction_to_the_requested_sigterm_counts_as_well_ended(tree: Tree) -> None:
    parent = tree.parent(PLAIN)
    tree.pid("role")
    parent.send_signal(signal.SIGTERM)
    assert finish(parent) == (0, "")


def test_failure_while_stopping_is_passed_on(tree: Tree) -> None:
    parent = tree.parent(GRACEFUL.replace("sys.exit(0)", "sys.exit(5)"))
    tree.pid("role")
    parent.send_signal(signal.SIGTERM)
    assert finish(parent) == (5, "")


def test_child_that_ignores_sigterm_is_killed_after_the_grace(tree: Tree) -> None:
    parent = tree.parent(STUBBORN, "--grace", "0.4")
    role = tree.pid("role")
    begin = time.monotonic()
    parent.send_signal(signal.SIGTERM)
    code, errors = finish(parent)
    assert code == 137 and time.monotonic() - begin >= 0.4
    assert "did not stop within 0.4 s; killing its process group" in errors
    assert errors.count("\n") == 1 and gone(role)
    assert tree.log()[1:] == ["ignored"]


def test_second_interrupt_kills_at_once(tree: Tree) -> None:
    parent = tree.parent(STUBBORN, "--grace", "60")
    tree.pid("role")
    parent.send_signal(signal.SIGINT)
    until(lambda: "ignored" in tree.log(), "the first interrupt")
    assert parent.poll() is None
    parent.send_signal(signal.SIGINT)
    code, errors = finish(parent)
    assert code == 137 and "second interrupt" in errors


def test_stopped_child_is_killed_after_the_grace(tree: Tree) -> None:
    parent = tree.parent(PLAIN, "--grace", "0.2")
    role = tree.pid("role")
    os.kill(role, signal.SIGSTOP)
    until(lambda: state(role) == "T", "the child to be stopped")
    parent.send_signal(signal.SIGTERM)
    assert finish(parent)[0] == 137


def test_child_dies_with_a_parent_killed_by_sigkill(tree: Tree) -> None:
    parent = tree.parent(STUBBORN)
    role = tree.pid("role")
    parent.kill()
    until(lambda: gone(role), "the child's death")


@pytest.mark.parametrize("role", [GRACEFUL, STUBBORN])
def test_both_die_with_a_launcher_killed_by_sigkill(tree: Tree, role: str) -> None:
    command = tree.command(role, "--grace", "10" if role == GRACEFUL else "0.3")
    launcher = tree.start(
        sys.executable,
        "-c",
        "import json, os, subprocess, sys; c = json.loads(sys.argv[1]); i = c.index('--')\n"
        "c[i:i] = ['--ppid', str(os.getpid())]\n"
        "p = subprocess.Popen(c)\n"
        "open(sys.argv[2], 'a').write(f'parent {p.pid}\\n'); p.wait()",
        json.dumps(command),
        str(tree.folder / "log"),
    )
    parent, child = tree.pid("parent"), tree.pid("role")
    launcher.kill()
    until(lambda: gone(parent) and gone(child), "both to end")
    assert tree.log()[-1] == ("saved" if role == GRACEFUL else "ignored")  # it was asked first


def test_launcher_already_gone_starts_nothing(tree: Tree) -> None:
    code, errors = finish(tree.parent(PLAIN, "--ppid", "999999999"))
    assert code == 1
    assert errors == "supervisor: the launcher (process 999999999) is gone; nothing started\n"
    assert tree.log() == []


FAILS_TWICE = """
count = len((here / "log").read_text().splitlines()) if (here / "log").exists() else 0
log(f"start {os.getpid()}")
if count < 2:
    sys.exit(1) if count else os.kill(os.getpid(), signal.SIGKILL)
log("well")
"""


def test_a_failed_role_starts_again_until_it_ends_well(tree: Tree) -> None:
    options = ("--restart", "on-failure", "--limit", "2", "--name", "actor 0")
    code, errors = finish(tree.parent(FAILS_TWICE, *options))
    assert code == 0 and [line.split()[0] for line in tree.log()] == ["start"] * 3 + ["well"]
    assert (
        "actor 0: killed by signal 9 (SIGKILL), perhaps out of memory; restart 1 of at most 2 in 0."
        in errors
    )
    assert "actor 0: exited with code 1; restart 2 of at most 2 in " in errors
    assert "abandoned" not in errors


def test_a_role_that_goes_on_failing_is_abandoned(tree: Tree) -> None:
    options = ("--restart", "on-failure", "--limit", "1", "--name", "actor 0")
    code, errors = finish(tree.parent(FAILS_TWICE, *options))
    assert code == 1 and len(tree.log()) == 2
    last = "supervisor: actor 0: exited with code 1 after 1 restarts; abandoned"
    assert errors.splitlines()[-1] == last


def test_an_optional_role_that_is_abandoned_has_ended_well(tree: Tree) -> None:
    options = ("--restart", "on-failure", "--limit", "1", "--name", "evaluator 0", "--optional")
    code, errors = finish(tree.parent("sys.exit(1)", *options))
    assert code == 0
    last = "exited with code 1 after 1 restarts; abandoned; the run goes on without it"
    last = f"evaluator 0: {last}"
    assert errors.splitlines()[-1] == f"supervisor: {last}"


def test_what_cannot_be_mended_is_not_tried_again(tree: Tree) -> None:
    role = 'log("start"); sys.exit(78)'
    code, errors = finish(tree.parent(role, "--restart", "on-failure", "--name", "learner 0"))
    assert (code, tree.log()) == (78, ["start"])
    assert errors == "supervisor: learner 0: exited with code 78; abandoned\n"


def test_a_stop_while_waiting_to_start_again_is_heeded(tree: Tree) -> None:
    role = 'log(f"start {os.getpid()}"); sys.exit(1)'
    parent = tree.parent(role, "--restart", "on-failure", "--limit", "50")
    until(lambda: len(tree.log()) >= 3, "some restarts")
    # The third pause is seconds long; a role that fails while it is asked to stop has failed.
    until(lambda: state(int(tree.log()[-1].split()[1])) == "X", "the role to end")
    parent.send_signal(signal.SIGTERM)
    assert finish(parent)[0] == 0


# A grandchild in the role's group, one that left it, and one that is an orphan already.
GRANDCHILDREN = """
def spin(name, session):
    command = [sys.executable, "-c", "import time; time.sleep(600)", str(here)]
    log(f"{name} {subprocess.Popen(command, start_new_session=session).pid}")
spin("near", False)
spin("far", True)
if not (middle := os.fork()):
    spin("orphan", True)
    os._exit(0)
os.waitpid(middle, 0)
log(f"role {os.getpid()}")
"""


@pytest.mark.parametrize("ending", ["sys.exit(3)", "linger()"])
def test_grandchildren_do_not_survive(tree: Tree, ending: str) -> None:
    parent = tree.parent(GRANDCHILDREN + ending)
    tree.pid("role")
    others = [tree.pid(name) for name in ("near", "far", "orphan")]
    if ending == "linger()":
        assert not any(gone(pid) for pid in others)
        parent.send_signal(signal.SIGTERM)
    assert finish(parent) == (3 if ending != "linger()" else 0, "")
    assert all(gone(pid) for pid in others)


def test_bystander_that_ends_early_is_reaped_and_does_not_end_the_run(tree: Tree) -> None:
    """An orphan adopted by the parent ends while the role goes on."""
    parent = tree.parent(
        """
        if not (middle := os.fork()):
            if not os.fork():
                os.setsid(); log(f"orphan {os.getpid()}"); time.sleep(0.1); os._exit(9)
            os._exit(0)
        os.waitpid(middle, 0)
        log(f"role {os.getpid()}")
        linger()
        """
    )
    orphan, role = tree.pid("orphan"), tree.pid("role")
    until(lambda: not pathlib.Path(f"/proc/{orphan}").exists(), "the orphan to be reaped")
    assert parent.poll() is None and not gone(role)
    parent.send_signal(signal.SIGTERM)
    assert finish(parent) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--", "no-such-program"], 127, "cannot run 'no-such-program': No such file"),
        (["--", "/"], 126, "cannot run '/': Permission denied"),
        ([], 2, "no command; give it after --"),
        (["--grace", "-1", "--", "true"], 2, "--grace -1: want seconds"),
        (["--grace", "nan", "--", "true"], 2, "--grace nan: want seconds"),
        (["--restart", "always", "--", "true"], 2, "invalid choice: 'always'"),
        (["--record", "actor/x.json", "--", "true"], 2, "want FOLDER/ROLE/INDEX.exit.json"),
    ],
)
def test_mistakes_get_a_clear_line(tree: Tree, arguments: list[str], code: int, says: str) -> None:
    process = tree.start(sys.executable, "-m", "launch.program.supervisor", *arguments)
    returned, errors = finish(process)
    assert (returned, says in errors) == (code, True), errors


def test_the_childs_arguments_may_hold_dashes(tree: Tree) -> None:
    process = tree.start(
        sys.executable, "-m", "launch.program.supervisor", "--", "test", "--", "=", "--"
    )
    assert finish(process) == (0, "")


def test_only_the_standard_library_is_imported() -> None:
    code = "import sys; old = {*sys.modules}; import launch.program.supervisor as it"
    code += "; print(*{*sys.modules} - old)"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    roots = {name.partition(".")[0] for name in result.stdout.split()}
    assert roots - set(sys.stdlib_module_names) == {"launch"}


def test_a_full_disk_below_its_log_ends_no_role(tmp_path: pathlib.Path) -> None:
    """Its own lines are lost; the role starts again all the same."""
    count = tmp_path / "count"
    role = "import sys; file = open(sys.argv[1], 'a'); file.write('x'); sys.exit(1)"
    command = [sys.executable, "-m", "launch.program.supervisor", "--name", "actor 0"]
    command += ["--restart", "on-failure", "--limit", "1"]
    command += ["--", sys.executable, "-c", role, str(count)]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, cwd=ROOT, stderr=full, stdout=full, timeout=60, check=False)
    assert (done.returncode, count.read_text()) == (1, "xx")
