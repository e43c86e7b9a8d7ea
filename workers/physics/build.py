"""Compiles the simulator (libphysics.so) and the TensorFlow op (physics_op.so).

    python -m workers.physics.build          # the simulator, and the op beside tensorflow
    python -m workers.physics.build --op     # both; an error when tensorflow is missing
    python -m workers.physics.build --fast   # also generated code for the gradient (minute)

Compiles only what is older than its sources. Needs g++ and the header packages cmeel-cppad and
cmeel-eigen; the op also needs tensorflow, generated code cmeel-cppadcodegen. Flags and the two-ABI
rule: fact sheet stack.md, 5.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from optimus.errors import UserError
from workers.physics.assets import AssetError
from workers.physics.native import LIBRARY, OP_LIBRARY, SOURCE_DIR, generated_library


class BuildError(UserError, RuntimeError):
    """The native part cannot be built; the message says what is missing and how to get it."""


def build_library(force: bool = False) -> Path:
    """Builds libphysics.so when it is older than its sources; returns its path."""
    sources = sorted(set(SOURCE_DIR.glob("*.cc")) - {SOURCE_DIR / "physics_op.cc"})
    inputs = [*sources, *SOURCE_DIR.glob("*.hpp"), SOURCE_DIR / "physics.h"]
    inputs.append(SOURCE_DIR / "exports.map")
    if not force and _is_fresh(LIBRARY, inputs):
        return LIBRARY
    include = _header_dir()
    flags = ["-std=c++17", "-O2", "-DNDEBUG", "-Wall", "-fPIC", "-shared"]
    flags += ["-fvisibility=hidden", "-fvisibility-inlines-hidden"]
    flags += [f"-Wl,--version-script={SOURCE_DIR / 'exports.map'}", "-Wl,-soname,libphysics.so"]
    flags += ["-isystem", str(include), "-isystem", str(include / "eigen3")]
    _compile(flags, sources, LIBRARY, ["-pthread"])
    return LIBRARY


def build_op(force: bool = False) -> Path:
    """Builds physics_op.so (and the library it calls) when out of date; returns its path."""
    library = build_library()
    inputs = [SOURCE_DIR / "physics_op.cc", SOURCE_DIR / "physics.h"]
    if not force and _is_fresh(OP_LIBRARY, inputs):
        return OP_LIBRARY
    if not has_tensorflow():
        raise BuildError("the op needs tensorflow, which is not installed in this environment")
    import tensorflow as tf

    flags = ["-std=c++14", "-O2", "-fPIC", "-shared", *tf.sysconfig.get_compile_flags()]
    libraries = [*tf.sysconfig.get_link_flags(), f"-L{library.parent}", "-lphysics"]
    _compile(flags, [inputs[0]], OP_LIBRARY, [*libraries, "-Wl,-rpath,$ORIGIN"])
    return OP_LIBRARY


def build_generated(text: str, control: str, force: bool = False) -> Path:
    """Builds generated code for the structure of a model text and a control; returns its path.

    `Simulator` picks it up by itself, for every model of the same structure (bodies of different
    people, any dt): the same numbers up to rounding, about ten times faster.
    """
    build_library()
    from workers.physics.simulation import Simulator

    output = generated_library(Simulator(text, 1.0, control, fast=False).structure)
    if output.exists() and not force:
        return output
    include = _header_dir()
    if not (include / "cppad" / "cg.hpp").is_file():
        raise BuildError("the code generator is missing: pip install cmeel-cppadcodegen")
    sources = [SOURCE_DIR / "generate" / "generate.cc", SOURCE_DIR / "model.cc"]
    generator = LIBRARY.parent / "generate"
    if force or not _is_fresh(generator, [*sources, *SOURCE_DIR.glob("*.hpp")]):
        flags = ["-std=c++17", "-O1", "-DNDEBUG", "-isystem", str(include)]
        flags += ["-isystem", str(include / "eigen3")]
        _compile(flags, sources, generator, ["-ldl", "-pthread"])
    command = [str(generator), "1" if control == "pd" else "0"]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode != 0:
        raise BuildError(done.stderr.strip())
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder) / "vjp.c"
        code.write_text(done.stdout)
        flags = ["-x", "c", "-O1", "-fPIC", "-shared", "-fvisibility=hidden"]
        _compile(flags, [code], output, ["-lm"])
    return output


def build_humanoid_code(force: bool = False) -> list[Path]:
    """Generated code for the shipped humanoid (any size, any dt), both kinds of control."""
    from workers.physics.loss import humanoid
    from workers.physics.model import model_text

    return [build_generated(model_text(humanoid()), control, force) for control in ("pd", "torque")]


def has_tensorflow() -> bool:
    """Whether this environment holds tensorflow (which is not imported to find out)."""
    return importlib.util.find_spec("tensorflow") is not None


def _is_fresh(output: Path, inputs: list[Path]) -> bool:
    return output.exists() and output.stat().st_mtime >= max(p.stat().st_mtime for p in inputs)


def _compiler() -> str:
    compiler = os.environ.get("CXX") or "g++"
    if shutil.which(compiler) is None:
        raise BuildError(f"no C++ compiler: {compiler} is not installed (apt-get install g++)")
    return compiler


def _header_dir() -> Path:
    """The include directory that holds cppad/ and eigen3/."""
    _compiler()  # without one, headers would not help: say that first
    for key in ("purelib", "platlib"):
        include = Path(sysconfig.get_paths()[key]) / "cmeel.prefix" / "include"
        if (include / "cppad").is_dir() and (include / "eigen3").is_dir():
            return include
    raise BuildError("the CppAD and Eigen headers are missing: pip install cmeel-cppad cmeel-eigen")


def _compile(flags: list[str], sources: list[Path], output: Path, libraries: list[str]) -> None:
    compiler = _compiler()
    output.parent.mkdir(exist_ok=True)
    # Compiled beside the target and renamed, so nobody ever loads half a library.
    handle, temporary = tempfile.mkstemp(dir=output.parent, suffix=".so")
    os.close(handle)
    command = [compiler, *flags, *map(str, sources), "-o", temporary, *libraries]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise BuildError(f"compiling {output.name} failed:\n{done.stderr.strip()}")
        os.chmod(temporary, 0o755)
        os.replace(temporary, output)
    finally:
        Path(temporary).unlink(missing_ok=True)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--op", action="store_true", help="the TensorFlow op is required")
    parser.add_argument("--fast", action="store_true", help="build generated code as well")
    parser.add_argument("--force", action="store_true", help="build even when up to date")
    arguments = parser.parse_args(argv)
    try:
        print(build_library(arguments.force))
        if arguments.op or has_tensorflow():
            print(build_op(arguments.force))
        if arguments.fast:
            print(*build_humanoid_code(arguments.force), sep="\n")
    except (AssetError, BuildError) as error:
        print(f"build: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
