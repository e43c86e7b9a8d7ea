"""The parts of `optimus fleet` that need no host: inventories, placement, supervisord's file."""

from __future__ import annotations

import ast
import base64
import configparser
import importlib.util
import io
import json
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.configs import find
from launch.fleet import inventory, on_host, wheelhouse
from launch.fleet.archives import unpack
from launch.fleet.on_host import supervisord
from launch.fleet.starting import spread
from launch.program import addresses
from optimus.errors import ConfigError


@given(
    st.integers(0, 200),
    st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.integers(1, 64), min_size=1),
)
def test_spread_places_all_evenly_and_only_adds(total: int, cores: dict[str, int]) -> None:
    placed, more = spread(total, cores), spread(total + 1, cores)
    assert sum(placed.values()) == total and set(placed) == set(cores)
    assert all(more[name] >= placed[name] for name in cores)
    for one in cores:  # nobody could have been given one with less load than the busiest has
        busiest = max(placed[name] / cores[name] for name in cores)
        assert (placed[one] + 1) / cores[one] >= busiest - 1e-9


def _instance(name: str, **changes: object) -> dict[str, object]:
    known = {
        "name": name,
        "status": "RUNNING",
        "labels": {},
        "networkInterfaces": [
            {
                "networkIP": f"10.128.0.{len(name)}",
                "accessConfigs": [{"natIP": f"34.1.2.{len(name)}"}],
            }
        ],
    }
    return {**known, **changes}


def test_instances_of_a_cloud(tmp_path: Path) -> None:
    path = tmp_path / "instances.json"
    path.write_text(
        json.dumps(
            [
                _instance("run-head"),
                _instance("run-w-a1b2", labels={"optimus-workers": "4"}),
                _instance("run-w-gone", status="TERMINATED"),
                _instance("run-w-c3"),
            ]
        )
    )
    head, *others = inventory.load(path)
    assert head.head and head.name == "run-head" and head.workers == 0
    assert [(h.name, h.workers) for h in others] == [("run-w-a1b2", 4), ("run-w-c3", None)]
    assert head.address == "10.128.0.8"
    outside = inventory.load(path, external=True)[0]
    assert outside.variables["ansible_host"] == "34.1.2.8" and outside.address == "10.128.0.8"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[{}]", "not a list of instances as `gcloud"),
        ("[", "not JSON"),
        ("[]", "want one host in the group head, got none"),
        (json.dumps([_instance("a-head"), _instance("b-head")]), "got a-head, b-head"),
        (json.dumps([_instance("a-head", labels={"optimus-workers": "x"})]), "want a number"),
        (json.dumps([_instance("a-head", labels=["x"])]), "not a list of instances"),
        (json.dumps([_instance("a-head", networkInterfaces=[None])]), "not a list of instances"),
        (
            json.dumps([_instance("a-head"), _instance("w"), _instance("w")]),
            "w: more than one host",
        ),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_wrong_instance_lists_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "instances.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match="--inventory") as caught:
        inventory.load(path)
    assert message in str(caught.value)


@pytest.mark.skipif(
    importlib.util.find_spec("ansible") is None, reason="ansible-core is not installed"
)
def test_any_ansible_inventory(tmp_path: Path) -> None:
    path = tmp_path / "hosts.ini"
    rest = "[rest:children]\nmore\n[more]\nb optimus_workers=3\n"
    path.write_text(f"[head]\na ansible_host=10.0.0.1\n{rest}")
    head, other = inventory.load(path)
    assert (head.name, head.head, head.address) == ("a", True, "10.0.0.1")
    assert (other.name, other.workers, other.address) == ("b", 3, "b")
    path.write_text("[head\n")
    with pytest.raises(ConfigError, match="--inventory"):
        inventory.load(path)


LINES = ("a\nb", "a\rb", "a\0b", "a\x0bb", "a\x0cb", "a\x85b", "a\u2028b", "a\u2029b", "a\x1bb")
WORDS = (
    "-oProxyCommand=x",
    "a b",
    "a;b",
    "a'b",
    'a"b',
    "$(a)",
    "`a`",
    "a,b",
    "{{ a }}",
    "../a",
    "",
)


@pytest.mark.parametrize("text", [*LINES, *WORDS])
def test_a_name_that_others_are_told_is_one(text: str) -> None:
    with pytest.raises(ConfigError, match="--advertise") as caught:
        addresses.choose(find("smoke"), None, text)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("text", [*LINES, *WORDS])
def test_names_in_inventories_are_names(tmp_path: Path, text: str) -> None:
    path = tmp_path / "instances.json"
    for changes in (
        {"name": text},
        {"networkInterfaces": [{"networkIP": text}]},
        {"labels": {"optimus-workers": f"1{text}-"}},
    ):
        path.write_text(json.dumps([_instance("a-head"), {**_instance("b"), **changes}]))
        with pytest.raises(ConfigError, match="--inventory") as caught:
            inventory.load(path)
        assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "text",
    ["10.0.0.1", "fd00::1", "[fd00::1]", "fe80::1%eth0", "a.example.org", "node_1", "UPPER-1"],
)
def test_addresses_are_taken(tmp_path: Path, text: str) -> None:
    path = tmp_path / "instances.json"
    path.write_text(json.dumps([_instance("a-head", networkInterfaces=[{"networkIP": text}])]))
    assert inventory.load(path)[0].address == text


def test_supervisord_is_told_of_every_worker(tmp_path: Path) -> None:
    run = {
        "run": "r",
        "id": "0" * 12,
        "role": "worker",
        "workers": 7,
        "per_process": 3,
        "address": "h%1",
        "port": 20100,
        "worker_port": 21000,
        "coordinator": "c:20100",
    }
    parser = configparser.RawConfigParser()
    parser.read_file(io.StringIO(supervisord.configuration(tmp_path, run)))
    programs = {s: parser[s]["command"].split() for s in parser.sections() if s.startswith("prog")}
    counts = {n: int(c[c.index("--count") + 1]) for n, c in programs.items()}
    ports = {n: int(c[c.index("--port") + 1]) for n, c in programs.items()}
    names = [f"program:worker-{first}" for first in (0, 3, 6)]
    assert counts == dict(zip(names, (3, 3, 1)))
    assert ports == dict(zip(names, (21000, 21003, 21006)))
    assert "h%%1" in parser["program:worker-0"]["command"]
    head = supervisord.configuration(tmp_path, {**run, "role": "head", "workers": 0})
    assert "--advertise h%%1 --port 20100" in head and "program:worker" not in head


def test_an_archive_cannot_write_outside_its_place(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name in ("run/good.txt", "run/../../evil.txt", "/run/evil.txt", "other/x.txt"):
            info = tarfile.TarInfo(name)
            info.size = 2
            tar.addfile(info, io.BytesIO(b"ok"))
        link = tarfile.TarInfo("run/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    unpack(archive, {"run": tmp_path / "out"}, [])
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["a.tar.gz", "good.txt"]


def test_what_is_no_wheelhouse_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wheelhouse.tar"
    with pytest.raises(ConfigError, match="No such file"):
        wheelhouse.read(path)
    path.write_text("nothing of the kind")
    with pytest.raises(ConfigError, match="wheelhouse"):
        wheelhouse.read(path)
    with tarfile.open(path, "w") as tar:
        tar.add(__file__, "else.py")
    with pytest.raises(ConfigError, match="not a wheelhouse of ours"):
        wheelhouse.read(path)
    for card in ("[]", "{}", "[" * 4000, json.dumps({"id": "../../evil", "unpacked": 1})):
        with tarfile.open(path, "w") as tar:
            info = tarfile.TarInfo("wheelhouse.json")
            info.size = len(card)
            tar.addfile(info, io.BytesIO(card.encode()))
        with pytest.raises(ConfigError, match="--wheelhouse"):
            wheelhouse.read(path)


@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="a wheelhouse is built beside TensorFlow"
)
def test_our_wheel_for_hosts_brings_all_that_is_compiled_and_nothing_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(wheelhouse._project(tmp_path)) as archive:
        names = [name for name in archive.namelist() if "/native/lib/" in name]
    found = sorted(re.sub(r"_[0-9a-f]{16}\.so$", "", name.rpartition("/")[2]) for name in names)
    assert found == ["generated_pd", "generated_torque", "libphysics", "physics_op"]


def test_what_is_sent_to_a_host_is_one_program_of_the_standard_library(tmp_path: Path) -> None:
    text = on_host.program()
    tree = ast.parse(text)
    imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in imports if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= set(sys.stdlib_module_names)
    request = base64.b64encode(json.dumps({"action": "look", "root": str(tmp_path)}).encode())
    done = subprocess.run(
        [sys.executable, "-I", "-", request.decode()], input=text, capture_output=True, text=True
    )
    answer = json.loads(done.stdout)
    assert answer["deployed"] is None and answer["run"] is None and answer["cores"] >= 1
