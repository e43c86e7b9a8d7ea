"""The C++ under the address and undefined-behaviour sanitizers: `make sanitize` (minutes)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.workers.physics.mechanisms import arm, walker
from workers.physics.build import BuildError, _compile, _header_dir
from workers.physics.model import model_text
from workers.physics.native import SOURCE_DIR, library_sources

# Without NDEBUG CppAD's headers want its compiled library; the sanitizers do not need its asserts.
FLAGS = [
    "-std=c++17",
    "-O0",
    "-g1",
    "-DNDEBUG",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
]


def _has_sanitizers(folder: Path) -> bool:
    source = folder / "empty.cc"
    source.write_text("int main() { return 0; }")
    try:
        _compile(FLAGS, [source], folder / "empty", [])
    except BuildError:
        return False
    return subprocess.run([str(folder / "empty")], capture_output=True).returncode == 0


@pytest.mark.skipif(
    os.environ.get("OPTIMUS_SANITIZE") != "1",
    reason="compiling takes minutes; make sanitize runs it (OPTIMUS_SANITIZE=1)",
)
@pytest.mark.timeout(1800)
def test_sanitizers_find_nothing(tmp_path, humanoid):
    if not _has_sanitizers(tmp_path):
        pytest.skip("this compiler has no address and undefined-behaviour sanitizers")
    include = _header_dir()
    sources = [
        Path(__file__).with_name("driver.cc"),
        *library_sources(),
    ]
    flags = [
        *FLAGS,
        f"-I{SOURCE_DIR}",
        "-isystem",
        str(include),
        "-isystem",
        str(include / "eigen3"),
    ]
    _compile(flags, sources, tmp_path / "driver", ["-pthread"])
    texts = []
    for name, model in (("arm", arm()), ("walker", walker()), ("humanoid", humanoid)):
        texts.append(tmp_path / f"{name}.txt")
        texts[-1].write_text(model_text(model))
    # Handles and CppAD's pools live until the process ends by design: leaks are not looked for.
    environment = {
        **os.environ,
        "ASAN_OPTIONS": "detect_leaks=0",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    done = subprocess.run(
        [str(tmp_path / "driver"), *map(str, texts)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=1200,
    )
    assert done.returncode == 0 and done.stdout == "ok\n", done.stderr[-4000:]
