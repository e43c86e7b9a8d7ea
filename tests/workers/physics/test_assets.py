"""Assets: checked by hash, extracted once, one clear line when they cannot be had."""

from __future__ import annotations

import re
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from workers.physics import assets as module
from workers.physics.assets import SHA256, AssetError, ensure_assets, verify_assets
from workers.physics.motion import CLIPS


@pytest.fixture
def wheel(assets, tmp_path, monkeypatch):
    """A small stand-in for the wheel, and an empty cache."""
    path = tmp_path / "pybullet.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in SHA256:
            folder = "humanoid/" if name.endswith(".urdf") else "data/motions/"
            archive.write(assets / name, "pybullet_data/" + folder + name)
    monkeypatch.setenv("OPTIMUS_PYBULLET_WHEEL", str(path))
    monkeypatch.setenv("OPTIMUS_CACHE", str(tmp_path / "cache"))
    return path


def test_hashes(assets):
    verify_assets(assets)
    assert {f"humanoid3d_{clip}.txt" for clip in CLIPS} | {"humanoid.urdf"} == set(SHA256)


def test_extraction_leaves_only_the_files(wheel, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda _: ensure_assets(), range(8)))
    (folder,) = folders
    assert {path.name for path in folder.iterdir()} == set(SHA256)
    assert [p.name for p in folder.parent.iterdir() if p.is_dir()] == [folder.name]


def test_changed_file_is_refused(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        items = {name: archive.read(name) for name in archive.namelist()}
    items["pybullet_data/data/motions/humanoid3d_walk.txt"] += b" "
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in items.items():
            archive.writestr(name, data)
    with pytest.raises(AssetError, match=r"humanoid3d_walk.txt is not the file of pybullet==3.2.7"):
        ensure_assets()
    assert not (tmp_path / "cache" / f"assets-{module.VERSION}").exists()


def test_missing_or_broken_wheel(wheel, monkeypatch):
    wheel.write_bytes(b"not a zip")
    with pytest.raises(AssetError, match=re.escape(f"cannot read the assets from {wheel}")):
        ensure_assets()
    monkeypatch.setenv("OPTIMUS_PYBULLET_WHEEL", str(wheel) + ".gone")
    with pytest.raises(AssetError, match="No such file"):
        ensure_assets()


def test_no_pip(wheel, monkeypatch):
    monkeypatch.delenv("OPTIMUS_PYBULLET_WHEEL")
    monkeypatch.setattr(module, "has_pip", lambda: False)
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    with pytest.raises(AssetError, match=r"neither pip nor uv is here to fetch pybullet==3\.2\.7"):
        ensure_assets()
    commands = []
    monkeypatch.setattr(module.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(module.subprocess, "run", lambda command, **_: failed(commands, command))
    with pytest.raises(AssetError, match="could not download"):
        ensure_assets()
    assert commands[0][:5] == ["uv", "tool", "run", "pip", "download"]


def test_a_download_that_never_ends(wheel, monkeypatch):
    def hangs(command, **options):
        raise module.subprocess.TimeoutExpired(command, options["timeout"])

    monkeypatch.delenv("OPTIMUS_PYBULLET_WHEEL")
    monkeypatch.setattr(module.subprocess, "run", hangs)
    with pytest.raises(AssetError, match="within 900 s"):
        ensure_assets()


def failed(commands, command):
    commands.append(command)
    return module.subprocess.CompletedProcess(command, 1, "", "no network")
