"""Find pairs of image and mask in a folder: plain folders, and those of three published data sets."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from groundsynth.errors import GroundsynthError

SUFFIXES = (
    ".jpg",
    ".jpeg",
    ".tif",
    ".tiff",
    ".png",
)  # of two files that differ in nothing else, the first is the image
IMAGE_FOLDERS = ("images", "image", "imgs", "img")
MASK_FOLDERS = ("masks", "mask", "labels", "label", "gt", "annotations")
MASK_ENDING = re.compile(r"_(masks?|labels?|lab|gt|seg|instance_color_rgb)$", re.IGNORECASE)
OTHER_ENDING = re.compile(r"_instance_id_rgb$", re.IGNORECASE)  # iSAID numbers its objects in further files

Legend = dict[str, str | None]


@dataclass(frozen=True)
class Pair:
    """An image and its mask; ``name`` is unique in the folder and safe in a file name."""

    name: str
    image: Path
    mask: Path


@dataclass(frozen=True)
class Layout:
    """How a data set arranges its files, and what its masks mean (None: the user says so).

    The legends are the published ones, mapped to the common classes; what none of the seven
    describes (background, vehicles, mixed sports grounds) has no label.
    """

    name: str
    legend: Legend | None
    citation: str = ""


LAYOUTS = {
    "flat": Layout("flat", None),
    "loveda": Layout(  # legend and folders: https://github.com/Junjue-Wang/LoveDA
        "loveda",
        {
            "0": None,  # no data
            "1": None,  # background: whatever the other classes are not
            "2": "built-up",  # building
            "3": "built-up",  # road
            "4": "water",
            "5": "bare",  # barren
            "6": "tree cover",  # forest
            "7": "cropland",  # agriculture
        },
        "Wang, J., et al., 2021. LoveDA: a remote sensing land-cover dataset for domain adaptive semantic segmentation",
    ),
    "openearthmap": Layout(  # legend: https://open-earth-map.org, folders: readme.txt of the archive
        "openearthmap",
        {
            "0": None,  # unknown
            "1": "bare",  # bareland
            "2": "grassland",  # rangeland
            "3": "built-up",  # developed space
            "4": "built-up",  # road
            "5": "tree cover",  # tree
            "6": "water",
            "7": "cropland",  # agriculture land
            "8": "built-up",  # building
        },
        "Xia, J., et al., 2023. OpenEarthMap: a benchmark dataset for global high-resolution land cover mapping",
    ),
    "isaid": Layout(  # folders: https://github.com/CAPTAIN-WHU/iSAID_Devkit; colours as in mmsegmentation's isaid.py
        "isaid",
        {
            "#000000": None,  # unlabelled
            "#00003f": None,  # ship
            "#003f3f": "built-up",  # storage tank
            "#003f00": None,  # baseball diamond: grass and sand
            "#003f7f": "built-up",  # tennis court
            "#003fbf": "built-up",  # basketball court
            "#003fff": None,  # ground track field: grass within a track
            "#007f3f": "built-up",  # bridge
            "#007f7f": None,  # large vehicle
            "#00007f": None,  # small vehicle
            "#0000bf": None,  # helicopter
            "#0000ff": "water",  # swimming pool
            "#00bf7f": "built-up",  # roundabout
            "#007fbf": "grassland",  # soccer ball field
            "#007fff": None,  # plane
            "#00649b": "built-up",  # harbor
        },
        "Waqas Zamir, S., et al., 2019. iSAID: a large-scale dataset for instance segmentation in aerial images",
    ),
}


def find_layout(root: Path, layout: str) -> Layout:
    """Return the layout named, or with ``auto`` the one that the folder's names show.

    LoveDA shows by ``images_png``, iSAID by ``*_instance_color_RGB.png``, OpenEarthMap by
    ``<region>/labels`` beside a list ``train.txt``; everything else is ``flat``.
    """
    if layout != "auto":
        return LAYOUTS[layout]
    if any(root.rglob("images_png")):
        return LAYOUTS["loveda"]
    if any(root.rglob("*_instance_color_RGB.png")):
        return LAYOUTS["isaid"]
    if (root / "train.txt").is_file() and any(root.glob("*/labels")):
        return LAYOUTS["openearthmap"]
    return LAYOUTS["flat"]


def find_pairs(root: Path, layout: Layout) -> list[Pair]:
    """Return every image with its mask, in the order of their paths.

    Raises:
        GroundsynthError: no image, an image without mask, a mask without image, two masks for one image.
    """
    images, masks = _FINDERS[layout.name](root)
    if not images:
        raise GroundsynthError(
            f"{root}: no image of layout '{layout.name}' in it; images are {', '.join(SUFFIXES)} in images/ beside masks/, "
            "or beside their masks: correct data.folder or data.layout"
        )
    _check_match(root, images, masks, "image", "mask")
    _check_match(root, masks, images, "mask", "image")
    named: dict[str, Path] = {}
    for key in sorted(images):
        name = re.sub(r"[^a-z0-9_-]+", "-", key.lower()).strip("-") or "scene"
        while name in named:  # two paths that differ in other characters only
            name += "-2"
        named[name] = key
    return [Pair(name, images[key], masks[key]) for name, key in named.items()]


def _check_match(root: Path, these: dict[str, Path], those: dict[str, Path], one: str, other: str) -> None:
    lone = [these[key].relative_to(root) for key in sorted(these) if key not in those]
    if lone:
        raise GroundsynthError(
            f"{root}: {len(lone)} of {len(these)} {one}s have no {other}, first {lone[0]}; an image and its mask share "
            f"the stem (the mask's may end in _mask, _label, _gt): add the {other} or take the {one} out"
        )


# --- where the files lie ------------------------------------------------------------------------

_Found = tuple[dict[str, Path], dict[str, Path]]


def _find_flat(root: Path) -> _Found:
    """``images/`` or the pictures themselves beside ``masks/``, here or in subfolders; else all in one folder."""
    images, masks = {}, {}
    for folder in [root, *sorted(path for path in root.rglob("*") if path.is_dir())]:
        ours, theirs = _child(folder, IMAGE_FOLDERS), _child(folder, MASK_FOLDERS)
        if ours:
            images |= _by_stem(root, _pictures(ours, deep=True), folder, ours)
        elif theirs:
            images |= _by_stem(root, _pictures(folder), folder)
        if theirs:
            masks |= _by_stem(root, _pictures(theirs, deep=True), folder, theirs)
    return (images, masks) if images or masks else _sort_out(root, _pictures(root), root)


def _find_loveda(root: Path) -> _Found:
    """``Train/Urban/images_png`` beside ``masks_png``; the masks of ``Test`` are not published."""
    images, masks = {}, {}
    for ours in sorted(root.rglob("images_png")):
        theirs = ours.parent / "masks_png"
        if theirs.is_dir() or ours.parent.parent.name != "Test":
            images |= _by_stem(root, _pictures(ours), ours.parent)
            masks |= _by_stem(root, _pictures(theirs), ours.parent)
    return images, masks


def _find_openearthmap(root: Path) -> _Found:
    """``<region>/images`` beside ``labels``; some images come from elsewhere, some labels are withheld."""
    images, masks = {}, {}
    for ours in sorted(root.glob("*/images")):
        images |= _by_stem(root, _pictures(ours), ours.parent)
        masks |= _by_stem(root, _pictures(ours.parent / "labels"), ours.parent)
    listed = root / "test.txt"
    withheld = (
        {Path(line.strip()).stem for line in listed.read_text().splitlines()} if listed.is_file() else set()
    )
    images = {key: path for key, path in images.items() if key in masks or path.stem not in withheld}
    return images, {key: path for key, path in masks.items() if key in images}


def _find_isaid(root: Path) -> _Found:
    """``train/images`` with masks beside the images or in ``train/Semantic_masks``; ``test`` has none."""
    images, masks = {}, {}
    for part in sorted(path for path in root.iterdir() if path.is_dir() and path.name != "test"):
        ours, theirs = _sort_out(root, _pictures(part, deep=True), part)
        images, masks = images | ours, masks | theirs
    return images, masks


_FINDERS = {
    "flat": _find_flat,
    "loveda": _find_loveda,
    "openearthmap": _find_openearthmap,
    "isaid": _find_isaid,
}


def _child(folder: Path, names: Iterable[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_dir()), None)


def _pictures(folder: Path, deep: bool = False) -> list[Path]:
    """Rasters of a folder without hidden files; ``deep``: and of its subfolders."""
    paths = folder.rglob("*") if deep else folder.glob("*")
    return sorted(path for path in paths if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))


def _by_stem(root: Path, paths: list[Path], place: Path, below: Path | None = None) -> dict[str, Path]:
    """Key every path by its place, its folder ``below`` that place, and its stem without a mask's ending."""
    found: dict[str, Path] = {}
    for path in paths:
        folder = place.relative_to(root) / (path.parent.relative_to(below) if below else "")
        key = (folder / MASK_ENDING.sub("", path.stem)).as_posix()
        if key in found:
            raise GroundsynthError(
                f"{root}: {found[key].relative_to(root)} and {path.relative_to(root)} have the same stem; "
                "one image has one mask: take one of them out"
            )
        found[key] = path
    return found


def _sort_out(root: Path, paths: list[Path], place: Path) -> _Found:
    """Tell masks from images that lie among them: by the ending, else by the order of SUFFIXES."""
    paths = [path for path in paths if not OTHER_ENDING.search(path.stem)]
    masks = [path for path in paths if MASK_ENDING.search(path.stem)]
    rest: dict[str, list[Path]] = {}
    for path in paths:
        if path not in masks:
            rest.setdefault(path.stem, []).append(path)
    images = []
    for same in rest.values():
        same.sort(key=lambda path: SUFFIXES.index(path.suffix.lower()))
        images.append(same[0])
        masks += same[1:]
    return _by_stem(root, images, place), _by_stem(root, masks, place)
