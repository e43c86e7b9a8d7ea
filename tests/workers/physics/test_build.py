"""The build script: what is there is left alone, failures are one clear line."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from optimus import installation
from optimus.errors import UserError
from workers.physics import build, native
from workers.physics import simulation as simulator_module
from workers.physics.build import BuildError
from workers.physics.native import binding, generated_library, library_path


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """An installation with nothing compiled, nothing to compile with, and an empty cache."""
    monkeypatch.setattr(native, "BESIDE", tmp_path / "site-packages" / "lib")
    monkeypatch.setattr(build.sysconfig, "get_path", lambda key: str(tmp_path))
    monkeypatch.setenv("OPTIMUS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CXX", "no-such-compiler")
    return tmp_path


def test_a_library_that_is_there_is_not_built_again(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    before = library_path().stat().st_mtime_ns
    assert build.build_library() == library_path()
    assert library_path().stat().st_mtime_ns == before


def test_what_the_wheel_brings_is_found_whatever_the_times_of_its_files(monkeypatch, bare):
    """An installer sets them as it likes: the sources may be younger."""
    native.BESIDE.mkdir(parents=True)
    carried = native.BESIDE / library_path().name
    carried.write_bytes(b"")
    os.utime(carried, (0, 0))
    assert build.build_library() == library_path() == carried


@pytest.mark.parametrize("make", [build.build_library, binding.library.__wrapped__])
def test_all_that_is_missing_is_told_at_once(make, bare):
    with pytest.raises(UserError) as caught:
        make()
    message = str(caught.value)
    assert "the C++ compiler no-such-compiler (Debian: apt-get install g++)" in message
    assert "pip install 'optimus-learned-optimizer[native]'" in message
    assert "\n" not in message


def test_what_is_not_built_names_the_command_that_builds_it(bare):
    with pytest.raises(simulator_module.PhysicsError) as caught:
        binding.library.__wrapped__()
    assert str(caught.value).startswith("the simulator is not built: first get ")
    assert str(caught.value).endswith(f"then run: {sys.executable} -m workers.physics.build")


def test_with_all_at_hand_only_the_command_is_named(monkeypatch):
    monkeypatch.setenv("CXX", f"{sys.executable} -x c")  # options of its own
    command = f"run: {sys.executable} -m workers.physics.build --force"
    assert build.how_to_build("--force") == command


@pytest.mark.parametrize("version", [(3, 10), (3, 13)])
def test_the_command_tells_all_at_once_too(version, monkeypatch, bare, capsys):
    monkeypatch.setattr(build.sys, "version_info", version)
    assert build.main(["--fast"]) == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and message.startswith(
        "build: compiling needs the C++ compiler"
    )
    assert message.count("[native]") == 1
    no_command = "CppADCodeGen (for CPython 3.10 only; leave out --fast)"
    assert (no_command in message) == (version != (3, 10))


def test_broken_source_leaves_the_old_output(tmp_path):
    source, output = tmp_path / "broken.cc", tmp_path / "broken.so"
    source.write_text("int main( {")
    output.write_text("old")
    with pytest.raises(BuildError, match=r"compiling broken.so failed"):
        build._compile(["-shared"], [source], output, [])
    assert output.read_text() == "old" and len(list(tmp_path.iterdir())) == 2


def test_only_the_interface_is_exported():
    done = subprocess.run(
        ["nm", "-D", "--defined-only", str(library_path())],
        capture_output=True,
        text=True,
        check=True,
    )
    names = [line.split()[-1] for line in done.stdout.splitlines()]
    assert names and all(name.startswith("physics_") for name in names)


def test_a_library_that_does_not_load(monkeypatch, bare):
    path = library_path()
    path.parent.mkdir(parents=True)
    path.write_text("not a library")
    with pytest.raises(simulator_module.PhysicsError, match=r"does not load .* --force"):
        binding.library.__wrapped__()


def test_a_name_changes_with_the_sources(monkeypatch, tmp_path, bare):
    source = tmp_path / "a.cc"
    names = set()
    for text, words in (("1", ()), ("2", ()), ("1", ("another library",))):
        source.write_text(text)
        names.add(native.place("a.so", [source], *words))
    assert len(names) == 3 and {path.parent for path in names} == {native.BESIDE}
    assert all(path.name.startswith("a_") and path.suffix == ".so" for path in names)


def test_generated_code_is_named_after_the_structure():
    paths = {generated_library(structure) for structure in ("x pd\na", "x pd\nb", "x torque\na")}
    assert len(paths) == 3
    assert generated_library("x pd\na") in paths
    assert generated_library("x torque\na").name.startswith("generated_torque_")


# ------------------------------------------------------------------- where the package is read-only


def make_it(output: Path) -> None:
    output.write_text("made")


def test_where_the_package_cannot_be_written_the_cache_is_used(monkeypatch, bare):
    monkeypatch.setattr(native, "writable", lambda: False)
    path = library_path()
    assert path.is_relative_to(bare / "cache") and path.parent.name.startswith("native-linux-")
    assert build._made(path, False, make_it) == path == library_path()
    assert library_path().read_text() == "made"
    assert not (bare / "site-packages").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_noticed(monkeypatch, bare):
    native.BESIDE.mkdir(parents=True)
    native.BESIDE.chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert not native.writable() and library_path().is_relative_to(bare / "cache")


def test_forced_beside_a_read_only_library_the_new_one_is_found(monkeypatch, bare):
    monkeypatch.setattr(native, "writable", lambda: False)
    native.BESIDE.mkdir(parents=True)
    carried = native.BESIDE / library_path().name
    carried.write_text("does not load here")
    assert library_path() == carried
    made = build._made(carried, True, make_it)
    assert made == library_path() != carried and made.read_text() == "made"


def test_of_several_that_build_at_once_one_does(bare):
    output, count, started = bare / "deep" / "er" / "a.so", [], threading.Barrier(6)

    def once(_: int) -> Path:
        started.wait(timeout=20)
        return build._made(output, False, lambda path: (count.append(path), make_it(path)))

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(once, range(6))) == {output}
    assert count == [output]


def test_waiting_for_another_build_ends(tmp_path):
    with (
        installation.locked(tmp_path / "lock"),
        pytest.raises(UserError, match=r"another process has held .*lock for 0 s: end it first"),
        installation.locked(tmp_path / "lock", wait=0.2),
    ):
        pass
    with installation.locked(tmp_path / "lock", wait=0.2):
        pass


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match=r"cannot be written \(.*\): set OPTIMUS_CACHE to a folder"),
        installation.locked(tmp_path / "file" / "lock"),
    ):
        pass


def test_the_cache_follows_the_environment(monkeypatch):
    monkeypatch.setenv("HOME", "/h")
    for value, expected in (
        ("~/c", "/h/c"),
        ("/d", "/d"),
        ("", f"/h/.cache/{installation.DISTRIBUTION}"),
    ):
        monkeypatch.setenv("OPTIMUS_CACHE", value)
        assert str(installation.cache_dir()) == expected

    def homeless(self):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", homeless)
    with pytest.raises(UserError, match="set OPTIMUS_CACHE to a folder"):
        installation.cache_dir()


def test_commands_fit_the_environment(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/a b/python")
    quoted = "'optimus-learned-optimizer[bench]'"
    assert installation.extra_command("bench") == f"'/a b/python' -m pip install {quoted}"
    monkeypatch.setattr(installation, "has_pip", lambda: False)
    found = installation.extra_command("bench")
    assert found == f"uv pip install --python '/a b/python' {quoted}"


def test_to_look_for_pip_changes_nothing():
    """setuptools takes its distutils back where pip's module is looked for."""
    code = "import optimus.installation as ours; ours.has_pip(); import distutils"
    command = [sys.executable, "-W", "error::DeprecationWarning", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 or "No module named 'distutils'" in done.stderr


def test_scripts_run_without_warnings():
    for module in ("workers.physics.build", "workers.physics.assets"):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", module, "--help"], capture_output=True, text=True
        )
        assert done.returncode == 0 and not done.stderr, done.stderr
