"""Hosts that lie: nothing of theirs leaves its place here or steers the terminal."""

from __future__ import annotations

import gzip
import importlib.util
import json
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launch.cli import main as command_line
from launch.configs import find
from launch.fleet import actions, ansible, starting
from launch.fleet.ansible import FleetError
from optimus import rundir
from optimus.errors import ConfigError, printable
from tests.launch.fleet.told import HEAD, LOOK, RUN, WORKER, Told, packed

STEER = "\x1b[31m\x9b2J\x07\r\x00\u202e\u2028x"
needs_ansible = pytest.mark.skipif(
    importlib.util.find_spec("ansible") is None, reason="ansible-core is not installed"
)


def _link(kind: bytes, to: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, to
    return info


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Told:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return Told(monkeypatch)


def _files(folder: Path) -> list[str]:
    found = (path for path in folder.rglob("*") if path.is_file() or path.is_symlink())
    ours = (".lock", "collected.json")
    return sorted(str(path.relative_to(folder)) for path in found if path.name not in ours)


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../../evil", "/tmp/evil", "..", ".", "", "a/b", "a\nb", "-r", ".hidden", 7, ["a"]]
)
def test_a_host_cannot_say_where_its_run_goes(fleet: Told, tmp_path: Path, name: Any) -> None:
    fleet.holds(HEAD, name, {"run/config.json": b"{}"})
    with pytest.raises((FleetError, ConfigError)):
        fleet.collect(HEAD)
    assert _files(tmp_path) == []


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", "a\nb", "-r"])
def test_a_user_cannot_either(fleet: Told, name: str) -> None:
    for do in (
        lambda: fleet.collect(HEAD, name=name),
        lambda: actions.logs([HEAD], name, 1, fleet.lines.append),
    ):
        with pytest.raises(ConfigError, match="want letters, digits"):
            do()


def test_hosts_that_answer_for_another_run_are_left_out(fleet: Told) -> None:
    fleet.holds(HEAD, "r", {"run/config.json": b"{}"})
    fleet.holds(WORKER, "other", {"logs/worker-0.log": b"x"})
    assert not fleet.collect(name="r")
    assert fleet.said("w1: holds 'other', not 'r'; left out")
    assert _files(Path("runs")) == ["r/config.json"]
    fleet.lines.clear()
    assert not fleet.collect()  # without a name, the head's
    assert fleet.said("w1: holds 'other'") and _files(Path("runs")) == ["r/config.json"]
    with pytest.raises(FleetError, match="hold no run 'third'"):
        fleet.collect(name="third")


# -- places ----------------------------------------------------------------------------------------


def test_only_plain_files_in_their_place_are_unpacked(fleet: Told, tmp_path: Path) -> None:
    device, secret = tarfile.TarInfo(), tmp_path / "secret"
    device.type = tarfile.CHRTYPE
    secret.write_text("s")
    setuid = tarfile.TarInfo()
    setuid.mode = 0o6777
    fleet.holds(
        HEAD,
        "r",
        {
            "run/good": b"ok",
            "run/setuid": setuid,
            "run/../../../evil": b"x",
            "/run/evil": b"x",
            "other/evil": b"x",
            "run": b"x",
            "run/link": _link(tarfile.SYMTYPE, str(tmp_path)),
            "run/link/evil": b"x",
            "run/hard": _link(tarfile.LNKTYPE, "run/good"),
            "run/device": device,
            "run/fifo": _link(tarfile.FIFOTYPE, ""),
            "run/new\nline": b"x",
            f"run/{STEER[:5]}": b"x",
            f"run/{'n' * 255}": b"x",
        },
    )
    assert not fleet.collect(HEAD)
    assert fleet.said("h1: left out 11 of its files")
    assert all(line.isprintable() for line in fleet.lines)
    target = Path("runs/r")
    assert _files(target) == ["good", "link/evil", "setuid"]
    assert not (target / "link").is_symlink()
    assert not (target / "setuid").stat().st_mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IXUSR)
    assert not list(tmp_path.glob("**/evil.*")) and secret.read_text() == "s"


def test_a_workers_archive_fills_its_own_logs_alone(fleet: Told) -> None:
    fleet.holds(HEAD, "r", {"run/checkpoints/LATEST": b"7", "logs/head.log": b"head"})
    evil = {"run/checkpoints/LATEST": b"9", "logs/../h1/head.log": b"evil", "logs/w.log": b"w"}
    fleet.holds(WORKER, "r", evil)
    assert not fleet.collect()
    assert Path("runs/r/checkpoints/LATEST").read_text() == "7"
    assert Path("runs/r/logs/h1/head.log").read_text() == "head"
    assert Path("runs/r/logs/w1/w.log").read_text() == "w"
    assert fleet.said("w1: left out 2 of its files")


def test_what_is_ours_in_a_copy_is_of_no_archive(fleet: Told) -> None:
    guard = json.dumps({"run": "x", "run_id": "other"}).encode()
    fleet.holds(
        HEAD,
        "r",
        {
            "run/config.json": b"{}",
            "run/collected.json": guard,
            "run/./Collected.JSON": guard,
            "run/collected.json/x": guard,
            "run/.lock": b"x",
            "run/logs/w1/worker-0.log": b"forged",
            "run/logs/w1": b"forged",
            "run/logs/w1x/0.log": b"the head's own",
        },
        id="one",
    )
    assert not fleet.collect()  # the worker is down
    assert fleet.said("h1: left out 6 of its files") and fleet.said("collected into runs/r")
    assert json.loads(Path("runs/r/collected.json").read_text()) == {"run": "r", "run_id": "one"}
    assert Path("runs/r/.lock").read_bytes() == b""
    assert _files(Path("runs")) == ["r/config.json", "r/logs/w1x/0.log"]
    fleet.holds(WORKER, "r", {"logs/worker-0.log": b"own"})
    assert not fleet.collect()  # the same run again
    assert Path("runs/r/logs/w1/worker-0.log").read_bytes() == b"own"
    fleet.holds(HEAD, "r", {"run/config.json": b"theirs"}, id="other")
    with pytest.raises(ConfigError, match="no copy of this run 'r'"):
        fleet.collect()
    assert Path("runs/r/config.json").read_bytes() == b"{}"


def test_links_that_are_there_lead_nothing_out(fleet: Told, tmp_path: Path) -> None:
    target, outside = Path("runs/r"), tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    fleet.holds(HEAD, "r", {"run/config.json": b"{}"}, id="one")
    assert fleet.collect(HEAD)
    (target / "folder").symlink_to(outside)
    (target / "file").symlink_to(outside / "kept")
    (target / ".part.part").symlink_to(outside / "kept")
    members = {"run/folder/kept": b"x", "run/folder/new": b"x", "run/file": b"x", "run/part": b"x"}
    fleet.holds(HEAD, "r", members, id="one")
    assert not fleet.collect(HEAD)
    assert fleet.said("left out 2 of its files")
    assert (outside / "kept").read_text() == "kept" and _files(outside) == ["kept"]
    assert not (target / "file").is_symlink() and (target / "file").read_text() == "x"


def _huge() -> bytes:
    info = tarfile.TarInfo("run/huge")
    info.size = 2**60
    return gzip.compress(info.tobuf())


def _long_header() -> bytes:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2**30
    return gzip.compress(info.tobuf() + bytes(2**22))


def _many() -> bytes:
    info = tarfile.TarInfo("elsewhere/x")
    return gzip.compress(info.tobuf() * 100_001)


def _sparse() -> bytes:
    info = tarfile.TarInfo("run/sparse")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    info.pax_headers |= {"GNU.sparse.name": "run/sparse", "GNU.sparse.realsize": str(2**20)}
    data = b"1\n0\n0\n".ljust(512, b"\0")
    info.size = len(data)
    return gzip.compress(info.tobuf(tarfile.PAX_FORMAT) + data + bytes(1024))


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (_huge, "a file of 1152921504606846976 bytes"),
        (_long_header, "a member of 1073741824 bytes that is no file"),
        (_many, "more than 100000 files"),
        (_sparse, "left out 1 of its files"),
        (lambda: b"nothing of the kind", "its archive: "),
        (lambda: packed({"run/a": bytes(10**6)})[:-200], "its archive: "),
        (lambda: packed({"run/a": b"x", "run/a/b": b"x"}), "its archive: "),
    ],
)
def test_an_archive_that_cannot_be_is_a_line(
    fleet: Told, archive: Callable[[], bytes], message: str
) -> None:
    fleet.holds(HEAD, "r", {})
    fleet.archives["h1"] = archive()
    fleet.holds(WORKER, "r", {"logs/worker-0.log": b"x"})
    assert not fleet.collect()
    assert fleet.said(message) and Path("runs/r/logs/w1/worker-0.log").exists()
    assert not list(Path("runs").rglob("*.part"))


# -- what was there --------------------------------------------------------------------------------


@pytest.mark.parametrize("there", ["config.json", "checkpoints/LATEST", "notes.txt"])
def test_another_run_is_not_overwritten(fleet: Told, there: str) -> None:
    path = Path("runs/r") / there
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    fleet.holds(HEAD, "r", {f"run/{there}": b"theirs"}, id="theirs")
    with pytest.raises(ConfigError, match="runs/r is not empty, and no copy of this run 'r'"):
        fleet.collect(HEAD)
    assert path.read_text() == "mine" and _files(Path("runs")) == [f"r/{there}"]


def test_a_copy_is_brought_up_to_date_by_its_own_run_alone(fleet: Told) -> None:
    def identity(run_id: str) -> dict[str, bytes]:
        return {"run/identity.json": json.dumps({"run_id": run_id}).encode()}

    fleet.holds(WORKER, "r", {"logs/worker-0.log": b"1"})
    assert not fleet.collect()  # the head is down
    fleet.holds(HEAD, "r", {"run/config.json": b"{}"})
    assert fleet.collect()  # no learner yet
    fleet.holds(HEAD, "r", identity("one"), id="one")
    assert fleet.collect() and fleet.collect()
    fleet.holds(HEAD, "r", identity("two"), id="two")  # begun anew under the same name
    with pytest.raises(ConfigError, match="no copy of this run"):
        fleet.collect()
    assert json.loads(Path("runs/r/identity.json").read_text()) == {"run_id": "one"}
    Path("runs/r/collected.json").unlink()  # by an earlier version
    fleet.holds(HEAD, "r", identity("one"), id="one")
    assert fleet.collect()
    with rundir.owned(Path("runs/r")), pytest.raises(rundir.RunDirError, match="is being run"):
        fleet.collect()


def test_a_folder_that_cannot_be_written_is_a_line(fleet: Told) -> None:
    Path("file").write_text("")
    fleet.holds(HEAD, "r", {"run/config.json": b"{}"})
    with pytest.raises(ConfigError, match="cannot write file: File exists"):
        fleet.collect(HEAD, into=Path("file"))


# -- answers ---------------------------------------------------------------------------------------


def _deep(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "change",
    [
        {"run": "r"},
        {"run": {}},
        {"run": {**RUN, "run": "../x"}},
        {"run": {**RUN, "workers": "2"}},
        {"run": {**RUN, "workers": 10**400}},
        {"programs": ["RUNNING"]},
        {"programs": {"head": 7}},
        {"alive": "yes"},
        {"cores": 0},
        {"cores": 10**9},
        {"cores": float("nan")},
        {"free": -1},
        {"free": True},
        {"deployed": _deep(50)},
        {"taken": [10**9]},
        {"watch": "text"},
        {"watch": {"evaluations_per_second": "fast"}},
        {"watch": {"checkpoint_age": 10**400}},
        {"watch": {"checkpoint_age": 1e299}},
        {"watch": {"step": [["a"] * 3]}},
        {"watch": {"step": float("nan")}},
        {"watch": {"updates": "2"}},
        {"watch": {"updates": -1}},
        {"watch": {"state": 7}},
        {"watch": {"state": "x" * 10**6}},
        {"watch": {"problem": "x" * 10**6}},
        {"watch": {"problem": ["x"]}},
        {"deployed": "x" * 10**6},
        {"programs": {str(k): "RUNNING" for k in range(10_001)}},
        {"programs": {"x" * 10**6: "RUNNING"}},
        {"watch": {"checkpoint_age": float("nan")}},
    ],
)
def test_answers_of_wrong_shapes_are_a_problem_of_that_host(
    fleet: Told, change: dict[str, Any]
) -> None:
    fleet.answers = {"h1": LOOK, "w1": {**LOOK, **change}}
    assert not actions.status([HEAD, WORKER], fleet.lines.append)
    assert fleet.lines[0].startswith("w1: its answer cannot be: ")
    assert fleet.said("h1: 'r': head, 2 workers")
    fleet.answers = {"h1": {**LOOK, **change}, "w1": LOOK}
    with pytest.raises(FleetError, match="a fleet needs its head"):
        starting.scale([HEAD, WORKER], 3, fleet.lines.append)


@pytest.mark.parametrize("key", LOOK)
def test_an_answer_is_whole(fleet: Told, key: str) -> None:
    fleet.answers = {"h1": {each: value for each, value in LOOK.items() if each != key}}
    well = actions.status([HEAD], fleet.lines.append)
    assert well == (key in ("deployed", "run"))  # which may be none


@pytest.mark.parametrize(
    "text", ["", "no JSON", "[]", "7", '"x"', "null", "[" * 10**5, "{" * 10**5, "9" * 10**4]
)
def test_what_is_no_answer_is_a_problem_of_that_host(tmp_path: Path, text: str) -> None:
    path = tmp_path / "results"
    record = {"host": "h1", "state": "ok", "task": "answer", "text": text}
    path.write_text(json.dumps(record) + "\n")
    ((host, answer),) = ansible._answers(path)
    assert host == "h1" and answer.problem == "its answer is not a JSON object"


def test_an_answer_that_was_cut_short_is_none(tmp_path: Path) -> None:
    path = tmp_path / "results"
    record = json.dumps({"host": "h1", "state": "ok", "task": "answer", "text": "{}"})
    path.write_text(f"{record}\n{record[:-9]}")
    assert [host for host, _ in ansible._answers(path)] == ["h1"]


# -- the terminal ----------------------------------------------------------------------------------


def test_printable_leaves_text_alone_and_nothing_that_steers() -> None:
    plain = "a b\tc\nä█ 漢字 🙂 \\ % 'x'"
    assert printable(plain) == plain
    steering = "".join(map(chr, (*range(9), *range(11, 32), *range(127, 160))))
    steering += "\u200e\u202a\u202e\u2066\u2069\u2028\u2029\ufeff\udc80"
    for character in steering:
        assert printable(character) == ascii(character)[1:-1] != character
    assert printable("a\r\nb\tc", keep="") == "a\\r\\nb\\tc"


def test_no_host_steers_the_terminal(fleet: Told) -> None:
    programs = {STEER: f"EXITED {STEER}"}
    watch = {"state": STEER, "step": 1, "updates": 2}
    look = {**LOOK, "deployed": STEER, "programs": programs, "watch": watch}
    fleet.answers = {"h1": look, "w1": {"error": f"{STEER}\nh1: forged"}}
    assert not actions.status([HEAD, WORKER], fleet.lines.append)
    fleet.answers["h1"]["watch"] = {"problem": f"{STEER}\nh1: forged"}
    assert not actions.status([HEAD, WORKER], fleet.lines.append)
    assert fleet.said(", update 1 of 2") and fleet.said("the run: \\x1b[31m")
    fleet.answers["h1"] = {"logs": {f"head.log{STEER}": [f"a\tb{STEER}", "two\nlines"]}}
    actions.logs([HEAD, WORKER], None, 10, fleet.lines.append)
    fleet.answers["h1"] = {"stopped": None, "killed": 0, "more": STEER}
    actions.stop([HEAD, WORKER], fleet.lines.append)
    assert fleet.said("a\tb\\x1b[31m")
    for line in fleet.lines:
        assert line.replace("\t", " ").isprintable(), line


def test_a_host_shows_no_more_of_its_logs_than_was_asked_for(fleet: Told) -> None:
    fleet.answers = {"h1": {"logs": {"head.log": [*map(str, range(300_000))], "w": ["y" * 10**6]}}}
    assert actions.logs([HEAD], None, 2, fleet.lines.append)
    assert fleet.lines[:4] == ["-- h1: head.log", "   299998", "   299999", "-- h1: w"]
    assert len(fleet.lines) == 5 and len(fleet.lines[4]) < 5000
    fleet.answers = {"h1": {"logs": {str(k): ["x"] for k in range(10_001)}}}
    assert not actions.logs([HEAD], None, 2, fleet.lines.append)
    assert fleet.lines[5:] == ["h1: its answer cannot be: logs"]


@pytest.mark.parametrize("state", ["unreachable", "failed"])
def test_errors_of_ssh_and_ansible_are_one_clean_line(tmp_path: Path, state: str) -> None:
    path = tmp_path / "results"
    record = {"host": "h1", "state": state, "task": "answer", "text": f"one\n{STEER}Denied\n"}
    path.write_text(json.dumps(record) + "\n")
    ((_, answer),) = ansible._answers(path)
    assert answer.problem.isprintable() and answer.problem.endswith("Denied")
    assert ansible._last_line(f"{STEER}Denied").isprintable()


def test_a_cause_is_a_line(fleet: Told) -> None:
    other = {**LOOK, "run": {**RUN, "run": "other"}}
    fleet.answers = {"h1": other, "w1": {**other, "deployed": STEER}}
    with pytest.raises(FleetError) as caught:
        starting.start([HEAD, WORKER], find("physics-small"), "r", 20100, 21000, 4, print)
    one, two, last = str(caught.value).splitlines()
    assert one.startswith("h1: works for the run 'other'") and two.startswith("w1: works for")
    assert last == "nothing was changed"


def test_no_command_prints_what_steers(capsys: pytest.CaptureFixture[str]) -> None:
    class Refused:
        def run(self, say: Any) -> int:
            raise ConfigError(f"refused: {STEER}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command_line, "parse", lambda _: Refused())
        with pytest.raises(SystemExit):
            command_line.main(["worker"])
    assert capsys.readouterr().err.rstrip("\n").isprintable()


@needs_ansible
def test_a_host_cannot_name_our_variables(tmp_path: Path) -> None:
    """Its Python is what it likes; here it says where on this machine its file shall go."""
    victim, payload = tmp_path / "victim", tmp_path / "payload"
    victim.mkdir()
    payload.write_text("planted")
    fake = tmp_path / "python"
    fake.write_text(
        f"#!{sys.executable}\n"
        "import hashlib, json, sys\n"
        "if '-c' in sys.argv: sys.exit(0)\n"
        "sys.stdin.read()\n"
        f"answer = {{'file': {str(payload)!r}, 'run': None}}\n"
        "found = {'exists': True, 'isreg': True, 'isdir': False}\n"
        "found['checksum'] = hashlib.sha1(b'planted').hexdigest()\n"
        f"facts = {{'fleet_fetch_to': {str(victim)!r}}}\n"
        "print(json.dumps({'rc': 0, 'stdout': json.dumps(answer), 'stat': found,"
        " 'ansible_facts': facts}))\n"
    )
    fake.chmod(0o755)
    hosts = {"ansible_connection": "local", "optimus_python": str(fake)}
    hosts["optimus_root"] = str(tmp_path / "root")
    inventory = tmp_path / "hosts.yaml"
    inventory.write_text(
        json.dumps({"all": {"vars": hosts, "children": {"head": {"hosts": {"h1": None}}}}})
    )
    done = subprocess.run(
        [sys.executable, "-m", "launch.cli.main", "fleet", "status", "--inventory", str(inventory)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert not list(victim.iterdir())
    assert done.stdout.startswith("h1: its answer cannot be: ") and done.returncode == 1
