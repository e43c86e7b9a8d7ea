"""The humanoid and its 15 motion clips, read as data out of pybullet's wheel (never imported).

    python -m workers.physics.assets      # fetches them once and prints where they are

The same wheel serves every Python: only text files are taken, each checked by its sha256.
`OPTIMUS_CACHE` moves the cache; `OPTIMUS_PYBULLET_WHEEL` names a wheel already on disk.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from optimus.errors import UserError
from optimus.installation import WAIT, cache_dir, has_pip, locked

VERSION = "1"
WHEEL = "pybullet==3.2.7"

# sha256 of each file in the wheel above.
SHA256: dict[str, str] = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))


class AssetError(UserError, RuntimeError):
    """The assets cannot be had; the message says why and what to do."""


def ensure_assets() -> Path:
    """The folder that holds humanoid.urdf and the clips, fetched and checked when missing.

    Safe when several processes call it at once: one fetches, the others wait.
    Raises AssetError when the wheel cannot be fetched or a file is not what it should be.
    """
    folder = assets_folder()
    if not folder.is_dir():
        with locked(folder.with_name(f".{folder.name}.lock")):
            if not folder.is_dir():
                _fill(folder)
    return folder


def assets_folder() -> Path:
    """Where they lie, or will, once fetched."""
    return cache_dir() / f"assets-{VERSION}"


def verify_assets(folder: Path) -> None:
    """Raises AssetError naming the first file that is missing or differs from its sha256."""
    for name, expected in SHA256.items():
        path = folder / name
        if not path.is_file():
            raise AssetError(f"{path} is missing; delete {folder} and fetch again")
        if hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            raise AssetError(f"{path} is not the file of {WHEEL} (sha256 differs)")


def _fill(folder: Path) -> None:
    scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".assets-"))
    try:
        given = os.environ.get("OPTIMUS_PYBULLET_WHEEL")
        wheel = Path(given) if given else _download(scratch)
        extracted = scratch / "extracted"
        extracted.mkdir()
        _extract(wheel, extracted)
        verify_assets(extracted)
        extracted.chmod(0o755)
        os.rename(extracted, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _extract(wheel: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name in SHA256:
                where = "humanoid" if name.endswith(".urdf") else "data/motions"
                (folder / name).write_bytes(archive.read(f"pybullet_data/{where}/{name}"))
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise AssetError(f"cannot read the assets from {wheel}: {error}") from error


def _download(folder: Path) -> Path:
    """Downloads the wheel for one fixed Python and platform, whatever runs here."""
    pip = [sys.executable, "-m", "pip"]
    if not has_pip():
        pip = ["uv", "tool", "run", "pip"]
        if shutil.which("uv") is None:
            given = "OPTIMUS_PYBULLET_WHEEL to its cp310 manylinux2014_x86_64 wheel"
            what = f"neither pip nor uv is here to fetch {WHEEL}; install one, or set {given}"
            raise AssetError(what)
    print(f"fetching the humanoid and its clips ({WHEEL}, about 100 MB, once)", file=sys.stderr)
    command = [*pip, "download", WHEEL, "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--python-version", "3.10", "--implementation", "cp"]
    command += ["--abi", "cp310", "--platform", "manylinux2014_x86_64", "--dest", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, errors="replace", timeout=WAIT)
    except subprocess.TimeoutExpired:
        raise AssetError(f"pip could not download {WHEEL} within {WAIT:.0f} s") from None
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        reason = (done.stderr.strip().splitlines() or ["no wheel arrived"])[-1]
        raise AssetError(f"pip could not download {WHEEL}: {reason}")
    return wheels[0]


def main() -> int:
    try:
        folder = ensure_assets()
        verify_assets(folder)
    except UserError as error:
        print(f"assets: {error}", file=sys.stderr)
        return 1
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
