"""Compiles the simulator (libphysics.so) and the TensorFlow op (physics_op.so).

    python -m workers.physics.build          # the simulator, and the op beside tensorflow
    python -m workers.physics.build --op     # both; an error when tensorflow is missing
    python -m workers.physics.build --fast   # also generated code for the gradient, and the clips

Compiles only what is older than its sources, as many files at once as there are processors. Needs
g++ and the header packages cmeel-cppad and cmeel-eigen; the op also needs tensorflow, generated
code cmeel-cppadcodegen. The op is compiled with TensorFlow's own flags (its C++ ABI), the library
is not: between the two lies nothing but a C interface.
"""

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from optimus.errors import UserError
from workers.physics.assets import AssetError, ensure_assets
from workers.physics.native import (
    GENERATOR_SOURCE,
    LIBRARY,
    OP_LIBRARY,
    OP_SOURCE,
    SOURCE_DIR,
    generated_library,
    headers,
    library_sources,
)

CONTROLS = ("pd", "torque")
Made = TypeVar("Made")

_compilers = threading.BoundedSemaphore(os.cpu_count() or 1)  # processes at once


class BuildError(UserError, RuntimeError):
    """The native part cannot be built; the message says what is missing and how to get it."""


def build_library(force: bool = False) -> Path:
    """Builds libphysics.so when it is older than its sources; returns its path."""
    sources = library_sources()
    inputs = [*sources, *headers(), SOURCE_DIR / "exports.map"]
    if not force and _is_fresh(LIBRARY, inputs):
        return LIBRARY
    include = _header_dir()
    flags = ["-std=c++17", "-O2", "-DNDEBUG", "-Wall", "-fPIC", "-shared"]
    flags += ["-fvisibility=hidden", "-fvisibility-inlines-hidden"]
    flags += [f"-Wl,--version-script={SOURCE_DIR / 'exports.map'}", "-Wl,-soname,libphysics.so"]
    flags += [f"-I{SOURCE_DIR}", "-isystem", str(include), "-isystem", str(include / "eigen3")]
    _compile(flags, sources, LIBRARY, ["-pthread"])
    return LIBRARY


def build_op(force: bool = False) -> Path:
    """Builds physics_op.so (and the library it calls) when out of date; returns its path."""
    library = build_library()
    inputs = [OP_SOURCE, SOURCE_DIR / "physics.h"]
    if not force and _is_fresh(OP_LIBRARY, inputs):
        return OP_LIBRARY
    if not has_tensorflow():
        raise BuildError("the op needs tensorflow, which is not installed in this environment")
    import tensorflow as tf

    flags = ["-std=c++14", "-O2", "-fPIC", "-shared", *tf.sysconfig.get_compile_flags()]
    libraries = [*tf.sysconfig.get_link_flags(), f"-L{library.parent}", "-lphysics"]
    _compile(flags, [inputs[0]], OP_LIBRARY, [*libraries, "-Wl,-rpath,$ORIGIN"])
    return OP_LIBRARY


def build_generator(force: bool = False) -> Path:
    """Builds the program that writes a model's gradient as C code; returns its path."""
    sources = [GENERATOR_SOURCE, SOURCE_DIR / "mechanics" / "model.cc"]
    generator = LIBRARY.parent / "generate"
    if not force and _is_fresh(generator, [*sources, *headers()]):
        return generator
    include = _header_dir()
    if not (include / "cppad" / "cg.hpp").is_file():
        raise BuildError("the code generator is missing: pip install cmeel-cppadcodegen")
    flags = ["-std=c++17", "-O1", "-DNDEBUG", f"-I{SOURCE_DIR}", "-isystem", str(include)]
    flags += ["-isystem", str(include / "eigen3")]
    _compile(flags, sources, generator, ["-ldl", "-pthread"])
    return generator


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
    generator = build_generator()
    command = [str(generator), "1" if control == "pd" else "0"]
    with _compilers:
        done = subprocess.run(command, input=text, capture_output=True, errors="replace")
    if done.returncode != 0:
        raise BuildError(done.stderr.strip())
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder) / "vjp.c"
        code.write_text(done.stdout, encoding="utf-8")
        flags = ["-x", "c", "-O1", "-fPIC", "-shared", "-fvisibility=hidden"]
        _compile(flags, [code], output, ["-lm"])
    return output


def build_humanoid_code(force: bool = False) -> list[Path]:
    """Generated code for the shipped humanoid (any size, any dt), both kinds of control."""
    from workers.physics.loss import humanoid
    from workers.physics.model import model_text

    text = model_text(humanoid())
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda control: build_generated(text, control, force), CONTROLS))


def build_everything(force: bool = False) -> list[Path]:
    """All that a run uses, the clips included; what does not wait for another is made at once."""
    with ThreadPoolExecutor() as pool:
        assets = pool.submit(_timed, "the humanoid and its clips", ensure_assets)
        generator = pool.submit(_timed, "the code generator", build_generator, force)
        outputs = [_timed("the simulator", build_library, force)]
        if has_tensorflow():
            outputs.append(_timed("the TensorFlow op", build_op, force))
        generator.result()
        assets.result()
        return outputs + _timed("the generated gradient", build_humanoid_code, force)


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


def _timed(what: str, make: Callable[..., Made], *arguments: Any) -> Made:
    """Calls `make` and says how long that took, unless there was nothing to do."""
    start = time.monotonic()
    made = make(*arguments)
    seconds = time.monotonic() - start
    if seconds > 1.0:
        print(f"build: {what} in {seconds:.0f} s", file=sys.stderr, flush=True)
    return made


def _compile(flags: list[str], sources: list[Path], output: Path, libraries: list[str]) -> None:
    """Compiles each source by itself, links, and renames, so that nobody loads half a library."""
    compiler = _compiler()
    output.parent.mkdir(exist_ok=True)
    for_objects = [flag for flag in flags if flag != "-shared" and not flag.startswith("-Wl,")]
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".build-") as name:
        folder = Path(name)
        objects = [folder / f"{source.stem}.o" for source in sources]

        def compile_one(source: Path, target: Path) -> None:
            command = [compiler, *for_objects, "-c", str(source), "-o", str(target)]
            _run(command, output.name)

        with ThreadPoolExecutor() as pool:
            list(pool.map(compile_one, sources, objects))
        linked = folder / output.name
        for_link = [flag for flag in flags if flag not in ("-x", "c")]
        _run([compiler, *for_link, *map(str, objects), "-o", str(linked), *libraries], output.name)
        linked.chmod(0o755)
        linked.replace(output)


def _run(command: list[str], name: str) -> None:
    with _compilers:
        done = subprocess.run(command, capture_output=True, errors="replace")
    if done.returncode != 0:
        raise BuildError(f"compiling {name} failed:\n{done.stderr.strip()}")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--op", action="store_true", help="the TensorFlow op is required")
    parser.add_argument("--fast", action="store_true", help="build generated code as well")
    parser.add_argument("--force", action="store_true", help="build even when up to date")
    arguments = parser.parse_args(argv)
    try:
        if arguments.fast and (has_tensorflow() or not arguments.op):
            print(*build_everything(arguments.force), sep="\n")
            return 0
        print(build_library(arguments.force))
        if arguments.op or has_tensorflow():
            print(build_op(arguments.force))
    except (AssetError, BuildError) as error:
        print(f"build: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
