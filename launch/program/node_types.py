"""Launchpad's node types, with our addresses and our supervisor."""

import os
import sys
from pathlib import Path
from typing import Any

import launchpad as lp
from launchpad import address
from launchpad.context import LaunchType
from launchpad.launch.local_multi_processing.commands import Command
from launchpad.nodes.base import Handle

from launch.program import environment, exit_record

_GRACE = 8.0  # s a role has to stop before its supervisor kills it


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
    """Mixed into Launchpad's node types: fixed address, child under `launch.program.supervisor`."""

    run_dir: Path
    limit: int  # restarts of one node within ten minutes
    fixed: str | None = None
    optional = False  # whether the run goes on when this node is abandoned

    def place(self, run_dir: Path, limit: int, fixed: str | None, optional: bool) -> None:
        """To be called before the node is added to its program."""
        self.run_dir = run_dir
        self.limit = limit
        self.fixed = fixed
        self.optional = optional

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
        supervised = [sys.executable, "-m", "launch.program.supervisor"]
        supervised += ["--ppid", str(os.getpid()), "--grace", str(_GRACE)]
        supervised += ["--restart", "on-failure", "--limit", str(limit)]
        supervised += ["--optional"] if nodes[0].optional else []

        def command(index: int) -> Command:
            record = exit_record.path_of(run_dir, label, index)
            words = [*supervised, "--name", f"{label} {index}", "--record", record, "--"]
            words += [sys.executable, "-m", "launch.program.node", "--role", label]
            words += ["--index", str(index), "--run-dir", run_dir, "--launcher", str(os.getpid())]
            return Command(words, environment.of_role(label), f"{label}/{index}.log")

        return [command(index) for index in range(len(nodes))]


class Served(_Ours, lp.CourierNode):  # type: ignore[misc]
    """An object served by Courier at a fixed address while it runs: its `exposed` methods, where
    Launchpad's own node would serve all public ones, `run` included."""

    def run(self) -> None:
        from launch.adapters import courier

        instance = self._construct_instance()
        methods = {name: getattr(instance, name) for name in instance.exposed}
        stop = courier.serve(methods, address.get_port_from_address(str(self.fixed)))
        try:
            instance.run()
        finally:
            stop()


class Stream(_Ours, lp.PyNode):  # type: ignore[misc]
    """The sample queue. Launchpad's own ReverbNode would import Reverb, and with it TensorFlow, in
    every process that builds the program; here only those that use the stream do."""

    def __init__(self, capacity: int) -> None:
        super().__init__(self._serve)
        self._capacity = capacity
        self.allocate_address(address.Address("reverb"))

    def _serve(self) -> None:
        from launch.adapters import reverb

        port, stop = address.get_port_from_address(str(self.fixed)), lp.stop_event()
        reverb.report_in_background(port, self.run_dir, stop)
        reverb.serve(port, self._capacity, stop)


class Runner(_Ours, lp.PyNode):  # type: ignore[misc]
    """A function that nobody calls into."""
