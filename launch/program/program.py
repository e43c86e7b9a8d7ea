"""The Launchpad program: its nodes, and which of them call each other.

    loss workers  <--loss requests--  actors  --samples-->  stream (Reverb)  -->  learner
         |                             |  ^------ weights, episode ids ---------------'
         '-heartbeats->  coordinator <-'          checkpoints  -->  evaluator  -->  BEST

Coordinator, stream and learner have fixed addresses (the head). Loss workers and actors register
with the coordinator, so that others may join and leave at any time (`optimus worker`).

Every process of a run rebuilds this same program from `logs/config.json` and `roster.json` and runs
its own node of it, so nothing is pickled. Building it is cheap and touches no JAX device.
"""

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import launchpad as lp
from absl import flags
from launchpad.context import LaunchType
from launchpad.launch import worker_manager

from launch import builders, handlers_restored
from launch.adapters import courier
from launch.evaluation import evaluator
from launch.program import exit_record, members
from launch.program.addresses import Roster
from launch.program.coordinator import Coordinator
from launch.program.node_types import Runner, Served, Stream
from learner.identity import Identity
from learner.service import Service
from optimus.config import TrainConfig
from optimus.wire import Refused

# -- the program ---------------------------------------------------------------------------------


def build(config: TrainConfig, run_dir: Path, roster: Roster) -> lp.Program:
    """The whole program; labels are the roles' names."""
    program, layout = lp.Program(config.name), config.processes
    run_id = Identity(run_dir).run_id
    head = {role: getattr(roster, role)[0] for role in ("coordinator", "stream", "learner")}

    def add(role: str, node: Any) -> Any:
        node.place(run_dir, layout.restarts, head.get(role), optional=role == "evaluator")
        return program.add_node(node, role)

    knows = (config, run_dir, roster, lp.wait_for_stop)
    coordinator = add("coordinator", Served(Coordinator, *knows))
    stream = add("stream", Stream(2 * config.largest_batch))  # actors wait once that is queued
    learner = add("learner", Served(LearnerRole, config, run_dir, stream, coordinator))
    for first in range(0, layout.workers if config.served else 0, layout.per_process):
        there = roster.physics_worker[first : first + layout.per_process]
        work = (members.serve_workers, config, there, coordinator, run_id, run_dir, first)
        add("physics_worker", Runner(*work, lp.wait_for_stop))
    for index in range(layout.actors):
        act = (members.run_actor, config, index, coordinator, learner, stream, run_id, run_dir)
        add("actor", Runner(run_until_stopped, *act))
    if config.evaluator:
        add("evaluator", Runner(run_evaluator, config, run_dir))
    return program


# -- what each node runs -------------------------------------------------------------------------


class LearnerRole(Service):
    """The learner behind Courier, in the node that runs it."""

    def __init__(self, config: TrainConfig, run_dir: Path, stream: str, coordinator: str) -> None:
        self._config = config
        self._run_dir = run_dir
        self._coordinator = coordinator
        from launch.adapters import reverb

        reader = reverb.StreamReader(stream, config.largest_batch, builders.sample_limit(config))
        learner = builders.make_learner(config, run_dir, reader, print)
        super().__init__(learner, None if not config.synchronous else config.processes.actors)

    def run(self) -> None:
        """Updates until done or stopped. At the end the whole program is asked to stop while this
        server still answers, so that no actor meets a closed server; the evaluator first gets its
        time for the last checkpoint, while the others go."""
        learner = self.learner
        if learner.run(lp.stop_event()):
            coordinator = courier.RemoteCoordinator(self._coordinator, run_id=learner.run_id)
            with contextlib.suppress(courier.CallError, Refused):
                coordinator.finish(learner.version.epoch)  # `lp.stop` reaches our own nodes
            if self._config.evaluator:
                last = self._config.updates
                evaluator.wait_until_judged(self._config, self._run_dir, last, lp.stop_event())
        lp.stop()
        lp.wait_for_stop(30.0)


def run_until_stopped(function: Callable[..., None], *arguments: Any) -> None:
    """Calls a function whose last argument is the event that ends it."""
    function(*arguments, lp.stop_event())


def run_evaluator(config: TrainConfig, run_dir: Path) -> None:
    """The evaluator until stopped; it takes the time that the others leave (of Linux's threads,
    only those that this one starts are nicer, so that it may be one of many)."""
    os.nice(10)
    evaluator.run(config, run_dir, lp.stop_event())


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
    with handlers_restored():  # Launchpad's would swallow what comes later
        manager = lp.launch(program, launch_type=launch_type, terminal="output_to_files")
        workers = {name: list(each) for name, each in manager._active_workers.items()}
        try:
            manager.wait(labels_to_wait_for=[label])
        except Exception as error:  # whatever a node raised, or "exited with code"
            failure = f"{type(error).__name__}: {error}"
            for log, group in workers.items():  # of local_mp: a supervisor that says how it ended
                code = getattr(group[0], "returncode", None)
                if code:
                    role = log.removesuffix(".log")
                    failure = f"{role}: its supervisor {exit_record.ending(code)}"
        manager.stop_and_wait()
        for thread in workers[label] if launch_type == "local_mt" else ():
            cause = thread.future.exception() if thread.future.done() else None
            if cause and not failure:  # while it was stopping: its last checkpoint, say
                failure = f"stopped, but {type(cause).__name__}: {cause}"
    return failure


def run_node(program: lp.Program, label: str, index: int, stop: Callable[[], None]) -> None:
    """Runs one node of the program in this process, until it ends or SIGTERM.

    Args:
      program: from `build`.
      label: the role.
      index: which of the role's nodes.
      stop: called by a node that ends the whole program.
    """
    flags.FLAGS(["optimus"], known_only=True)
    for name, nodes in program.groups.items():
        for node in nodes:
            kind, stopper = LaunchType.LOCAL_MULTI_PROCESSING, lambda **_: stop()
            node.launch_context.initialize(kind, None, program_stopper=stopper)
            for handle in node.input_handles:
                handle.connect(node, name)
            node.bind_addresses()
    assert threading.current_thread() is threading.main_thread()
    worker_manager.WorkerManager(register_in_thread=True)
    program.groups[label][index].function()
