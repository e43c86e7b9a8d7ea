"""The build script: fresh outputs are left alone, failures are one clear line."""

from __future__ import annotations

import subprocess
import sys

import pytest

from workers.physics import build
from workers.physics import simulation as simulator_module
from workers.physics.build import BuildError
from workers.physics.native import LIBRARY, binding, generated_library


def test_a_fresh_library_is_not_built_again(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    before = LIBRARY.stat().st_mtime_ns
    assert build.build_library() == LIBRARY and LIBRARY.stat().st_mtime_ns == before


def test_missing_compiler(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    message = r"no C\+\+ compiler: no-such-compiler is not installed \(apt-get install g\+\+\)"
    with pytest.raises(BuildError, match=message):
        build.build_library(force=True)


def test_missing_headers(monkeypatch, tmp_path):
    monkeypatch.setattr(
        build.sysconfig, "get_paths", lambda: {"purelib": str(tmp_path), "platlib": str(tmp_path)}
    )
    with pytest.raises(BuildError, match="pip install cmeel-cppad cmeel-eigen"):
        build.build_library(force=True)


def test_missing_tensorflow(monkeypatch, tmp_path):
    monkeypatch.setattr(build, "OP_LIBRARY", tmp_path / "physics_op.so")
    monkeypatch.setattr(build, "has_tensorflow", lambda: False)
    with pytest.raises(BuildError, match="the op needs tensorflow"):
        build.build_op()


def test_broken_source_leaves_the_old_output(tmp_path):
    source, output = tmp_path / "broken.cc", tmp_path / "broken.so"
    source.write_text("int main( {")
    output.write_text("old")
    with pytest.raises(BuildError, match=r"compiling broken.so failed"):
        build._compile(["-shared"], [source], output, [])
    assert output.read_text() == "old" and len(list(tmp_path.iterdir())) == 2


def test_only_the_interface_is_exported():
    done = subprocess.run(
        ["nm", "-D", "--defined-only", str(LIBRARY)], capture_output=True, text=True, check=True
    )
    names = [line.split()[-1] for line in done.stdout.splitlines()]
    assert names and all(name.startswith("physics_") for name in names)


def test_missing_or_stale_library(monkeypatch, tmp_path):
    monkeypatch.setattr(binding, "LIBRARY", tmp_path / "libphysics.so")
    with pytest.raises(simulator_module.PhysicsError, match="the simulator is not built; run: "):
        binding.library.__wrapped__()
    (tmp_path / "libphysics.so").write_text("not a library")
    with pytest.raises(simulator_module.PhysicsError, match=r"does not load .* --force"):
        binding.library.__wrapped__()
    monkeypatch.setattr(binding, "LIBRARY", LIBRARY)
    monkeypatch.setattr(binding, "INTERFACE", 999)
    with pytest.raises(simulator_module.PhysicsError, match="this code needs 999; run: "):
        binding.library.__wrapped__()


def test_generated_code_is_named_after_the_structure():
    paths = {generated_library(structure) for structure in ("x pd\na", "x pd\nb", "x torque\na")}
    assert len(paths) == 3
    assert generated_library("x pd\na") in paths
    assert generated_library("x torque\na").name.startswith("generated_torque_")


def test_scripts_run_without_warnings():
    for module in ("workers.physics.build", "workers.physics.assets"):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", module, "--help"], capture_output=True, text=True
        )
        assert done.returncode == 0 and not done.stderr, done.stderr
