"""Compiles the simulator (libphysics.so) and the TensorFlow op (physics_op.so).

    python -m workers.physics.build          # the simulator, and the op beside tensorflow
    python -m workers.physics.build --fast   # also generated code for the gradient, and the clips

Compiles only what is not there for the sources as they are, as many files at once as there are
processors. Needs g++ (`CXX` names another compiler, with its options) and the headers of the extra
[native]; the op also needs tensorflow. Where the package's folder cannot be written, what is made
goes to the user's cache. The op is compiled with TensorFlow's own flags (its C++ ABI), the library
is not: between the two lies nothing but a C interface.
"""

import argparse
import importlib.util
import os
import shlex
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
from optimus.installation import WAIT, extra_command, locked, python_command
from workers.physics import native
from workers.physics.assets import ensure_assets

CONTROLS = ("pd", "torque")
Made = TypeVar("Made")
_LIBRARY = (
    "-std=c++17 -O2 -DNDEBUG -Wall -fPIC -shared -fvisibility=hidden -fvisibility-inlines-hidden"
)

_compilers = threading.BoundedSemaphore(os.cpu_count() or 1)  # processes at once


class BuildError(UserError, RuntimeError):
    """The native part cannot be built; the message says what is missing and how to get it."""


def build_library(force: bool = False) -> Path:
    """Builds libphysics.so unless it is there; returns its path."""

    def make(output: Path) -> None:
        script = f"-Wl,--version-script={native.SOURCE_DIR / 'exports.map'}"
        flags = [*_LIBRARY.split(), script, f"-Wl,-soname,{output.name}", *_include()]
        _compile(flags, native.library_sources(), output, ["-pthread"])

    return _made(native.library_path(), force, make)


def build_op(force: bool = False) -> Path:
    """Builds physics_op.so (and the library it calls) unless it is there; returns its path."""
    library = build_library()

    def make(output: Path) -> None:
        _require()
        import tensorflow as tf

        flags = ["-std=c++14", "-O2", "-fPIC", "-shared", *tf.sysconfig.get_compile_flags()]
        libraries = [*tf.sysconfig.get_link_flags(), f"-L{library.parent}", f"-l:{library.name}"]
        _compile(flags, [native.OP_SOURCE], output, [*libraries, "-Wl,-rpath,$ORIGIN"])

    return _made(native.op_path(), force, make)


def build_generator(force: bool = False) -> Path:
    """Builds the program that writes a model's gradient as C code; returns its path."""

    def make(output: Path) -> None:
        flags = ["-std=c++17", "-O1", "-DNDEBUG", *_include(code=True)]
        _compile(flags, native.generator_sources(), output, ["-ldl", "-pthread"])

    return _made(native.generator_path(), force, make)


def build_generated(text: str, control: str, force: bool = False) -> Path:
    """Builds generated code for the structure of a model text and a control; returns its path.

    `Simulator` picks it up by itself, for every model of the same structure (bodies of different
    people, any dt): the same numbers up to rounding, about ten times faster.
    """
    build_library()
    from workers.physics.simulation import Simulator

    def make(output: Path) -> None:
        command = [str(build_generator()), "1" if control == "pd" else "0"]
        with tempfile.TemporaryDirectory() as folder:
            code = Path(folder) / "vjp.c"
            code.write_text(_run(command, output.name, text), encoding="utf-8")
            flags = ["-x", "c", "-O1", "-fPIC", "-shared", "-fvisibility=hidden"]
            _compile(flags, [code], output, ["-lm"])

    structure = Simulator(text, 1.0, control, fast=False).structure
    return _made(native.generated_library(structure), force, make)


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
        others = [pool.submit(_timed, "the humanoid and its clips", ensure_assets)]
        if force or not native.library_path().exists():
            others.append(pool.submit(_timed, "the code generator", build_generator, force))
        outputs = [_timed("the simulator", build_library, force)]
        if has_tensorflow():
            outputs.append(_timed("the TensorFlow op", build_op, force))
        for other in others:
            other.result()
        return outputs + _timed("the generated gradient", build_humanoid_code, force)


def has_tensorflow() -> bool:
    """Whether this environment holds tensorflow (which is not imported to find out)."""
    return importlib.util.find_spec("tensorflow") is not None


def how_to_build(*options: str) -> str:
    """What to do to have all here that is not, in one line."""
    missing = _missing(headers="--force" in options or not native.library_path().exists())
    first = f"first get {' and '.join(missing)}, then " if missing else ""
    return f"{first}run: {python_command('workers.physics.build', *options)}"


def _missing(headers: bool = False, code: bool = False) -> list[str]:
    """What compiling needs and is not here, each with what brings it."""
    compiler, include = _compiler()[0], _header_dir()
    on_310 = sys.version_info[:2] == (3, 10)
    generator = (include / "cppad" / "cg.hpp").is_file()
    no_headers = headers and not (include / "eigen3").is_dir()
    no_generator = code and not generator
    absent = {
        f"the C++ compiler {compiler} (Debian: apt-get install g++)": not shutil.which(compiler),
        f"headers ({extra_command('native')})": no_headers or (no_generator and on_310),
        "CppADCodeGen (for CPython 3.10 only; leave out --fast)": no_generator and not on_310,
    }
    return [what for what, is_absent in absent.items() if is_absent]


def _require(**needed: bool) -> None:
    if missing := _missing(**needed):
        raise BuildError(f"compiling needs {' and '.join(missing)}")


def _compiler() -> list[str]:
    """The words that start the C++ compiler."""
    return shlex.split(os.environ.get("CXX") or "g++")


def _header_dir() -> Path:
    """The include directory that holds, or would hold, cppad/ and eigen3/."""
    paths = {sysconfig.get_path(key): None for key in ("purelib", "platlib")}
    includes = [Path(path) / "cmeel.prefix" / "include" for path in paths]
    return next((each for each in includes if (each / "eigen3").is_dir()), includes[0])


def _include(code: bool = False) -> list[str]:
    """The options for headers of ours and of others."""
    _require(headers=True, code=code)
    include = _header_dir()
    return [f"-I{native.SOURCE_DIR}", "-isystem", str(include), "-isystem", str(include / "eigen3")]


def _timed(what: str, make: Callable[..., Made], *arguments: Any) -> Made:
    """Calls `make` and says how long that took, unless there was nothing to do."""
    start = time.monotonic()
    made = make(*arguments)
    seconds = time.monotonic() - start
    if seconds > 1.0:
        print(f"build: {what} in {seconds:.0f} s", file=sys.stderr, flush=True)
    return made


def _made(output: Path, force: bool, make: Callable[[Path], None]) -> Path:
    """Makes the output unless it is there; of several processes one makes it, the others wait."""
    if force and not native.writable():  # found there before what lies beside the sources
        output = native.in_cache(output.name)
    if force or not output.exists():
        with locked(output.with_name(f".{output.name}.lock")):
            if force or not output.exists():
                make(output)
    return output


def _compile(flags: list[str], sources: list[Path], output: Path, libraries: list[str]) -> None:
    """Compiles each source by itself, links, and renames, so that nobody loads half a library."""
    compiler = _compiler()
    for_objects = [flag for flag in flags if flag != "-shared" and not flag.startswith("-Wl,")]
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".build-") as name:
        folder = Path(name)
        objects = [folder / f"{source.stem}.o" for source in sources]

        def compile_one(source: Path, target: Path) -> None:
            _run([*compiler, *for_objects, "-c", str(source), "-o", str(target)], output.name)

        with ThreadPoolExecutor() as pool:
            list(pool.map(compile_one, sources, objects))
        linked = folder / output.name
        for_link = [flag for flag in flags if flag not in ("-x", "c")]
        _run([*compiler, *for_link, *map(str, objects), "-o", str(linked), *libraries], output.name)
        linked.chmod(0o755)
        linked.replace(output)


def _run(command: list[str], name: str, text: str = "") -> str:
    """The output of a command that makes `name`, given `text`."""
    try:
        with _compilers:
            done = subprocess.run(
                command, input=text, capture_output=True, errors="replace", timeout=WAIT
            )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"compiling {name} failed: {error}") from None
    if done.returncode != 0:
        raise BuildError(f"compiling {name} failed:\n{done.stderr.strip()}")
    return done.stdout


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--fast", action="store_true", help="build generated code as well")
    parser.add_argument("--force", action="store_true", help="build even what is there")
    arguments = parser.parse_args(argv)
    try:
        if arguments.force or not native.library_path().exists():  # what is missing is told at once
            _require(headers=True, code=arguments.fast)
        if arguments.fast:
            print(*build_everything(arguments.force), sep="\n")
        else:
            print(build_library(arguments.force))
            if has_tensorflow():
                print(build_op(arguments.force))
    except UserError as error:
        print(f"build: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
