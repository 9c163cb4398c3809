"""Samples: image, map and caption that belong together, and real ones cut from held-out ground.

A fold holds out few blocks, and side by side they give a few dozen chips. Windows at every offset give
hundreds of samples of the same ground. They overlap, so they are no more independent than the blocks they
lie in: every sample carries its block as ``unit``, and intervals resample units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from groundsynth.captions.layout import LayoutWriter
from groundsynth.captions.writers import LAYOUT_STYLES, Writer
from groundsynth.checks.territory import Territory
from groundsynth.data.blocks import SPLITS
from groundsynth.errors import GroundsynthError
from groundsynth.seeds import derive_seed, rng

MIN_LABELLED = 0.5  # share of a window's pixels that carry a label


@dataclass(frozen=True)
class Samples:
    """n samples.

    Attributes:
        images: (n, h, w, 3) uint8.
        maps: (n, h, w) uint8 class codes, 255 = no label.
        captions: n texts; empty where a writer could not describe a chip.
        units: (n,) what intervals resample: the block of a real window, a synthetic chip itself.
        places: (n, 3) scene, row and column of real windows, -1 elsewhere.
    """

    images: np.ndarray
    maps: np.ndarray
    captions: list[str]
    units: np.ndarray
    places: np.ndarray

    def __len__(self) -> int:
        """Return n."""
        return len(self.images)

    def take(self, rows: np.ndarray) -> Samples:
        """Return the samples at (m,) indices."""
        captions = [self.captions[i] for i in rows]
        return Samples(self.images[rows], self.maps[rows], captions, self.units[rows], self.places[rows])

    def changed(self, **parts: object) -> Samples:
        """Return the same samples with some parts replaced."""
        return replace(self, **parts)

    def overlap(self) -> np.ndarray:
        """Return (n, n) bool: which samples share ground or a unit, themselves included."""
        side = self.images.shape[1:3]
        same = self.units[:, None] == self.units[None]
        real = (self.places[:, 0] >= 0)[:, None] & (self.places[:, None, 0] == self.places[None, :, 0])
        near = [abs(self.places[:, None, 1 + k] - self.places[None, :, 1 + k]) < side[k] for k in (0, 1)]
        return same | (real & near[0] & near[1])


def chip_samples(chips: pd.DataFrame, captions: Sequence[str]) -> Samples:
    """Return chips (columns image, mask, chip_id) with their captions as samples of their own units."""
    n = len(chips)
    images, maps = (np.stack(chips[name].to_list()) for name in ("image", "mask"))
    return Samples(images, maps, list(captions), chips["chip_id"].to_numpy(object), np.full((n, 3), -1))


def like_writer(captions: pd.DataFrame) -> Writer:
    """Return the template writer whose captions these are, or the plain one where a model wrote them.

    Args:
        captions: table ``captions`` of one writer.
    """
    first = captions.iloc[0]
    style = "numbers" if str(first["prompt"]).endswith("numbers") else "words"
    for kind in LAYOUT_STYLES.values():
        if first["writer"] == kind.name and str(first["writer_version"]) == kind.version:
            return kind(style)
    return LayoutWriter(style)


def is_template(captions: pd.DataFrame) -> bool:
    """Return whether captions (table ``captions`` of one writer) come from a template writer."""
    return any(captions["writer"].iloc[0] == kind.name for kind in LAYOUT_STYLES.values())


def held_out_samples(
    territory: Territory, chips: pd.DataFrame, captions: pd.DataFrame, splits: Sequence[str], n: int, seed: int
) -> Samples:  # fmt: skip
    """Return real samples of held-out ground as the study's writer describes them.

    A template describes windows at every offset. What a model writes exists for the chips of the study
    alone: then these chips are the samples, far fewer.

    Args:
        territory: with maps; chips: real chips (``CHIPS['real']``); captions: table of one writer.
        splits: names of the splits; n: most windows; seed: of their draw.
    """
    if is_template(captions):
        size = chips["image"].iloc[0].shape[0]
        return real_windows(territory, chips, splits, size, n, like_writer(captions), seed)
    first = captions[captions["caption_index"] == 0].set_index("chip_id")["caption"]
    own = chips[chips["split"].isin(splits) & chips["chip_id"].isin(first.index)]
    if not len(own):
        raise GroundsynthError(
            f"no chip of split {' or '.join(splits)} has a caption; thresholds rest on them, so run stage 05 again"
        )
    return chip_samples(own, first[own["chip_id"]]).changed(
        units=own["block"].to_numpy(), places=chip_corners(own, territory.names)
    )


def chip_corners(chips: pd.DataFrame, names: list[str]) -> np.ndarray:
    """Return scene, row and column of real chips, (n, 3) int; the scene by its place in ``names``."""
    scene = [names.index(name) for name in chips["scene"]]
    return np.column_stack([scene, chips[["row", "col"]].to_numpy()]).astype(int)


def real_windows(
    territory: Territory, chips: pd.DataFrame, splits: Sequence[str], size: int, n: int, writer: Writer,
    seed: int,
) -> Samples:  # fmt: skip
    """Return up to ``n`` windows of held-out ground as samples, blocks represented as evenly as they allow.

    Args:
        territory: with maps; chips: real chips, whose nearest one of its split lends a window its block.
        splits: names of the splits the windows may lie in, each window in one of them.
        writer: describes each window from its map.
        seed: of the draw and of the captions' wording.

    Raises:
        GroundsynthError: no window fits, or none is labelled enough.
    """
    corners, units = _candidates(territory, chips, splits, size, seed)
    chosen = np.sort(_evenly(units, n, seed))
    places = corners[chosen]
    maps = territory.cut_maps(places, size)
    images = territory.cut(places, size)
    seeds = [derive_seed("real_windows", seed, *map(int, place)) for place in places]
    captions = [str(text) for text in writer.write(list(images), list(maps), seeds)]
    return Samples(images, maps, captions, units[chosen], places)


def _candidates(
    territory: Territory, chips: pd.DataFrame, splits: Sequence[str], size: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return corners of windows that are labelled enough, (m, 3), and the block of each, (m,)."""
    found, blocks = [np.empty((0, 3), int)], [np.empty(0, int)]
    for split in splits:
        corners = territory.corners(SPLITS.index(split), size)
        if len(corners):
            labelled = territory.labelled_share(corners, size) >= MIN_LABELLED
            corners = corners[labelled]
        if len(corners):
            found.append(corners)
            blocks.append(_blocks(corners, chips[chips["split"] == split], territory.names))
    corners = np.concatenate(found)
    if not len(corners):
        raise GroundsynthError(
            f"no {size} px window with a label on half of it fits the ground of split {' or '.join(splits)}; "
            "use a smaller data.chip_size or data.buffer"
        )
    return corners, np.concatenate(blocks)


def _blocks(corners: np.ndarray, chips: pd.DataFrame, names: list[str]) -> np.ndarray:
    """Return the block of the chip nearest to each corner in its scene, (m,) int; -1 where there is none."""
    blocks = np.full(len(corners), -1)
    for scene, name in enumerate(names):
        here, own = corners[:, 0] == scene, chips[chips["scene"] == name]
        if here.any() and len(own):
            spots = own[["row", "col"]].to_numpy()
            far = np.abs(corners[here, None, 1:] - spots[None]).max(2)
            blocks[here] = own["block"].to_numpy()[far.argmin(1)]
    return blocks


def _evenly(units: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Return up to ``n`` indices, taken in turn from the units, at random within each."""
    order = rng("real_windows", seed).permutation(len(units))
    turn = pd.Series(units[order]).groupby(units[order]).cumcount().to_numpy()
    return order[np.argsort(turn, kind="stable")[:n]]
