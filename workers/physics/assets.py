"""The humanoid and its 15 motion clips, read as data out of pybullet's wheel (never imported).

    python -m workers.physics.assets      # fetches them once and prints where they are

The same wheel serves every Python: only text files are taken, each checked by its sha256.
`OPTIMUS_CACHE` moves the cache; `OPTIMUS_PYBULLET_WHEEL` names a wheel already on disk.
"""

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from optimus.errors import UserError

VERSION = "1"
WHEEL = "pybullet==3.2.7"

_CLIP_FOLDER = "pybullet_data/data/motions/"
_HUMANOID = "pybullet_data/humanoid/humanoid.urdf"

# sha256 of each file in the wheel above.
SHA256 = {
    "humanoid.urdf": "4a449f923dcbd242c1c6a3ad15e62047c6cb2fc1d275bf31a339bf60d27a6894",
    "humanoid3d_backflip.txt": "ffc5e117f69364e239eeedc86d6a30ab854500a375a1c137a405f1b7652905e6",
    "humanoid3d_cartwheel.txt": "17453459a40ec4ea08346072748ae3c7c384b49e619753e9779637fa8a9f7c49",
    "humanoid3d_crawl.txt": "104a3b675131a43e7a214e24c0ed631c6a0d814b85c8b66b71ce63b23a5731ae",
    "humanoid3d_dance_a.txt": "15ef3731f594edc9ed078170f1075815cc164acaca9e35a46db12a31ac64b717",
    "humanoid3d_dance_b.txt": "b5a9d7a3f2304f6242776d7ff6d19d1f6bcb98d78d68622761c3843b614a92b5",
    "humanoid3d_getup_facedown.txt": (
        "1bd1a96e9175f65eb66e10f225473b4467bd70c68e283f4006b2ab090e337c0b"
    ),
    "humanoid3d_getup_faceup.txt": (
        "5936c32d51dad9b0cd5e61df681079d160436cdce845c312f200d7a347c4040d"
    ),
    "humanoid3d_jump.txt": "a433557e94b193d8a95530572a0e32f387eb6d9996987b4216efb65444c3c641",
    "humanoid3d_kick.txt": "177cfb399466309ba7f4a8a987c3b6f6edde1cbe8b2d476e53dc6061ec5d4bac",
    "humanoid3d_punch.txt": "1ab4b654cecdb4ff3b2a4bf4086e50397bef28435bb59ab3aedd6a6bdc926fde",
    "humanoid3d_roll.txt": "50d75c2243b2859f8dcae4ad8fa14b59054dd9ee529b4fb52ec14470cd982c55",
    "humanoid3d_run.txt": "2cbe488023b243e5769299158ce7c78875ec4b701a2ffe6c0beeaf83d16ca87b",
    "humanoid3d_spin.txt": "9614f10b92e7a8b123990ad5bcfafc65aa4d8fa8ac7f10ade3c3591122d34425",
    "humanoid3d_spinkick.txt": "60ec9c200d96e0cd71693061f24db0bd8da9eb295daf487f6f60f8dfb324075a",
    "humanoid3d_walk.txt": "32d082c3599bc40aac50b1afa196ff1e2cf3842bb40f0541ab088845f6328a41",
}


class AssetError(UserError, RuntimeError):
    """The assets cannot be had; the message says why and what to do."""


def ensure_assets() -> Path:
    """The folder that holds humanoid.urdf and the clips, fetched and checked when missing.

    Safe when several processes call it at once: one fetches, the others wait.
    Raises AssetError when the wheel cannot be fetched or a file is not what it should be.
    """
    cache = os.environ.get("OPTIMUS_CACHE") or "~/.cache/optimus-learned-optimizer"
    folder = Path(cache).expanduser() / f"assets-{VERSION}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / f".assets-{VERSION}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released when the file closes, even by a crash
        if not folder.is_dir():
            _fill(folder)
    return folder


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
                member = _HUMANOID if name.endswith(".urdf") else _CLIP_FOLDER + name
                (folder / name).write_bytes(archive.read(member))
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise AssetError(f"cannot read the assets from {wheel}: {error}") from error


def _download(folder: Path) -> Path:
    """Downloads the wheel for one fixed Python and platform, whatever runs here."""
    if importlib.util.find_spec("pip") is None:
        raise AssetError(
            f"this environment has no pip to fetch {WHEEL}; install pip, or set "
            "OPTIMUS_PYBULLET_WHEEL to its cp310 manylinux2014_x86_64 wheel"
        )
    print(f"fetching the humanoid and its clips ({WHEEL}, about 100 MB, once)", file=sys.stderr)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--python-version", "3.10", "--implementation", "cp"]
    command += ["--abi", "cp310", "--platform", "manylinux2014_x86_64", "--dest", str(folder)]
    done = subprocess.run([*command, WHEEL], capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        reason = (done.stderr.strip().splitlines() or ["no wheel arrived"])[-1]
        raise AssetError(f"pip could not download {WHEEL}: {reason}")
    return wheels[0]


def main() -> int:
    try:
        folder = ensure_assets()
        verify_assets(folder)
    except AssetError as error:
        print(f"assets: {error}", file=sys.stderr)
        return 1
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
