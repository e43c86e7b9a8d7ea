"""What the fleet commands do, host by host: look first, refuse or go on, then change.

Each function returns whether everything went well; what did not is said, one line for each host.
Hosts that are down are named and the others go on. Without its head nothing is changed.
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launch import Say, command
from launch.fleet import RUN, ansible, require_match
from launch.fleet.ansible import FleetError
from launch.fleet.answers import Answer, checked
from launch.fleet.archives import unpack
from launch.fleet.inventory import Host
from launch.fleet.wheelhouse import Wheelhouse
from launch.program.exit_record import object_in
from optimus.errors import LONGEST, printable, require
from optimus.files import refused

Found = dict[str, dict[str, Any]]  # what hosts say, by name

_CARD = "collected.json"  # in a collected run directory: what it is a copy of


def ask(
    hosts: list[Host], request: Mapping[str, Any], each: Mapping[str, Any] = {}, **options: Any
) -> dict[str, Answer]:
    """One call of `on_host.program` on each host; `each` may add to what a host is asked."""
    requests = {h.name: {"root": h.root, **request, **each.get(h.name, {})} for h in hosts}
    said = ansible.call({host.name: host.variables for host in hosts}, requests, **options)
    return {name: checked(request["action"], answer) for name, answer in said.items()}


def hear(hosts: list[Host], say: Say, *request: Any, **options: Any) -> tuple[Found, bool]:
    """`ask`: (what each host says that could do it, whether all could); the others are named."""
    answers = ask(hosts, *request, **options)
    for name, answer in answers.items():
        if answer.problem:
            say(f"{name}: {answer.problem}")
    found = {name: answer.data for name, answer in answers.items() if not answer.problem}
    return found, len(found) == len(hosts)


def look(hosts: list[Host], say: Say, **wanted: Any) -> tuple[Found, bool]:
    """`hear` of what is there."""
    return hear(hosts, say, {"action": "look", **wanted}, timeout=120.0)


def head_of(hosts: list[Host]) -> Host:
    """The one host of the group head."""
    return next(host for host in hosts if host.head)


def need_head(hosts: list[Host], found: Mapping[str, Any]) -> None:
    """Raises `FleetError` unless the head is among the hosts that answered."""
    if head_of(hosts).name not in found:
        raise FleetError("nothing was changed: a fleet needs its head")


def deploy(hosts: list[Host], house: Wheelhouse, say: Say) -> bool:
    """Brings every host to this wheelhouse; hosts that have it are left alone."""
    found, well = look(hosts, say)
    fit = []
    for host in [host for host in hosts if host.name in found]:
        there = found[host.name]
        problem = _unfit(there, house)
        if problem:
            say(f"{host.name}: {problem}; left as it was")
            well = False
            found.pop(host.name)
        elif there["deployed"] == house.id:
            say(f"{host.name}: has {house.id} already")
        else:
            fit.append(host)
    need_head(hosts, found)
    if fit:
        size = house.path.stat().st_size / 2**20
        say(f"bringing {house.id} ({size:.0f} MB) to {len(fit)} hosts and installing it there ...")
    copy = (house.path.resolve(), f"wheelhouse-{house.id}.tar")
    answers = ask(fit, {"action": "install", "id": house.id}, copy=copy, timeout=3600.0)
    for name, answer in answers.items():
        say(f"{name}: {answer.problem or f'installed {house.id}'}")
        well = well and not answer.problem
    return well


def _unfit(there: Mapping[str, Any], house: Wheelhouse) -> str:
    if there["unfit"]:
        return str(there["unfit"])
    if there["deployed"] == house.id:
        return ""
    if there["run"]:
        return f"works for the run {there['run']['run']!r}; stop that first"
    if there["free"] < house.needed:
        free, need = there["free"] / 2**30, house.needed / 2**30
        return f"{free:.1f} GB free, {need:.1f} GB needed"
    return ""


def stop(hosts: list[Host], say: Say) -> tuple[str | None, bool]:
    """Ends every process, the head's first so that the workers hear of the end from it.

    Returns:
      The name of the run that was there, and whether every host did.
    """
    name, well = None, True
    for group in ([head_of(hosts)], [host for host in hosts if not host.head]):
        found, all_did = hear(group, say, {"action": "stop"}, timeout=240.0)
        well = well and all_did
        for host, answer in found.items():
            ended, killed = answer["stopped"], answer["killed"]
            name = name or ended
            more = f"; {killed} processes had to be killed" if killed else ""
            say(f"{host}: {f'stopped {ended!r}' if ended else 'nothing to stop'}{more}")
    return name, well


def collect(hosts: list[Host], name: str | None, into: Path | None, say: Say) -> bool:
    """The run directory, and each host's logs in logs/HOST of it; never over another run.

    Only the head's archive fills the run directory; any other host's, its own folder of logs.

    Args:
      hosts: the fleet.
      name: of the run; None: the one that is there.
      into: the folder; None: runs/NAME.
      say: takes lines for people.
    """
    from optimus.rundir import owned
    from optimus.rundir.checkpoint import write_atomically

    if name is not None:
        require_match(RUN, name, "--run")
    head = head_of(hosts).name
    with tempfile.TemporaryDirectory(prefix="optimus-fleet-") as scratch:
        request, each = {"action": "pack", "name": name}, {head: {"run": True}}
        found, well = hear(hosts, say, request, each, fetch=Path(scratch), timeout=1800.0)
        packed = {host: answer for host, answer in found.items() if answer.get("file")}
        run = name or _the_run(packed, head)
        for host, answer in packed.items():
            if answer["run"] != run:
                say(f"{host}: holds {answer['run']!r}, not {run!r}; left out")
        mine = [host for host, answer in packed.items() if answer["run"] == run]
        if not mine:
            raise FleetError(f"the hosts hold no run {run!r}; nothing was collected")
        target = into or Path("runs") / run
        card = _claim(target, run, packed[head].get("id") if head in mine else None)
        with owned(target):
            write_atomically(target / _CARD, json.dumps(card) + "\n")
            for host in sorted(mine, key=lambda host: host != head):
                places = {"logs": target / "logs" / host}
                places |= {"run": target} if host == head else {}
                others = [target / "logs" / other.name for other in hosts if other.name != host]
                ours = [target / _CARD, target / ".lock", *others]
                problem = _take(Path(scratch) / f"{host}.tar.gz", places, ours)
                if problem:
                    say(f"{host}: {problem}")
                    well = False
    say(f"collected into {target}; next: {command('optimus', 'watch', target, '--once')}")
    return well and len(mine) == len(packed)


def _the_run(packed: Found, head: str) -> str:
    """The run that the head works for; without it, that all others work for."""
    names = sorted({str(answer["run"]) for answer in packed.values()})
    if head in packed:
        names = [str(packed[head]["run"])]
    if len(names) != 1:
        held = f"hold several runs ({', '.join(names)}); give --run" if names else "hold no run"
        raise FleetError(f"the hosts {held}; nothing was collected")
    require_match(RUN, names[0], "the name of the run on the hosts,")
    return names[0]


def _claim(target: Path, run: str, run_id: str | None) -> dict[str, Any]:
    """Makes the folder; raises where it holds anything but an earlier copy of this run.

    Args:
      target: the folder.
      run: name of the run.
      run_id: of its learner; None where it is not known, or no learner has started yet.

    Returns:
      What `_CARD` shall say.
    """
    try:
        target.mkdir(parents=True, exist_ok=True)
        if any(target.iterdir()):
            card, identity = object_in(target / _CARD), object_in(target / "identity.json")
            known = card.get("run_id") or identity.get("run_id")
            of_it = known == run_id if run_id and known else card.get("run") == run
            other = f"{target} is not empty, and no copy of this run {run!r}; nothing was collected"
            require(of_it, f"{other}: choose another --run-dir")
            run_id = run_id or known
        return {"run": run, "run_id": run_id}
    except OSError as error:
        raise refused(target, error) from None


def _take(archive: Path, places: dict[str, Path], ours: list[Path]) -> str:
    """`unpack`; what was wrong with the archive, one line, or nothing."""
    try:
        left = unpack(archive, places, ours)
    except Exception as error:  # a damaged archive fails in many ways
        return f"its archive: {printable(str(error), keep='')}; not all of it is here"
    names = ", ".join(map(ascii, left[:3]))
    what = f"left out {len(left)} of its files, no plain ones of its own in their place: {names}"
    return what if left else ""


def logs(hosts: list[Host], name: str | None, lines: int, say: Say) -> bool:
    """The last lines of every process's log, each under HOST: FILE.

    Args:
      hosts: those asked.
      name: of the run; None: the one that is there.
      lines: of each log.
      say: takes them.
    """
    if name is not None:
        require_match(RUN, name, "--run")
    found, well = hear(hosts, say, {"action": "logs", "name": name, "lines": lines})
    for host, answer in found.items():
        for label, text in answer["logs"].items():
            say(f"-- {host}: {label}")
            for line in text[-lines:]:
                say(f"   {line[:LONGEST]}")
    return well


def status(hosts: list[Host], say: Say) -> bool:
    """One line per host, and what the head says of the run; True when all is as it was started."""
    found, well = look(hosts, say, watch=True)
    for host in [host for host in hosts if host.name in found]:
        there = found[host.name]
        run, states = there["run"], list(there["programs"].values())
        up = sum(state.startswith("RUNNING") for state in states)
        ended = sum(state.startswith("EXITED") for state in states)
        if run is None:
            line = "no run"
        elif not there["alive"]:
            line = f"{run['run']!r}: no process (rebooted?); `optimus fleet start` mends it"
            well = False
        else:
            role = "head, " if host.head else ""
            line = f"{run['run']!r}: {role}{run['workers']} workers"
            line += f"; {up} of {len(states)} processes up"
            line += f", {ended} ended" if ended else ""
            well = well and up + ended == len(states)
        say(f"{host.name}: {line}; version {there['deployed'] or 'none'}")
        if there.get("watch"):
            say(f"  {_progress(there['watch'])}")
    return well


def _progress(watch: Mapping[str, Any]) -> str:
    if watch.get("problem"):
        return f"the run: {watch['problem']}"
    parts = [f"{watch.get('state')}, update {watch.get('step')} of {watch.get('updates')}"]
    if watch.get("evaluations_per_second") is not None:
        parts.append(f"{watch['evaluations_per_second']:.1f} evaluations per second")
    if watch.get("checkpoint_age") is not None:
        parts.append(f"newest checkpoint {watch['checkpoint_age']:.0f} s old")
    return ", ".join(parts)
