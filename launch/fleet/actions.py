"""What the fleet commands do, host by host: look first, refuse or go on, then change.

Each function returns whether everything went well; what did not is said, one line for each host.
Hosts that are down are named and the others go on. Without its head nothing is changed.
"""

import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from launch import Say, command
from launch.fleet import ansible
from launch.fleet.ansible import Answer, FleetError
from launch.fleet.inventory import Host
from launch.fleet.wheelhouse import Wheelhouse

Found = dict[str, dict[str, Any]]  # what hosts say, by name


def ask(
    hosts: list[Host], request: Mapping[str, Any], each: Mapping[str, Any] = {}, **options: Any
) -> dict[str, Answer]:
    """One call of `on_host.program` on each host; `each` may add to what a host is asked."""
    requests = {h.name: {"root": h.root, **request, **each.get(h.name, {})} for h in hosts}
    return ansible.call({host.name: host.variables for host in hosts}, requests, **options)


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
    for host in hosts:
        there = found.get(host.name)
        if there is None:
            continue
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
    """The run directory, and each host's logs in logs/HOST of it.

    Args:
      hosts: the fleet.
      name: of the run; None: the one that is there.
      into: the folder; None: runs/NAME.
      say: takes lines for people.
    """
    with tempfile.TemporaryDirectory(prefix="optimus-fleet-") as scratch:
        folder = Path(scratch)
        request = {"action": "pack", "name": name}
        found, well = hear(hosts, say, request, fetch=folder, timeout=1800.0)
        names = sorted({answer["run"] for answer in found.values() if answer.get("file")})
        if len(names) != 1:
            held = f"hold several runs ({', '.join(names)}); give --run" if names else "hold no run"
            raise FleetError(f"the hosts {held}; nothing was collected")
        target = into or Path("runs") / names[0]
        for path in sorted(folder.glob("*.tar.gz")):
            logs = target / "logs" / path.name.removesuffix(".tar.gz")
            unpack(path, {"run": target, "logs": logs})
    say(f"collected into {target}; next: {command('optimus', 'watch', target, '--once')}")
    return well


def unpack(archive: Path, places: dict[str, Path]) -> None:
    """Unpacks each top folder of an archive into its place.

    Plain files only, none outside its place: what comes from a host is not trusted further. Each
    file appears whole or not at all, so a copy that is being watched stays readable.
    """
    with tarfile.open(archive) as tar:
        for member in tar:
            first, *rest = PurePosixPath(member.name).parts or ("",)
            if not member.isfile() or first not in places or ".." in rest or not rest:
                continue
            source = tar.extractfile(member)
            assert source is not None  # it is a file
            target = places[first].joinpath(*rest)
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f".{target.name}.part")
            with open(part, "wb") as file:
                shutil.copyfileobj(source, file)
            part.replace(target)


def logs(hosts: list[Host], name: str | None, lines: int, say: Say) -> bool:
    """The last lines of every process's log, each under HOST: FILE.

    Args:
      hosts: those asked.
      name: of the run; None: the one that is there.
      lines: of each log.
      say: takes them.
    """
    found, well = hear(hosts, say, {"action": "logs", "name": name, "lines": lines})
    for host, answer in found.items():
        for label, text in answer["logs"].items():
            say(f"-- {host}: {label}")
            for line in text:
                say(f"   {line}")
    return well


def status(hosts: list[Host], say: Say) -> bool:
    """One line per host, and what the head says of the run; True when all is as it was started."""
    found, well = look(hosts, say, watch=True)
    for host in hosts:
        there = found.get(host.name)
        if there is None:
            continue
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
        if "watch" in there:
            say(f"  {_progress(there['watch'])}")
    return well


def _progress(watch: Mapping[str, Any]) -> str:
    if "problem" in watch:
        return f"the run: {watch['problem']}"
    parts = [f"{watch.get('state')}, update {watch.get('step')} of {watch.get('updates')}"]
    if watch.get("evaluations_per_second") is not None:
        parts.append(f"{watch['evaluations_per_second']:.1f} evaluations per second")
    if watch.get("checkpoint_age") is not None:
        parts.append(f"newest checkpoint {watch['checkpoint_age']:.0f} s old")
    return ", ".join(parts)
