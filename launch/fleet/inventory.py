"""The hosts of a fleet: an inventory of Ansible, or the cloud's own list of instances as JSON."""

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launch.fleet import HOST, PATH, require_match
from launch.fleet.ansible import inventory_of
from optimus.errors import ConfigError, require
from optimus.files import parse_json

ROOT = "~/optimus-fleet"


@dataclass(frozen=True)
class Host:
    """One machine. `variables` are Ansible's own, and those of ours that begin with optimus_."""

    name: str
    head: bool
    variables: dict[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Under which the other hosts reach it."""
        known = self.variables
        return str(known.get("optimus_address") or known.get("ansible_host") or self.name)

    @property
    def root(self) -> str:
        """The folder on it that is ours."""
        return str(self.variables.get("optimus_root", ROOT))

    @property
    def workers(self) -> int | None:
        """Loss workers it shall run by default; None: one for each core (the head: none)."""
        value = self.variables.get("optimus_workers")
        return (0 if self.head else None) if value is None else int(value)


def load(path: Path, external: bool = False) -> list[Host]:
    """The hosts of an inventory, the head first.

    Args:
      path: an Ansible inventory (YAML, INI, ...) whose group `head` holds one host; every other
        host is a worker. Or the output of `gcloud compute instances list --format=json`.
      external: reach instances at their public addresses rather than at the private ones.

    Raises:
      ConfigError: one line.
    """
    require(path.exists(), f"--inventory {path}: no such file")
    instances = _instances(path)
    if instances is not None:
        hosts = _of_instances(path, instances, external)
    else:
        listed = inventory_of(path)
        variables = listed.get("_meta", {}).get("hostvars", {})
        names = _members(listed, "all")
        heads = set(_members(listed, "head"))
        hosts = [Host(name, name in heads, dict(variables.get(name, {}))) for name in names]
    return _checked(path, hosts)


def _checked(path: Path, hosts: list[Host]) -> list[Host]:
    where = f"--inventory {path}"
    for host in hosts:
        require_match(HOST, host.name, f"{where}: host")
        require_match(HOST, host.address, f"{where}: address of {host.name}")
        require_match(PATH, host.root.removeprefix("~"), f"{where}: optimus_root of {host.name}")
        value = host.variables.get("optimus_workers", 0)
        good = value is None or re.fullmatch("[0-9]{1,4}", str(value)) is not None
        require(good, f"{where}: optimus_workers of {host.name}: got {value!r}, want a number")
    heads = [host.name for host in hosts if host.head]
    found = ", ".join(heads) or "none"
    require(len(heads) == 1, f"{where}: want one host in the group head, got {found}")
    twice = [name for name, count in Counter(host.name for host in hosts).items() if count > 1]
    require(not twice, f"{where}: {', '.join(twice)}: more than one host of that name")
    return sorted(hosts, key=lambda host: (not host.head, host.name))


def _members(listed: dict[str, Any], group: str) -> list[str]:
    found = listed.get(group, {})
    names = list(found.get("hosts", []))
    for child in found.get("children", []):
        names += _members(listed, child)
    return list(dict.fromkeys(names))


# -- a cloud's instance list -----------------------------------------------------------------------


def _instances(path: Path) -> list[dict[str, Any]] | None:
    """The instances, or None when the file is not a JSON list."""
    if path.suffix != ".json":
        return None
    try:
        values = parse_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"--inventory {path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"--inventory {path}: not JSON: {error}") from None
    return values if isinstance(values, list) else None


def _of_instances(path: Path, instances: list[dict[str, Any]], external: bool) -> list[Host]:
    """Those that run. The head has the label optimus-role=head, or a name that ends in -head."""
    hosts = []
    for instance in instances:
        try:
            if instance["status"] != "RUNNING":
                continue
            name, labels = str(instance["name"]), instance.get("labels") or {}
            default = "head" if name.endswith("-head") else "worker"
            role, workers = labels.get("optimus-role", default), labels.get("optimus-workers")
            card = instance["networkInterfaces"][0]
            inside, reached = str(card["networkIP"]), card.get("accessConfigs") or []
            public = [str(each["natIP"]) for each in reached if each.get("natIP")]
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            want = "a list of instances as `gcloud compute instances list --format=json` prints it"
            wrong = f"{type(error).__name__} {error}"
            raise ConfigError(f"--inventory {path}: not {want}: {wrong}") from None
        require(bool(public or not external), f"--inventory {path}: {name} has no public address")
        address = public[0] if external else inside
        variables: dict[str, Any] = {"ansible_host": address, "optimus_address": inside}
        if workers is not None:
            variables["optimus_workers"] = workers
        require_match(HOST, address, f"--inventory {path}: address of {name}")
        hosts.append(Host(name, role == "head", variables))
    return hosts
