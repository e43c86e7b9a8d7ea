"""The walls between the rooms, and what the repository promises about its own files."""

from __future__ import annotations

import ast
import configparser
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = pathlib.Path(__file__).resolve().parents[1]
ROOMS = ("optimus", "workers", "learner", "launch")
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))

# Which room may import which, itself aside.
MAY_IMPORT: dict[str, set[str]] = {
    "optimus": set(),
    "workers": {"optimus"},
    "learner": {"optimus"},
    "launch": {"optimus", "workers", "learner"},
}
# The only places that may import what exists in the distributed environment alone.
ONLY_IN = {
    "courier": ("launch/adapters/",),
    "reverb": ("launch/adapters/",),
    "launchpad": (
        "launch/program/program.py",
        "launch/program/node.py",
        "launch/program/node_types.py",
    ),
    "tensorflow": ("workers/physics/simulation/tf_op.py", "workers/physics/build.py"),
}
# Modules that are allowed to need it, so that everything else must do without.
NEED_IT = (
    r"launch\.adapters\.(courier|reverb\w*)|launch\.program\.(program|node\w*)"
    r"|workers\.physics\.simulation\.tf_op"
    r"|launch\.fleet\.plugins\.\w+"  # Ansible's, in Ansible's own process
)


def imported(path: pathlib.Path, text: str | None = None) -> Iterator[str]:
    """Absolute names of the modules that a file imports, at any depth, `import_module` included."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text() if text is None else text, str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            yield ".".join([*base, *filter(None, [node.module])])
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.args[0].value


def test_the_scan_sees_every_form_of_import() -> None:
    text = (
        "import a.b as c\nfrom d import e\nfrom . import f\nfrom ..workers import g\n"
        "def h():\n    import i\n    import importlib\n    importlib.import_module('j.k')\n"
    )
    found = set(imported(ROOT / "learner" / "not_written.py", text))
    assert found == {"a.b", "d", "learner", "workers", "i", "importlib", "j.k"}


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_only_what_they_may(room: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in SOURCES
        if path.is_relative_to(ROOT / room)
        for name in imported(path)
        if name.partition(".")[0] in set(ROOMS) - {room} - MAY_IMPORT[room]
    ]
    assert not wrong


@pytest.mark.parametrize("library", ONLY_IN)
def test_distributed_libraries_are_imported_in_their_places_only(library: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in SOURCES
        if not path.relative_to(ROOT).as_posix().startswith(ONLY_IN[library])
        for name in imported(path)
        if name.partition(".")[0] == library
    ]
    assert not wrong, f"{library} belongs in {' or '.join(ONLY_IN[library])}"


def test_everything_else_imports_without_the_distributed_libraries() -> None:
    """In a fresh interpreter that refuses them, as on CPython 3.11 and newer."""
    script = f"""
import importlib, pkgutil, re, sys
blocked = {set(ONLY_IN)}
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"blocked by the test: {{name}}", name=name)
sys.meta_path.insert(0, Blocker())
def fail(name):
    raise
count = 0
for room in {ROOMS}:
    package = importlib.import_module(room)
    assert package.__path__[0].startswith({str(ROOT)!r}), package.__path__
    for module in pkgutil.walk_packages(package.__path__, room + ".", onerror=fail):
        if re.fullmatch({NEED_IT!r}, module.name) is None:
            importlib.import_module(module.name)
            count += 1
assert not blocked & {{name.partition(".")[0] for name in sys.modules}}
print(count, "launch.cli.main" in sys.modules)
"""
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert result.returncode == 0, result.stderr
    count, command_line = result.stdout.split()
    assert int(count) > 20 and command_line == "True"


def test_importing_the_launch_package_costs_nothing() -> None:
    code = "import sys; import launch; print(sys.modules.keys() & {'jax', 'numpy', 'tyro'})"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (result.stdout, result.stderr) == ("set()\n", "")


def test_every_folder_with_code_is_a_package_that_ships() -> None:
    without = {path.parent for path in SOURCES if not (path.parent / "__init__.py").exists()}
    assert not without


def texts() -> Iterator[pathlib.Path]:
    """The repository's own text files, without what git ignores."""
    visible = [path for path in ROOT.iterdir() if not path.name.startswith(".")]
    dotted = [ROOT / name for name in (".ci", ".gitignore", ".python-version")]
    for top in sorted(visible + dotted):
        if top.name in ("build", "dist", "runs") or top.suffix == ".egg-info":
            continue
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file() and not {"__pycache__", "lib"} & {*path.relative_to(ROOT).parts}:
                yield path


def test_no_file_names_a_machine() -> None:
    """A clone works anywhere: no path of the machine that wrote it, no package index."""
    pattern = re.compile(rb"/(?:root|work|home/\w+)/|(?:extra-)?index-url[ =]\S*https?:")
    own = pathlib.Path(__file__)
    wrong = [
        f"{path.relative_to(ROOT)}: {found.group().decode()}"
        for path in texts()
        if path != own and (found := pattern.search(path.read_bytes()))
    ]
    assert not wrong


# ------------------------------------------------------------------------------------ requirements


def pins(name: str) -> list[tuple[Requirement, list[str]]]:
    """(requirement, hashes) of each entry of requirements/NAME.txt."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    entries = re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    return [
        (Requirement(entry.partition("--hash")[0].strip()), re.findall(r"--hash=(\S+)", entry))
        for entry in entries
    ]


def declared() -> dict[str, list[Requirement]]:
    """What setup.cfg asks for: '' for the base install, else by extra."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    groups = {"": config["options"]["install_requires"], **config["options.extras_require"]}
    return {
        extra: [Requirement(line) for line in text.splitlines() if line.strip("# ")]
        for extra, text in groups.items()
    }


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("name", ["stack", "base", "docs"])
def test_pins_are_exact_and_hashed(name: str) -> None:
    for requirement, hashes in pins(name):
        assert [specifier.operator for specifier in requirement.specifier] == ["=="], requirement
        assert requirement.url is None
        assert hashes and all(re.fullmatch(r"sha256:[0-9a-f]{64}", text) for text in hashes)


@pytest.mark.parametrize(
    ("name", "python", "extras"),
    [
        ("stack", "3.10", ["", "bench", "monitor", "native", "distributed", "dev"]),
        ("base", "3.11", ["", "bench", "monitor", "native", "dev"]),
        ("base", "3.12", ["", "bench", "monitor", "native", "dev"]),
        ("base", "3.13", ["", "bench", "monitor", "native", "dev"]),
    ],
)
def test_pins_satisfy_what_setup_cfg_asks_for(name: str, python: str, extras: list[str]) -> None:
    here = {
        "python_version": python,
        "python_full_version": f"{python}.5",
        "sys_platform": "linux",
        "platform_machine": "x86_64",
        "platform_python_implementation": "CPython",
    }
    versions: dict[str, Version] = {}
    for requirement, _ in pins(name):
        if requirement.marker is None or requirement.marker.evaluate(here):
            assert canonical(requirement.name) not in versions, f"{requirement} is pinned twice"
            versions[canonical(requirement.name)] = Version(str(requirement.specifier)[2:])
    for extra in extras:
        for wanted in declared()[extra]:
            if wanted.marker is None or wanted.marker.evaluate(here):
                assert wanted.specifier.contains(versions[canonical(wanted.name)]), wanted
    assert versions["setuptools"] < Version("81") and "wheel" in versions
    if name == "base":
        assert not versions.keys() & {"dm-launchpad", "dm-reverb", "tensorflow-cpu"}


def test_the_running_environment_is_the_pinned_one() -> None:
    """Says which environment is tested, and that nobody has upgraded a part of it by hand."""
    from importlib.metadata import PackageNotFoundError, version

    name = "stack" if sys.version_info[:2] == (3, 10) else "base"
    different = {}
    for requirement, _ in pins(name):
        if requirement.marker is None or requirement.marker.evaluate():
            try:
                found = version(requirement.name)
            except PackageNotFoundError:
                found = "not installed"
            if not requirement.specifier.contains(found if found[0].isdigit() else "0"):
                different[str(requirement)] = found
    assert not different
