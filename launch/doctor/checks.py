"""What `optimus doctor` checks. That packages install proves nothing about their binaries, so
each check really does the thing: loads, calls, compares.
"""

import contextlib
import importlib
import importlib.metadata
import importlib.util
import platform
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from optimus.installation import distributed_command, extra_command, install_command, python_command

ROOT = Path(__file__).resolve().parents[2]  # the folder that our packages are in
_PACKAGES = ("optimus", "workers", "learner", "launch")
_CORE = ("jax", "jaxlib", "dm-haiku", "optax", "safetensors", "numpy")
_DISTRIBUTED = ("dm-launchpad", "dm-reverb", "tensorflow-cpu")


class Skipped(Exception):
    """The check does not apply here; the message says why."""


class Failed(Exception):
    """The check found a fault; the message is one line."""


@dataclass(frozen=True)
class Check:
    """One line of the report.

    run: returns what was found; raises `Skipped`, or anything else for a fault.
    remedy: what to do when it fails, unless a `UserError` says it.
    timeout: s. isolated: in a process of its own.
    """

    name: str
    run: Callable[[], str]
    remedy: str
    timeout: float = 60.0
    isolated: bool = True


def _versions(*names: str) -> str:
    """Versions of the distributions that are installed, in one line."""
    found = []
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{name} {importlib.metadata.version(name)}")
    return ", ".join(found)


def _need(module: str, what: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise Skipped(f"{what} is not installed; in-process runs do without")


def _python() -> str:
    here = f"{platform.python_implementation()} {platform.python_version()} {platform.machine()}"
    if importlib.util.find_spec("launchpad") is not None:
        return f"{here}: runs in process, local_mt, local_mp"
    if command := distributed_command():
        return f"{here}: runs in process; local_mp needs the extra [distributed]: {command}"
    return f"{here}: runs in process; local_mp needs CPython 3.10 on x86-64 Linux"


def _ours() -> str:
    for name in _PACKAGES:
        spec = importlib.util.find_spec(name)
        place = Path(spec.origin).resolve() if spec is not None and spec.origin else None
        if place != ROOT / name / "__init__.py":
            raise Failed(f"package {name!r} is {place}, not the one in {ROOT}")
    return f"{', '.join(_PACKAGES)} are those in {ROOT}"


def _libraries() -> str:
    for name in ("jax", "haiku", "optax", "safetensors"):
        importlib.import_module(name)
    base = _versions(*_CORE)
    return ", ".join(filter(None, [base, _versions(*_DISTRIBUTED, "tensorflow", "protobuf")]))


def _simulator() -> str:
    from workers.physics.build import how_to_build
    from workers.physics.native import binding, library_path

    if not (path := library_path()).exists():
        raise Skipped(f"not built; for physics losses {how_to_build()}")
    binding.library()
    return f"{path} loads"


def _op() -> str:
    _need("tensorflow", "TensorFlow")
    from workers.physics.build import how_to_build
    from workers.physics.native import library_path, op_path

    if not library_path().exists():
        raise Skipped("not built, as the simulator is not")
    if not (path := op_path()).exists():
        raise Skipped(f"not built; for the TensorFlow backend {how_to_build()}")
    importlib.import_module("workers.physics.simulation.tf_op").op_library()
    return f"{path} loads"


def _assets() -> str:
    from workers.physics.assets import AssetError, assets_folder, verify_assets

    folder = assets_folder()
    if not folder.is_dir():
        command = python_command("workers.physics.assets")
        raise Skipped(f"not fetched; the first physics loss does it, and so does {command}")
    try:
        verify_assets(folder)
    except AssetError as error:
        again = f"rm -r {shlex.quote(str(folder))} && {python_command('workers.physics.assets')}"
        raise AssetError(f"{error}; to do: {again}") from None
    return f"complete in {folder}"


def _gradient() -> str:
    import numpy as np

    try:
        _simulator()
        _assets()
    except Exception:
        raise Skipped("needs the simulator and the motion clips, see above") from None
    from workers.physics import PhysicsLoss
    from workers.physics.native import op_path

    window = ("walk", 0.0, 0.25)
    direct = PhysicsLoss(*window)
    random = np.random.default_rng(0)
    x, direction = 0.1 * random.standard_normal((2, direct.dim))
    loss, gradient = direct.value_and_grad(x)
    step = 1e-5
    ahead = direct.value_and_grad(x + step * direction)[0]
    behind = direct.value_and_grad(x - step * direction)[0]
    expected, got = (ahead - behind) / (2 * step), float(gradient @ direction)
    error = abs(got - expected) / max(abs(expected), 1e-12)
    if not error < 1e-5:
        raise Failed(f"gradient along a direction {got:.9g}, by differences {expected:.9g}")
    text = f"agrees with differences to {error:.0e}"
    if importlib.util.find_spec("tensorflow") is None or not op_path().exists():
        return f"{text}; direct backend only"
    other, others = PhysicsLoss(*window, backend="tensorflow").value_and_grad(x)
    if other != loss or not np.array_equal(others, gradient):
        raise Failed("the TensorFlow op and the direct backend differ in value or gradient")
    return f"{text}; both backends agree bit for bit"


def _courier() -> str:
    _need("courier", "Courier (Launchpad)")
    import numpy as np

    from launch.adapters import courier
    from launch.program.addresses import free_ports
    from optimus.wire import pack, unpack

    def double(data: bytes) -> bytes:
        return pack(2 * unpack(data))

    stop = courier.serve({"double": double}, port := free_ports(1)[0])
    call = courier.Caller(f"localhost:{port}", timeout=20.0)
    array = np.arange(1000, dtype=np.float32)
    if not np.array_equal(unpack(bytes(call("double", pack(array)))), 2 * array):
        raise Failed("another array came back than was sent")
    try:
        call.start("double", array)
    except TypeError:
        stop()
        return "a packed array went there and back; a bare one, which would hang, is refused"
    raise Failed("a bare array argument was let through; Courier would hang on it")


def _reverb() -> str:
    _need("reverb", "Reverb")
    from launch.adapters import reverb
    from launch.program.addresses import free_ports

    port, stop = free_ports(1)[0], threading.Event()
    threading.Thread(target=reverb.serve, args=(port, 4, stop), daemon=True).start()
    writer = reverb.StreamWriter(f"localhost:{port}")
    reader = reverb.StreamReader(f"localhost:{port}", capacity=1)
    if not writer.put(b"sample", timeout=20.0):
        raise Failed("an insert into an empty queue was not taken within 20 s")
    if (got := reader.get(timeout=20.0)) != b"sample":
        raise Failed(f"inserted b'sample', sampled {got!r}")
    stop.set()
    return "one sample inserted and read"


def _ports() -> str:
    from launch.configs import find
    from launch.program import addresses

    chosen = addresses.choose(find("smoke"))
    with socket.create_server(("127.0.0.1", int(chosen.learner[0].rpartition(":")[2]))) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()
    return f"free ones found, such as {chosen.learner[0]}, and loopback connects"


def _namespace() -> str:
    from launch.program.network_namespace import enter_network_namespace

    reason = enter_network_namespace()
    if reason is not None:
        raise Skipped(reason)
    return (
        "a local_mp run is sealed in a network namespace of its own; without it (local_mt, fleets) "
        "whoever reaches the ports can run code here (docs/explanation/trust.md)"
    )


def _real_run() -> str:
    _need("launchpad", "Launchpad")
    run_dir = Path.cwd() / "run"
    command = [sys.executable, "-m", "launch.cli.main", "train", "smoke", "--launch", "local_mp"]
    command += ["--set", "updates=3", "--run-dir", str(run_dir)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        lines = done.stdout.decode(errors="replace").strip().splitlines() or ["no output"]
        raise Failed(f"exit code {done.returncode}: {lines[-1]}")
    from launch.monitoring.status import read_status
    from optimus.rundir.metrics import tail

    status = read_status(run_dir)
    if (status.state, status.step) != ("finished", 3):
        raise Failed(f"the run is {status.state} at update {status.step} of 3")
    counts = {role: count["total"] for role, count in status.roles.items()} | {"learner": 1}
    nodes = [f"{role} {index}" for role, count in counts.items() for index in range(count)]
    paths = {name: run_dir / "metrics" / f"{name.replace(' ', '-')}.jsonl" for name in nodes}
    silent = [name for name, path in paths.items() if not (path.exists() and tail(path))]
    if silent:
        raise Failed(f"these nodes never reported: {', '.join(silent)}")
    roles = ", ".join(["learner", *status.roles])
    return f"3 updates out of samples that came through the stream; reported: {roles}"


def _reinstall(extra: str, *packages: str) -> str:
    """The command that brings what is pinned back: in a checkout its environment, anew."""
    if (ROOT / "scripts" / "setup.sh").is_file():
        return shlex.join(["make", "-C", str(ROOT), "clean", "native"])
    if extra:
        return extra_command(extra)
    return install_command("--force-reinstall", *packages)


_BUILD = python_command("workers.physics.build", "--force")
_STACK = _reinstall("distributed")

CHECKS: tuple[Check, ...] = (
    Check("python", _python, "", isolated=False),
    Check("packages", _ours, "remove or rename the other package", isolated=False),
    Check("libraries", _libraries, _reinstall("", *_CORE), 120.0),
    Check("simulator", _simulator, _BUILD),
    Check("tensorflow op", _op, _BUILD, 120.0),
    Check("motion clips", _assets, ""),
    Check("gradient", _gradient, _BUILD, 120.0),
    Check("courier", _courier, _STACK, 120.0),
    Check("reverb", _reverb, _STACK, 120.0),
    Check("ports", _ports, "stop what holds ports 20000 to 32000, or bring loopback up"),
    Check("network", _namespace, "see the message"),
)
_AGAIN = f"{python_command('launch.cli.main', 'train', 'smoke')}, then read its logs/"
REAL_RUN = Check("local_mp run", _real_run, _AGAIN, 120.0)
