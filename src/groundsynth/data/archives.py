"""Image and mask pairs inside zip archives: downloaded whole, read where they are, one pair at a time.

Nothing is unpacked: hundreds of thousands of small files would burden a shared disk, and no path
inside an archive can lead anywhere.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image
from rasterio.transform import Affine

from groundsynth.config import Data
from groundsynth.data.colours import decode_colours
from groundsynth.data.download import download_files
from groundsynth.data.scene import Scene
from groundsynth.data.scene_names import is_chosen, may_be_chosen
from groundsynth.data.source_kinds import ArchiveSource
from groundsynth.data.verify import read_note, write_note
from groundsynth.errors import GroundsynthError
from groundsynth.paths import raw_dir


def fetch(options: Data, spec: ArchiveSource) -> Path:
    """Return the folder ``data/raw/<source>`` that holds the archives the chosen scenes lie in.

    An archive of many gigabytes is hashed once: as long as its length and time stamp are those noted
    in ``scene.json``, it is taken as verified.

    Raises:
        GroundsynthError: an archive that cannot be had, or is not the expected one.
    """
    folder = raw_dir() / spec.name
    wanted = [spec.archives[part].name for part in chosen_parts(spec, options.scenes)]
    noted = read_note(folder).get("seen", {})
    if not all(name in noted and noted[name] == _seen(folder / name) for name in wanted):
        parts = [file for file in spec.archives.values() if file.name in wanted]
        download_files(parts, folder, mirror=options.mirror, offline=options.offline)
        kept = [name for name in noted if name not in wanted and noted[name] == _seen(folder / name)]
        names = sorted({*wanted, *kept})
        write_note(spec, folder, names, seen={name: _seen(folder / name) for name in names})
    return folder


def _seen(path: Path) -> list[int] | None:
    """Return length and time stamp of a file, by which a change is noticed; None where there is none."""
    return [path.stat().st_size, path.stat().st_mtime_ns] if path.is_file() else None


def chosen_parts(spec: ArchiveSource, patterns: list[str]) -> list[str]:
    """Return the parts that may hold a chosen scene; without patterns all but those to be asked for."""
    if not patterns:
        return [part for part in spec.archives if part not in spec.asked_for]
    return [
        part
        for part in spec.archives
        if may_be_chosen(f"{spec.name}-{part}-", [p for p in patterns if _asks(spec, part, p)])
    ]


def _asks(spec: ArchiveSource, part: str, pattern: str) -> bool:
    return part not in spec.asked_for or pattern.startswith(f"{spec.name}-{part}")


def read(options: Data, spec: ArchiveSource, folder: Path) -> Iterator[Scene]:
    """Yield the chosen scenes one at a time; each pair of image and mask is a scene of its own.

    The images are not georeferenced: ``crs`` is None, and ``transform`` says the nominal pixel size only.

    Raises:
        GroundsynthError: damaged archive, image without mask, other formats or sizes, unknown colour.
    """
    for part in chosen_parts(spec, options.scenes):
        path = folder / spec.archives[part].name
        try:
            with zipfile.ZipFile(path) as archive:
                for stem, (image, mask) in list_pairs(path, archive.namelist()).items():
                    name = scene_name(spec, part, stem)
                    if is_chosen(name, options.scenes):
                        yield _read_pair(spec, name, archive, image, mask)
        except (zipfile.BadZipFile, zlib.error, EOFError, FileNotFoundError) as error:
            raise GroundsynthError(
                f"{path}: not a readable archive ({error}); delete it and run again"
            ) from None


def scene_name(spec: ArchiveSource, part: str, stem: str) -> str:
    """Return the name of a scene: source, part, and the file's stem in small letters."""
    return f"{spec.name}-{part}-" + re.sub(r"[^a-z0-9_-]", "_", stem.lower())


def list_pairs(path: Path, members: list[str]) -> dict[str, tuple[str, str]]:
    """Return stem -> (image member, mask member), in order of the stems.

    Members ``…/images/<stem>.png`` and ``…/masks/<stem>.png`` count, whatever folder they lie in.

    Raises:
        GroundsynthError: a member that leads out of the archive, no pair, or an image without its mask.
    """
    found: dict[str, dict[str, str]] = {"images": {}, "masks": {}}
    for member in members:
        place = PurePosixPath(member)
        if place.is_absolute() or ".." in place.parts:
            raise GroundsynthError(
                f"{path}: member '{member}' leads out of the archive; it is not to be trusted: delete the archive"
            )
        if place.suffix == ".png" and place.parent.name in found:
            found[place.parent.name][place.stem] = member
    images, masks = found["images"], found["masks"]
    alone = sorted(images.keys() ^ masks.keys())
    if alone or not images:
        what = f"'{alone[0]}' has no image or no mask" if alone else "none is in it"
        raise GroundsynthError(
            f"{path}: {len(images)} images and {len(masks)} masks, {what}; an archive needs pairs "
            "images/<name>.png, masks/<name>.png: delete it and run again"
        )
    return {stem: (images[stem], masks[stem]) for stem in sorted(images)}


def _read_pair(spec: ArchiveSource, name: str, archive: zipfile.ZipFile, image: str, mask: str) -> Scene:
    pixels, picture = (_read_png(archive, member) for member in (image, mask))  # (h, w, 3) each
    if pixels.shape != picture.shape:
        raise GroundsynthError(
            f"{archive.filename}: {image} has {pixels.shape[:2]} pixels but {mask} {picture.shape[:2]}; a pair must "
            "agree: delete the archive and run again"
        )
    legend = {colour: ours for colour, (_, ours) in spec.remap.items()}
    return Scene(
        name=name,
        source=spec.name,
        bands=pixels.transpose(2, 0, 1).astype(np.float32),
        labels=decode_colours(picture, legend, f"{archive.filename}: {mask}"),
        valid=np.ones(picture.shape[:2], bool),
        crs=None,
        transform=Affine.scale(spec.metres, -spec.metres),
        stretched=spec.stretched,
    )


def _read_png(archive: zipfile.ZipFile, member: str) -> np.ndarray:
    """Return a picture as (h, w, 3) uint8."""
    with archive.open(member) as stream:
        try:
            with Image.open(stream) as picture:
                mode, pixels = picture.mode, np.asarray(picture)
        except (OSError, SyntaxError) as error:  # Pillow raises both for a damaged PNG
            raise GroundsynthError(
                f"{archive.filename}: {member} is not a readable picture ({error}); delete the archive and run again"
            ) from None
    if mode != "RGB":
        raise GroundsynthError(
            f"{archive.filename}: {member} is of mode {mode}, not RGB of 8 bits; delete the archive and run again"
        )
    return pixels
