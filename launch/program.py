"""The Launchpad program: who there is and who talks to whom, on one page.

    loss workers  <--loss requests--  actors  --samples-->  stream (Reverb)  -->  learner
         |                             |  ^------ weights, episode ids ---------------'
         '-- beats -->  coordinator  <-'

Coordinator, stream and learner have fixed addresses (the head). Loss workers and actors register
with the coordinator, so that others may join and leave at any time (`optimus worker`).

Every process of a run rebuilds this same program from `config.json` and `roster.json` and runs its
own node of it (distributed fact sheet, section 5), so nothing is pickled and a node can be started
on any host. Building it is cheap and touches no JAX device.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import launchpad as lp
from absl import flags
from launchpad import address
from launchpad.context import LaunchType
from launchpad.launch import worker_manager
from launchpad.launch.local_multi_processing.commands import Command
from launchpad.nodes.base import Handle

from launch import environment, members, roles
from launch.adapters import courier as courier_adapter
from launch.coordinator import Coordinator
from launch.roster import Roster
from optimus.config import TrainConfig
from optimus.wire import Version

_GRACE = 8.0  # s a role has to stop before its parent kills it


# -- the program ---------------------------------------------------------------------------------


def build(config: TrainConfig, run_dir: Path, roster: Roster) -> lp.Program:
    """The whole program; labels are the roles' names."""
    program = lp.Program(config.name)
    layout, limit = config.layout, config.layout.restarts

    with program.group("coordinator"):
        coordinator = program.add_node(
            Service(roster.coordinator[0], run_dir, limit, CoordinatorRole, config, run_dir, roster)
        )

    with program.group("stream"):
        table = 2 * config.meta.batch  # back-pressure: actors wait once two batches are queued
        stream = program.add_node(Stream(roster.stream[0], run_dir, limit, table))

    with program.group("learner"):
        uses = (stream, coordinator)
        learner = program.add_node(
            Service(roster.learner[0], run_dir, limit, LearnerRole, config, run_dir, *uses)
        )

    if config.served:
        with program.group("physics_worker"):
            for first in range(0, layout.workers, layout.per_process):
                there = roster.physics_worker[first : first + layout.per_process]
                work = (run_workers, config, run_dir, first, there, coordinator)
                program.add_node(Runner(run_dir, limit, *work))

    with program.group("actor"):
        for index in range(layout.actors):
            act = (run_actor, config, run_dir, index, coordinator, learner, stream)
            program.add_node(Runner(run_dir, limit, *act))

    return program


# -- what each node runs -------------------------------------------------------------------------


class CoordinatorRole:
    """The coordinator behind Courier; only these methods are exposed."""

    def __init__(self, config: TrainConfig, run_dir: Path, roster: Roster) -> None:
        self._coordinator = Coordinator(config, run_dir, roster)

    def beat(self, data: bytes) -> bytes:
        """See `Registry.beat`."""
        return self._coordinator.beat(data)

    def head(self) -> bytes:
        """See `Coordinator.head`."""
        return self._coordinator.head()

    def finish(self) -> bytes:
        """See `Coordinator.finish`."""
        return self._coordinator.finish()

    def run(self) -> None:
        """Serves until stopped."""
        self._coordinator.serve(lp.wait_for_stop)


class LearnerRole:
    """The learner behind Courier; only these methods are exposed."""

    def __init__(self, config: TrainConfig, run_dir: Path, stream: str, coordinator: str) -> None:
        self._coordinator = coordinator
        from launch.adapters import reverb

        reader = reverb.StreamReader(stream, capacity=config.meta.batch)
        self._learner = roles.make_learner(config, run_dir, reader, print)

    def session(self, actor: int, incarnation: str) -> bytes:
        """See `ParameterSource.session`."""
        return self._learner.session(actor, incarnation)

    def parameters(self, have: list[int] | None) -> tuple[int, int, bytes] | None:
        """See `ParameterSource.parameters`: (epoch, step, packed weights) or None."""
        answer = self._learner.parameters(Version(*have) if have else None)
        return None if answer is None else (answer[0].epoch, answer[0].step, answer[1])

    def reserve_episodes(self, count: int) -> int:
        """See `ParameterSource.reserve_episodes`."""
        return self._learner.reserve_episodes(count)

    def run(self) -> None:
        """Updates until done or stopped. At the end the whole program is asked to stop while this
        server still answers, so that no actor meets a closed door."""
        done = self._learner.run(lp.stop_event())
        if done:
            with contextlib.suppress(courier_adapter.CallError):  # `lp.stop` reaches our own nodes
                courier_adapter.RemoteCoordinator(self._coordinator).finish()
        lp.stop()
        lp.wait_for_stop(30.0)


def run_workers(
    config: TrainConfig, run_dir: Path, first: int, addresses: list[str], coordinator: str
) -> None:
    """One process of loss workers until stopped."""
    members.serve_workers(config, addresses, coordinator, run_dir, first, lp.wait_for_stop)


def run_actor(
    config: TrainConfig, run_dir: Path, index: int, coordinator: str, learner: str, stream: str
) -> None:
    """One actor until stopped."""
    members.run_actor(config, index, coordinator, learner, stream, run_dir, lp.stop_event())


# -- node types: Launchpad's, with our addresses and our thin parent ------------------------------


class _Fixed(address.AbstractAddressBuilder):
    def __init__(self, address: str) -> None:
        self._address = address

    def build(self) -> str:
        return self._address


class _AddressHandle(Handle[str]):
    """A handle that dereferences to host:port; adapters make the client, with its deadlines."""

    def __init__(self, address: address.Address) -> None:
        self._address = address

    def dereference(self) -> str:
        return str(self._address.resolve())


class _Ours:
    """Mixed into Launchpad's node types: fixed address, child process through `launch.parent`."""

    run_dir: Path
    limit: int  # restarts of one node within ten minutes
    fixed: str | None = None

    def bind_addresses(self, **_: Any) -> None:
        for unbound in self.addresses:  # type: ignore[attr-defined]
            unbound.bind(_Fixed(str(self.fixed)))

    def create_handle(self) -> Any:
        if not self.addresses:  # type: ignore[attr-defined]
            return super().create_handle()  # type: ignore[misc]
        return self._track_handle(_AddressHandle(self.addresses[0]))  # type: ignore[attr-defined]

    @staticmethod
    def to_executables(nodes: Any, label: str, launch_context: Any) -> list[Any]:
        if launch_context.launch_type is not LaunchType.LOCAL_MULTI_PROCESSING:
            return lp.PyNode.to_executables(nodes, label, launch_context)  # type: ignore[no-any-return]
        run_dir, limit = str(nodes[0].run_dir), nodes[0].limit
        return [
            Command(
                [sys.executable, "-m", "launch.parent", "--ppid", str(os.getpid())]
                + ["--name", f"{label} {index}", "--grace", str(_GRACE)]
                + ["--restart", "on-failure", "--limit", str(limit), "--"]
                + [sys.executable, "-m", "launch.node", "--role", label, "--index", str(index)]
                + ["--run-dir", run_dir, "--launcher", str(os.getpid())],
                environment.of_role(label),
                f"{label}/{index}.log",
            )
            for index in range(len(nodes))
        ]


class Service(_Ours, lp.CourierNode):  # type: ignore[misc]
    """A class served by Courier at a fixed address."""

    def __init__(
        self, location: str, run_dir: Path, limit: int, constructor: Any, *args: Any
    ) -> None:
        super().__init__(constructor, *args)
        self.fixed, self.run_dir, self.limit = location, run_dir, limit


class Stream(_Ours, lp.PyNode):  # type: ignore[misc]
    """The sample queue. Launchpad's own ReverbNode would import Reverb, and with it TensorFlow, in
    every process that builds the program; here only those that use the stream do."""

    def __init__(self, location: str, run_dir: Path, limit: int, capacity: int) -> None:
        super().__init__(self._serve)
        self._capacity = capacity
        self.fixed, self.run_dir, self.limit = location, run_dir, limit
        self.allocate_address(address.Address("reverb"))

    def _serve(self) -> None:
        from launch.adapters import reverb

        port = address.get_port_from_address(str(self.fixed))
        reverb.serve(port, self._capacity, lp.stop_event())


class Runner(_Ours, lp.PyNode):  # type: ignore[misc]
    """A function that nobody calls into."""

    def __init__(
        self, run_dir: Path, limit: int, function: Callable[..., None], *args: Any
    ) -> None:
        super().__init__(function, *args)
        self.run_dir, self.limit = run_dir, limit


# -- running it ----------------------------------------------------------------------------------


def launch_and_wait(program: lp.Program, launch_type: str) -> str | None:
    """Runs the program until its learner ends, then stops everything.

    Args:
      program: from `build`.
      launch_type: "local_mt" or "local_mp". Main thread only: Launchpad sets signal handlers.

    Returns:
      None, or one line that says a node failed.
    """
    flags.FLAGS(["optimus"], known_only=True)
    label = "learner" if launch_type == "local_mt" else "learner/0.log"
    failure = None
    manager = lp.launch(program, launch_type=launch_type, terminal="output_to_files")
    try:
        manager.wait(labels_to_wait_for=[label])
    except Exception as error:  # whatever a node raised, or "exited with code"
        failure = f"{type(error).__name__}: {error}"
    manager.stop_and_wait()
    return failure


def run_node(program: lp.Program, label: str, index: int, stop: Callable[[], None]) -> None:
    """Runs one node of the program in this process, until it ends or SIGTERM."""
    flags.FLAGS(["optimus"], known_only=True)
    for name, nodes in program.groups.items():
        for node in nodes:
            node.launch_context.initialize(
                LaunchType.LOCAL_MULTI_PROCESSING, None, program_stopper=lambda **_: stop()
            )
            for handle in node.input_handles:
                handle.connect(node, name)
            node.bind_addresses()
    assert threading.current_thread() is threading.main_thread()
    worker_manager.WorkerManager(register_in_thread=True)
    program.groups[label][index].function()
