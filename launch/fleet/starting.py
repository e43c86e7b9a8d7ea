"""`optimus fleet start` and `scale`: look at every host, refuse or go on, then change.

A start that cannot be changes nothing anywhere. Hosts that already work for the run stay as they
are, so that starting again adds what is missing and mends what was rebooted.
"""

from collections.abc import Mapping
from typing import Any

from launch import Say
from launch.fleet import compare_workers, usable_workers
from launch.fleet.actions import Found, ask, head_of, hear, look, need_head
from launch.fleet.ansible import FleetError
from launch.fleet.inventory import Host
from optimus.config import TrainConfig, to_dict
from optimus.errors import require


def start(
    hosts: list[Host],
    config: TrainConfig,
    name: str,
    port: int,
    worker_port: int,
    per_process: int,
    say: Say,
) -> bool:
    """Starts the run, resumes it, or adds what is missing; hosts that work for it stay as is.

    Args:
      hosts: the fleet, its head among them.
      config: of the run.
      name: of the run on the hosts.
      port: first one of the head's servers.
      worker_port: first one of the workers on each host.
      per_process: workers in one process.
      say: takes lines for people.

    Returns:
      Whether every host did its part.
    """
    own = config.processes.workers if config.served else 0
    usable = usable_workers(config)
    if not config.served and any(host.workers for host in hosts):
        raise FleetError(f"no worker serves the loss of {config.name!r}: optimus_workers must be 0")
    for flag, first, count in (("--port", port, 3 + own), ("--worker-port", worker_port, 1)):
        last = 65535 - count
        require(1024 <= first <= last, f"{flag} {first}: want 1024 ... {last}")
    found, well = look(hosts, say)
    need_head(hosts, found)
    present, head = [host for host in hosts if host.name in found], head_of(hosts)
    _refuse(present, found, name)
    runs = {}
    for host in present:
        default = found[host.name]["cores"] if host.workers is None else host.workers
        run = {
            "run": name,
            "id": found[host.name]["deployed"],
            "address": host.address,
            "role": "head" if host.head else "worker",
            "workers": default if config.served else 0,
            "per_process": per_process,
            "port": port,
            "worker_port": worker_port,
            "coordinator": f"{head.address}:{port}",
            "own": own,
            "usable": usable,
        }
        runs[host.name] = _kept(host, run, found[host.name]["run"])
        last = 65536 - runs[host.name]["workers"]
        require(worker_port <= last, f"--worker-port {worker_port}: {host.name} wants <= {last}")
    _refuse_ports(present, runs, 3 + own)
    compare_workers(own + sum(run["workers"] for run in runs.values()), usable, say)
    say(f"starting the head of {name!r} on {head.name} ({head.address}:{port}) ...")
    request = {"action": "start", "run": runs[head.name], "config": to_dict(config)}
    answer = ask([head], request)[head.name]
    if answer.problem:
        raise FleetError(f"{head.name}: {answer.problem}\nno worker was started")
    if answer.data["finished"]:
        say(f"{head.name}: {answer.data['finished']}; `optimus fleet collect` brings it here")
        return well
    others = [host for host in present if not host.head]
    each = {host.name: {"run": runs[host.name]} for host in others}
    started, all_did = hear(others, say, {"action": "start"}, each)
    working = own + sum(runs[name]["workers"] for name in (head.name, *started))
    say(f"{name!r} runs: {working} loss workers on {len(present)} hosts; `optimus fleet status`")
    return well and all_did


def _kept(host: Host, run: dict[str, Any], before: Mapping[str, Any] | None) -> dict[str, Any]:
    """The run as it goes on here: with the workers it has, at the places where it is known."""
    if before is None:
        return run
    for key in ("port", "worker_port", "per_process", "coordinator", "address"):
        if before.get(key) != run[key]:
            now = f"now it is {run[key]}: stop it first, or give the same\nnothing was changed"
            then = f"{run['run']!r} was started with {key} {before.get(key)}"
            raise FleetError(f"{host.name}: {then}, {now}")
    return {**run, "workers": before["workers"]}


def _refuse(present: list[Host], found: Found, name: str) -> None:
    """Raises unless all hosts hold the head's version and work for no other run."""
    wanted = found[head_of(present).name]["deployed"]
    lines = []
    for host in present:
        there = found[host.name]
        if there["run"] and there["run"]["run"] != name:
            lines.append(f"{host.name}: works for the run {there['run']['run']!r}: stop that first")
        elif there["deployed"] is None:
            lines.append(f"{host.name}: nothing is installed: `optimus fleet deploy` first")
        elif there["deployed"] != wanted:
            versions = f"has version {there['deployed']}, the head {wanted}"
            lines.append(f"{host.name}: {versions}: `optimus fleet deploy` brings all to the same")
    if lines:
        raise FleetError("\n".join([*lines, "nothing was changed"]))


def _refuse_ports(present: list[Host], runs: Found, head_ports: int) -> None:
    """Raises when a port that would be used is taken by somebody else."""
    each = {}
    for host in present:
        run = runs[host.name]
        own = range(run["port"], run["port"] + head_ports * host.head)
        workers = range(run["worker_port"], run["worker_port"] + run["workers"])
        each[host.name] = {"ports": [*own, *workers]}
    advice = "is in use there: choose another --port or --worker-port"
    answers = ask(present, {"action": "look"}, each)
    taken = {name: answer.data.get("taken") for name, answer in answers.items()}
    lines = [f"{name}: port {ports[0]} {advice}" for name, ports in taken.items() if ports]
    if lines:
        raise FleetError("\n".join([*lines, "nothing was changed"]))


def scale(hosts: list[Host], total: int, say: Say) -> bool:
    """`total` loss workers over the hosts that answer, while the run goes on."""
    found, well = look(hosts, say)
    need_head(hosts, found)
    run = found[head_of(hosts).name]["run"]
    if run is None:
        raise FleetError("no run here: `optimus fleet start` first")
    others = [host for host in hosts if not host.head and host.name in found]
    there = [h for h in others if (found[h.name]["run"] or {}).get("run") == run["run"]]
    idle = [host.name for host in others if host not in there]
    for name in idle:
        say(f"{name}: does not work for {run['run']!r}; `optimus fleet start` adds it")
    if not there:
        raise FleetError("no worker host works for this run; nothing was changed")
    working = (run.get("own") or 0) + run["workers"] + total
    compare_workers(working, run.get("usable") or 0, say)  # 0: an earlier version started it
    placed = spread(total, {host.name: found[host.name]["cores"] for host in there})
    runs = {h.name: {"run": {**found[h.name]["run"], "workers": placed[h.name]}} for h in there}
    for name, answer in ask(there, {"action": "start"}, runs).items():
        before = found[name]["run"]["workers"]
        say(f"{name}: {answer.problem or f'{before} -> {placed[name]} workers'}")
        well = well and not answer.problem
    return well and not idle


def spread(total: int, cores: Mapping[str, int]) -> dict[str, int]:
    """`total` workers over hosts, as even per core as whole numbers allow.

    Each next worker goes where there would be fewest per core, ties by name, so that a larger total
    never takes a worker from a host.

    Args:
      total: workers, 0 or more.
      cores: by host, at least 1 each.
    """
    placed = dict.fromkeys(sorted(cores), 0)
    for _ in range(total):
        host = min(placed, key=lambda name: ((placed[name] + 1) / cores[name], name))
        placed[host] += 1
    return placed
