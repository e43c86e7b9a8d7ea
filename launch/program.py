"""The Launchpad program: who there is and who talks to whom, on one page.

    physics workers  <--loss requests--  actors  --samples-->  stream (Reverb)  -->  learner
                                           ^------ weights, episode ids ---------------'

Every process of a run rebuilds this same program from `config.json` and `roster.json` and runs its
own node of it (distributed fact sheet, section 5), so nothing is pickled and a node can be started
on any host. Building it is cheap and touches no JAX device.
"""

from __future__ import annotations

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

from launch import environment, roles
from launch.adapters import courier as courier_adapter
from launch.roster import Roster
from optimus.config import PhysicsTask, TrainConfig
from optimus.metrics import MetricsWriter, heartbeat
from optimus.wire import Stopped, Version

_GRACE = 8.0  # s a role has to stop before its parent kills it


# -- the program ---------------------------------------------------------------------------------


def build(config: TrainConfig, run_dir: Path, roster: Roster) -> lp.Program:
    """The whole program; labels are the roles' names."""
    program = lp.Program(config.name)
    layout = config.layout

    with program.group("stream"):
        table = 2 * config.meta.batch  # back-pressure: actors wait once two batches are queued
        stream = program.add_node(Stream(roster.stream[0], run_dir, table))

    with program.group("learner"):
        learner = program.add_node(
            Service(roster.learner[0], run_dir, LearnerRole, config, run_dir, stream)
        )

    workers = []
    if isinstance(config.task, PhysicsTask):
        with program.group("physics_worker"):
            workers = [
                program.add_node(Service(location, run_dir, PhysicsRole, config, run_dir, index))
                for index, location in enumerate(roster.physics_worker)
            ]

    with program.group("actor"):
        for index in range(layout.actors):
            share = [workers[k] for k in roles.worker_share(config, index)] if workers else []
            uses = (learner, stream, share)
            program.add_node(Runner(run_dir, run_actor, config, run_dir, index, *uses))

    return program


# -- what each node runs -------------------------------------------------------------------------


class LearnerRole:
    """The learner behind Courier; only these methods are exposed."""

    def __init__(self, config: TrainConfig, run_dir: Path, stream: str) -> None:
        from launch.adapters import reverb

        reader = reverb.StreamReader(stream, capacity=config.meta.batch)
        self._learner = roles.make_learner(config, run_dir, reader, print)

    def session(self) -> bytes:
        """See `ParameterSource.session`."""
        return self._learner.session()

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
        self._learner.run(lp.stop_event())
        lp.stop()
        lp.wait_for_stop(30.0)


class PhysicsRole:
    """A physics worker behind Courier."""

    def __init__(self, config: TrainConfig, run_dir: Path, index: int) -> None:
        metrics = MetricsWriter(run_dir, "physics_worker", index)
        self._server = roles.make_loss_server(config, metrics)

    def ping(self) -> str:
        """See `PhysicsLossServer.ping`."""
        return str(self._server.ping())

    def evaluate(self, request: bytes) -> bytes:
        """See `PhysicsLossServer.evaluate`."""
        return bytes(self._server.evaluate(request))

    def run(self) -> None:
        """Serves until stopped."""
        heartbeat(self._server, lp.wait_for_stop)


def run_actor(
    config: TrainConfig, run_dir: Path, index: int, learner: str, stream: str, workers: list[str]
) -> None:
    """One actor until stopped."""
    pool = None
    if workers:
        pool = courier_adapter.CourierPool(workers, config.call_timeout)
    from launch.adapters import reverb

    writer = reverb.StreamWriter(stream)
    stop = lp.stop_event()
    source = courier_adapter.RemoteLearner(learner, stop)
    try:
        actor = roles.make_actor(config, index, run_dir, source, writer, pool)
        threading.Thread(target=heartbeat, args=(actor, stop.wait), daemon=True).start()
        actor.run(stop)
    except Stopped:
        pass  # while starting
    finally:
        if pool is not None:
            pool.close()


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
        run_dir = str(nodes[0].run_dir)
        return [
            Command(
                [sys.executable, "-m", "launch.parent", "--ppid", str(os.getpid())]
                + ["--name", f"{label} {index}", "--grace", str(_GRACE), "--"]
                + [sys.executable, "-m", "launch.node", "--role", label, "--index", str(index)]
                + ["--run-dir", run_dir, "--launcher", str(os.getpid())],
                environment.of_role(label),
                f"{label}/{index}.log",
            )
            for index in range(len(nodes))
        ]


class Service(_Ours, lp.CourierNode):  # type: ignore[misc]
    """A class served by Courier at a fixed address."""

    def __init__(self, location: str, run_dir: Path, constructor: Any, *args: Any) -> None:
        super().__init__(constructor, *args)
        self.fixed, self.run_dir = location, run_dir


class Stream(_Ours, lp.PyNode):  # type: ignore[misc]
    """The sample queue. Launchpad's own ReverbNode would import Reverb, and with it TensorFlow, in
    every process that builds the program; here only those that use the stream do."""

    def __init__(self, location: str, run_dir: Path, capacity: int) -> None:
        super().__init__(self._serve)
        self._capacity = capacity
        self.fixed, self.run_dir = location, run_dir
        self.allocate_address(address.Address("reverb"))

    def _serve(self) -> None:
        from launch.adapters import reverb

        port = address.get_port_from_address(str(self.fixed))
        reverb.serve(port, self._capacity, lp.stop_event())


class Runner(_Ours, lp.PyNode):  # type: ignore[misc]
    """A function that nobody calls into."""

    def __init__(self, run_dir: Path, function: Callable[..., None], *args: Any) -> None:
        super().__init__(function, *args)
        self.run_dir = run_dir


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
