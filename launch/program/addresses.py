"""Who listens where: the addresses of a program's servers, chosen once and written down."""

import itertools
import json
import os
import random
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

from launch.fleet import HOST, require_match
from launch.fleet.on_host.state import is_free
from optimus.config import TrainConfig
from optimus.errors import UserError, require
from optimus.files import read_json
from optimus.rundir.checkpoint import write_atomically

FILE = "roster.json"
LOCALHOST = "localhost"
_RANGE = (20000, 32000)  # below the local port range, so no client socket takes one meanwhile


class PortInUse(UserError, RuntimeError):
    """A port the user asked for is taken; the message names it."""


@dataclass(frozen=True)
class Roster:
    """host:port of every server, by role and index."""

    coordinator: list[str]
    learner: list[str]
    stream: list[str]
    physics_worker: list[str]

    def write(self, run_dir: Path) -> None:
        """Writes `roster.json`."""
        write_atomically(run_dir / FILE, json.dumps(asdict(self)) + "\n")


def read(run_dir: Path) -> Roster:
    """Reads `roster.json`; raises `ValueError` when it is not one."""
    try:
        return Roster(**read_json(run_dir / FILE))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{run_dir / FILE}: {error}") from None


def choose(config: TrainConfig, base_port: int | None = None, host: str = LOCALHOST) -> Roster:
    """Addresses for this configuration on one host.

    Args:
      config: how many servers there are.
      base_port: first of consecutive ports, or None to look for free ones.
      host: name the clients use.

    Raises:
      ConfigError: a port outside of 1024 ... 65535.
      PortInUse: a port of the asked range is taken, or none is free.
    """
    require_match(HOST, host, "--advertise")
    workers = config.processes.workers if config.served else 0
    addresses = [f"{host}:{port}" for port in free_ports(3 + workers, base_port)]
    return Roster(addresses[:1], addresses[1:2], addresses[2:3], addresses[3:])


def free_ports(count: int, base_port: int | None = None) -> list[int]:
    """`count` free ports, consecutive from `base_port` if it is given; raises as `choose`."""
    if base_port is None:
        shuffled = random.Random(os.getpid()).sample(range(*_RANGE), 400 + 2 * count)
        chosen = list(itertools.islice(filter(is_free, shuffled), count))
        if len(chosen) < count:
            raise PortInUse(f"no {count} free ports between {_RANGE[0]} and {_RANGE[1]}")
        return chosen
    last = 65535 - count
    require(1024 <= base_port <= last, f"--port {base_port}: want 1024 ... {last}")
    chosen = list(range(base_port, base_port + count))
    taken = next(itertools.filterfalse(is_free, chosen), None)
    if taken is not None:
        used = f"port {taken} is in use (this needs {chosen[0]} ... {chosen[-1]})"
        raise PortInUse(f"{used}; stop what uses it or choose another --port")
    return chosen


def own_address(peer: str) -> str:
    """The address of this host on its way to `peer` (host:port): by it, `peer`'s side reaches us.

    Nothing is sent. "localhost" where the way cannot be found, which only a call can explain.
    """
    host, _, port = peer.rpartition(":")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)
        family, kind, _, _, there = found[0]
        with socket.socket(family, kind) as probe:
            probe.connect(there)
            address = str(probe.getsockname()[0])
    except (OSError, ValueError):
        return LOCALHOST
    return f"[{address}]" if family == socket.AF_INET6 else address
