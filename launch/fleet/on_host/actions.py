"""Requests that a host carries out: each is answered by one JSON object, which has "error" (one
line) when the host could not."""

import base64
import contextlib
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

from launch.fleet.on_host.state import Problem, deployed, is_free, python_of, replace, run_of, unfit
from launch.fleet.on_host.supervisord import configuration, control, programs, supervisor_pid

_PIP = (
    "-I -m pip install --quiet --no-index --no-deps --no-compile --disable-pip-version-check "
    "--no-cache-dir --root-user-action=ignore"
)


# -- looking ---------------------------------------------------------------------------------------


def look(root: Path, request: dict[str, Any]) -> dict[str, Any]:
    """What is here: nothing is changed.

    `ports` in the request are tried, unless the run here may hold them; `watch` adds the run's
    progress as `optimus watch --json` tells it.
    """
    there = root
    while not there.exists():
        there = there.parent
    run = run_of(root)
    alive = supervisor_pid(root)
    answer = {
        "python": f"{sys.executable} ({platform.python_version()})",
        "unfit": unfit(),
        "free": shutil.disk_usage(there).free,
        "cores": len(os.sched_getaffinity(0)),
        "deployed": deployed(root),
        "run": run,
        "alive": alive is not None,
        "programs": programs(root) if alive else {},
        "taken": [p for p in request.get("ports", ()) if not is_free(p)] if not alive else [],
    }
    if request.get("watch") and run and run["role"] == "head":
        answer["watch"] = _watch(root, run)
    return answer


def _watch(root: Path, run: dict[str, Any]) -> dict[str, Any]:
    command = [root / "current/bin/optimus", "watch", root / "runs" / run["run"], "--json"]
    done = subprocess.run(command, capture_output=True, errors="replace", timeout=60, check=False)
    try:
        return dict(json.loads(done.stdout))
    except (ValueError, TypeError, RecursionError):
        return {"problem": (done.stderr.strip().splitlines() or ["no answer"])[-1]}


# -- changing --------------------------------------------------------------------------------------


def install(root: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Makes env-ID out of the wheelhouse that was brought, and `current` point to it."""
    name = request["id"]
    archive = root / f"wheelhouse-{name}.tar"
    env = root / f"env-{name}"
    unpacked = root / f"unpacked-{name}"
    try:
        if not (env / ".complete").exists():
            shutil.rmtree(env, ignore_errors=True)
            shutil.rmtree(unpacked, ignore_errors=True)
            with tarfile.open(archive) as tar:
                tar.extractall(unpacked)
            _shell([sys.executable, "-I", "-m", "venv", str(env)], "making the environment")
            # What this base holds (pip, setuptools) gives way to the pinned wheels.
            wheels = sorted(str(path) for path in (unpacked / "wheels").glob("*.whl"))
            _shell([str(env / "bin/python"), *_PIP.split(), *wheels], "installing the wheels")
            probe = "import launchpad, reverb, workers.physics.simulation, launch.cli.main"
            script = f"from launch.program import environment; environment.apply(); {probe}"
            _shell([str(env / "bin/python"), "-c", script], "loading what was installed")
            shutil.copytree(unpacked / "cache", root / "cache", dirs_exist_ok=True)
            (env / ".complete").touch()
        link = root / ".current"
        link.unlink(missing_ok=True)
        link.symlink_to(env.name)
        link.replace(root / "current")
        for old in root.glob("env-*"):
            if old != env:
                shutil.rmtree(old, ignore_errors=True)
    except (OSError, tarfile.TarError, Problem) as error:
        shutil.rmtree(env, ignore_errors=True)
        raise error if isinstance(error, Problem) else Problem(f"installing: {error}") from None
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
        archive.unlink(missing_ok=True)
    return {"deployed": name}


def _shell(command: list[str], what: str) -> None:
    done = subprocess.run(command, capture_output=True, errors="replace", timeout=900, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise Problem(f"{what} failed: {lines[-1] if lines else done.returncode}")


def start(root: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Brings this host to what the request's `run` says: starts, scales, or leaves it as it is.

    The head's answer comes once its coordinator listens, or says why it does not.
    """
    run, before, alive = request["run"], run_of(root), supervisor_pid(root) is not None
    folder, log = root / "runs" / run["run"], root / "logs" / run["run"] / "head.log"
    said = log.stat().st_size if log.exists() else 0  # by earlier starts
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        if run["role"] == "head":
            folder.mkdir(parents=True, exist_ok=True)
            asked, wanted = folder / "request.json", json.dumps(request["config"])
            runs = alive and programs(root).get("head", "").startswith(("RUNNING", "STARTING"))
            # A restart would read it.
            if runs and asked.exists() and asked.read_text(encoding="utf-8") != wanted:
                raise Problem(f"{run['run']!r} runs here with other values; stop it first")
            replace(asked, wanted)
        conf = configuration(root, run)
        if len(str(root / "supervisord.sock")) > 100 or len(str(root).split()) != 1:
            raise Problem(f"{root}: too long for a socket in it, or a space; set optimus_root")
        replace(root / "fleet.json", json.dumps(run))
        replace(root / "supervisord.conf", conf)
    except OSError as error:
        raise Problem(f"{error.filename}: {error.strerror}") from None
    if alive:
        control(root, "reread")
        control(root, "update")  # stops, starts and leaves alone, by program
    else:
        (root / "supervisord.sock").unlink(missing_ok=True)
        command = [python_of(root), "-m", "supervisor.supervisord"]
        command += ["-c", str(root / "supervisord.conf")]
        done = subprocess.run(command, capture_output=True, errors="replace", timeout=60)
        deadline = time.monotonic() + 20
        while supervisor_pid(root) is None:
            if done.returncode or time.monotonic() > deadline:
                stop(root, {})
                lines = done.stderr.strip().splitlines() or ["it does not answer"]
                raise Problem(f"supervisord: {lines[-1]}")
            time.sleep(0.2)
    if run["role"] == "head":
        problem, finished = _wait_for_head(root, run, said)
        if not before and (problem or finished):  # leave the host as it was
            stop(root, {})
        if problem:
            raise Problem(problem)
        return {"finished": finished}
    return {"programs": programs(root)}


def _wait_for_head(root: Path, run: dict[str, Any], said: int) -> tuple[str, str]:
    """Waits until the coordinator listens: (problem, what a finished run says).

    `said`: length of the head's log before this start.
    """
    deadline = time.monotonic() + 120
    log = root / "logs" / run["run"] / "head.log"
    while time.monotonic() < deadline:
        state = programs(root).get("head", "")
        text = log.read_bytes() if log.exists() else b""
        if len(text) < said:  # supervisord began a new file
            said = 0
        lines = text[said:].decode(errors="replace").strip().splitlines()
        # Said at once, before it is judged, which may take minutes where a stop cut that short.
        finished = [line for line in lines if line.startswith("this run is finished")]
        if finished:
            return "", finished[-1]
        if state.startswith(("EXITED", "FATAL", "BACKOFF")):
            return f"the head does not start: {lines[-1] if lines else state}", ""
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", run["port"]), 1).close()
            return "", ""
        time.sleep(0.25)
    return "the head's coordinator did not listen within 120 s", ""


def stop(root: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Ends every process of ours and forgets the run; its files stay."""
    run = run_of(root)
    pid = supervisor_pid(root)
    if pid is not None:
        control(root, "stop", "all", timeout=120)
        control(root, "shutdown")
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and os.path.exists(f"/proc/{pid}"):
            time.sleep(0.1)
    killed = _kill_left_over(root)
    for name in ("fleet.json", "supervisord.conf", "supervisord.sock", "supervisord.pid"):
        (root / name).unlink(missing_ok=True)
    return {"stopped": run["run"] if run else None, "killed": killed}


def _kill_left_over(root: Path) -> int:
    """Kills what still runs out of one of our environments; how many there were."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0")
            if int(entry) != os.getpid() and words[0].startswith(f"{root}/env-".encode()):
                found.append(int(entry))
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(found)


# -- bringing back ---------------------------------------------------------------------------------


def logs(root: Path, request: dict[str, Any]) -> dict[str, Any]:
    """The last lines of each process's log, by name."""
    run = request.get("name") or (run_of(root) or {}).get("run")
    found = {}
    if run:
        places = [*(root / "logs" / run).glob("*.log"), *(root / "runs" / run).glob("logs/*/*.log")]
        for path in sorted(places):
            with contextlib.suppress(OSError), open(path, "rb") as file:
                file.seek(max(0, path.stat().st_size - 200_000))
                lines = file.read().decode(errors="replace").splitlines()
                label = str(path.relative_to(root)).replace(f"/{run}", "")
                found[label] = lines[-request["lines"] :]
    return {"run": run, "logs": found}


def pack(root: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Puts this host's logs and, if asked for the `run`, its directory into one archive: `file`;
    `id` is the learner's name for the run."""
    run = request.get("name") or (run_of(root) or {}).get("run")
    if not run or not (root / "logs" / run).is_dir():
        return {"run": run}
    path, folder, identity = root / f"collect-{run}.tar.gz", root / "runs" / run, None
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        identity = json.loads((folder / "identity.json").read_bytes())["run_id"]
    try:
        with tarfile.open(path, "w:gz", compresslevel=3) as tar:
            if request.get("run") and folder.is_dir():
                tar.add(folder, "run", filter=lambda x: None if x.name.endswith("/.lock") else x)
            tar.add(root / "logs" / run, "logs")
    except OSError as error:
        path.unlink(missing_ok=True)
        raise Problem(f"packing {run}: {error.strerror}") from None
    return {"run": run, "file": str(path), "id": identity}


_ACTIONS = {do.__name__: do for do in (look, install, start, stop, logs, pack)}


def main() -> None:
    """Does what the request in the first argument says."""
    request = json.loads(base64.b64decode(sys.argv[1]))
    root, action = Path(request["root"]).expanduser(), _ACTIONS[request["action"]]
    try:
        if action not in (look, logs):
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
        answer = action(root, request)
    except Problem as error:
        answer = {"error": str(error)}
    except OSError as error:
        answer = {"error": f"{error.filename or root}: {error.strerror}"}
    except subprocess.TimeoutExpired as error:
        answer = {"error": f"{error.cmd[0]} did not answer within {error.timeout:.0f} s"}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
