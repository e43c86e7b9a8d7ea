"""`optimus worker` and `optimus actor`: join a running program from anywhere, leave at any time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from launch import Say, stop_on_signals
from launch.fleet import HOST, compare_workers, require_match, usable_workers
from optimus.errors import ConfigError, require
from optimus.files import parse_json

if TYPE_CHECKING:
    from optimus.config import TrainConfig
    from optimus.wire import Head


_PLACE = (f"{HOST[0]}:[0-9]{{1,5}}", "host:port")


@dataclass(frozen=True)
class Worker:
    """Serve losses to a running program; it needs nothing but the coordinator's address.

    Join at any time, leave by Ctrl-C at any time: what was in flight here goes elsewhere. Ends by
    itself, with code 0, when the run is over. Examples:

      optimus worker --coordinator head:20100
      optimus worker --coordinator head:20100 --count 8 --port 21000
      optimus worker --coordinator head:20100 --advertise worker-3.example.org
    """

    coordinator: str
    """host:port of the run's coordinator; `optimus train` writes it into roster.json."""
    count: int = 1
    """Workers in this process, one core each."""
    advertise: str | None = None
    """The name or address under which the actors reach this host; default: the address from which
    it reaches the coordinator. Give it behind a tunnel or a NAT."""
    port: int | None = None
    """First of consecutive ports; default: free ones."""

    def run(self, say: Say) -> int:
        """Serves until the run is over or Ctrl-C."""
        from launch.program.addresses import free_ports, own_address

        require(1 <= self.count <= 1024, f"--count {self.count}: want 1 ... 1024")
        if self.advertise is not None:
            require_match(HOST, self.advertise, "--advertise")
        ports = free_ports(self.count, self.port)
        config, head = _joined(self.coordinator)
        compare_workers(self.count, usable_workers(config), say)
        from launch.program import members

        stop = stop_on_signals()
        host = self.advertise or own_address(self.coordinator)
        addresses = [f"{host}:{port}" for port in ports]
        say(f"{self.count} loss workers of {config.name!r} at {addresses[0]} ...; Ctrl-C leaves")
        run_id = head.run_id
        members.serve_workers(config, addresses, self.coordinator, run_id, None, 0, stop.wait)
        say("left" if stop.is_set() else "the run is over")
        return 0


@dataclass(frozen=True)
class Actor:
    """Unroll optimizers for a running, asynchronous program; see `optimus worker`.

    An actor calls and is never called, so it needs no address of its own; it must reach the head
    and every worker. Example:

      optimus actor --coordinator head:20100
    """

    coordinator: str
    """host:port of the run's coordinator."""

    def run(self, say: Say) -> int:
        """Acts until the run is over or Ctrl-C."""
        config, head = _joined(self.coordinator)
        from launch.program import members
        from launch.program.addresses import LOCALHOST

        here = (LOCALHOST, "127.", "[::1]")
        if head.learner.startswith(LOCALHOST) and not self.coordinator.startswith(here):
            port = self.coordinator.rpartition(":")[2]
            raise ConfigError(
                f"--coordinator {self.coordinator}: its learner is at {head.learner}, which only "
                "its own host reaches: start the run with --advertise and the name of that host, "
                f"or, on that host, give --coordinator localhost:{port}"
            )

        stop = stop_on_signals()
        say(f"an actor of {config.name!r}; Ctrl-C leaves")
        where = (self.coordinator, head.learner, head.stream)
        members.run_actor(config, -1, *where, head.run_id, None, stop)
        say("left" if stop.is_set() else "the run is over")
        return 0


def _joined(address: str) -> tuple[TrainConfig, Head]:
    """(configuration, head) of the run whose coordinator is at `address`."""
    from launch.runners import distributed_missing
    from optimus.config import from_dict

    require_match(_PLACE, address, "--coordinator")
    port = int(address.rpartition(":")[2])
    require(0 < port < 65536, f"--coordinator {address}: want a port within 1 ... 65535")
    missing = distributed_missing()
    require(not missing, str(missing))
    from launch.adapters import courier
    from optimus.wire import CodecError
    from optimus.wire.membership import PROTOCOL

    deadline = time.monotonic() + 60.0
    while True:
        try:
            head = courier.RemoteCoordinator(address).head()
            break
        except CodecError as error:
            raise ConfigError(f"--coordinator {address}: of another version: {error}") from None
        except courier.CallError as error:
            if time.monotonic() > deadline:
                raise ConfigError(f"--coordinator {address}: no answer in 60 s: {error}") from None
            time.sleep(1.0)
    other = f"protocol {head.protocol}, ours is {PROTOCOL}; install the same version"
    require(head.protocol == PROTOCOL, f"--coordinator {address}: {other}")
    try:
        return from_dict(parse_json(head.config)), head
    except ValueError as error:
        raise ConfigError(f"--coordinator {address}: its configuration: {error}") from None
