"""Everything a certificate measures of a sample, in one place: a column per question.

====================  =======================  ========================================================
column                side of the triangle     what it says
====================  =======================  ========================================================
``map_fit``           image and map            how much likelier the labeller finds the map than the same map
                                               shifted, in standard deviations over all shifts; 0 is chance
``map_shares``        image and map            class shares that the map and the labeller's probabilities have in
                                               common, 0 to 1
``trust``             image                    the labeller's mean confidence
``caption_of_map``    map and caption          share of the caption's claims that are true of the map
``caption_of_image``  image and caption        log-odds that the caption fits, above chance (``caption_match``)
``nearest_train``     image                    distance to the nearest training window
``nearest_patch``     image                    least distance of a tile to a training patch
``unlike_real``       image                    how untypical its texture is
====================  =======================  ========================================================

A further criterion is a scorer in :class:`Witness` and a line in ``certificate.CRITERIA``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import torch

from groundsynth.checks.agreement import caption_precisions, map_kappas
from groundsynth.checks.caption_match import (
    CaptionMatch,
    SoftFacts,
    fit_caption_match,
    join_facts,
    soft_facts,
)
from groundsynth.checks.memorisation import PixelIndex, nearest_windows, place_name
from groundsynth.checks.patches import PatchIndex, nearest_patches
from groundsynth.checks.samples import Samples, chip_samples
from groundsynth.checks.texture import Typical
from groundsynth.legend import NO_LABEL, NUM_CLASSES, class_shares
from groundsynth.models.segmenter import Segmenter, to_tensor
from groundsynth.seeds import rng

BATCH = 64
PART = 256  # samples measured at once; bounds the memory
LEAST = 1e-4  # probability, so that one confident error does not decide a chip
LEAST_SPREAD = 0.01  # nats per pixel, so that no speck on a map of one class decides a chip

#: (images, captions) to (n,) scores, higher = fits better
Scorer = Callable[[np.ndarray, list[str]], np.ndarray]


@dataclass(frozen=True)
class Witness:
    """Who is asked: the labeller, the training ground, real texture, and the fit of captions.

    ``scorers`` are further measures of image and caption, by the column of the certificate they fill.
    """

    labeller: Segmenter
    windows: PixelIndex
    patches: PatchIndex
    typical: Typical
    match: CaptionMatch | None = None
    scorers: Mapping[str, Scorer] = field(default_factory=dict)


@torch.inference_mode()
def class_probabilities(labeller: Segmenter, images: np.ndarray) -> np.ndarray:
    """Return the labeller's class probabilities, (n, 7, h, w) float32."""
    device = next(labeller.parameters()).device
    parts = [
        labeller(to_tensor(images[start : start + BATCH]).to(device)).softmax(1).cpu().numpy()
        for start in range(0, len(images), BATCH)
    ]
    return np.concatenate(parts) if parts else np.empty((0, NUM_CLASSES, *images.shape[1:3]), np.float32)


def map_fits(probabilities: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Return how far each map's mean log-probability lies above that of the same map shifted, in spreads.

    The map is shifted by every number of rows and columns, what leaves at one border coming back at the other:
    the torus-translation test of ecology (Harms et al. 2001, https://doi.org/10.1111/j.1365-2745.2001.00615.x).
    A shifted map has the classes and the shapes of the given one, so neither is evidence, and a labeller that is
    unsure everywhere still ranks the right place above a wrong one. The spread over shifts says how much a map can
    tell at all: little if it is nearly all of one class. 0 is chance; a map of one class has nothing to place
    and is 0 too; NaN without a label.

    Args:
        probabilities: (n, 7, h, w); maps: (n, h, w) uint8, 255 = no label.
    """
    fits = np.full(len(maps), np.nan)
    for i, (given, labels) in enumerate(zip(probabilities, maps, strict=True)):
        known = labels != NO_LABEL
        if not known.any():
            continue
        logs = np.log(given.astype(np.float64) + LEAST)  # (7, h, w)
        placed = (labels == np.arange(NUM_CLASSES)[:, None, None]) / known.sum()
        product = np.fft.rfft2(logs - logs.mean((1, 2), keepdims=True)) * np.fft.rfft2(placed).conj()
        shifted = np.fft.irfft2(
            product.sum(0), s=labels.shape
        )  # (h, w): mean log-probability after each shift
        fits[i] = shifted[0, 0] / (shifted.std() + LEAST_SPREAD)
    return fits


def common_shares(probabilities: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Return which part of the ground has the same amounts of classes on the map and in the labeller's eyes.

    Histogram intersection (Swain & Ballard 1991, https://doi.org/10.1007/BF00130487) of class shares, whatever
    their places: a map whose classes are exchanged keeps its shapes, and shows here. 1 is all; NaN without a
    label.

    Args:
        probabilities: (n, 7, h, w); maps: (n, h, w) uint8, 255 = no label.
    """
    common = np.full(len(maps), np.nan)
    for i, (labels, given) in enumerate(zip(maps, probabilities, strict=True)):
        known = labels != NO_LABEL
        if known.any():
            read = given[:, known].mean(1, dtype=np.float64)
            common[i] = np.minimum(class_shares(labels), read / read.sum()).sum()
    return common


def _parts(samples: Samples) -> Iterator[Samples]:
    for start in range(0, len(samples), PART):
        yield samples.take(np.arange(start, min(start + PART, len(samples))))


def read_facts(samples: Samples, labeller: Segmenter) -> SoftFacts:
    """Return what the labeller expects of the images, as captions are held against it."""
    return join_facts([soft_facts(class_probabilities(labeller, part.images)) for part in _parts(samples)])


def learn_captions(witness: Witness, real: Samples, seed: int) -> Witness:
    """Return the witness with the fit of captions learnt on real validation samples."""
    facts = read_facts(real, witness.labeller)
    return replace(witness, match=fit_caption_match(real.captions, facts, real.overlap(), seed))


def measure(
    samples: Samples, witness: Witness, own_map: bool = True, copies: bool = True,
    probabilities: np.ndarray | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Return every column of the evidence for n samples, 256 at a time.

    Args:
        own_map: False where the map *is* the labeller's reading: then image against map and against caption
            would be a circle, and both stay empty.
        copies: whether to search the training ground, which takes most of the time.
        probabilities: the labeller's, (n, 7, h, w), where they are known already.

    Returns:
        one row per sample: the columns above, ``kappa`` (Cohen's, of reading and map), ``nearest_chip``
        (where the nearest window lies), and the columns of ``witness.scorers``.
    """
    parts, start = [], 0
    for part in _parts(samples):
        known = None if probabilities is None else probabilities[start : start + len(part)]
        parts.append(_measure(part, witness, own_map, copies, known))
        start += len(part)
    return pd.concat(parts, ignore_index=True)


def _measure(
    samples: Samples, witness: Witness, own_map: bool, copies: bool, probabilities: np.ndarray | None
) -> pd.DataFrame:
    if probabilities is None:
        probabilities = class_probabilities(witness.labeller, samples.images)
    table = pd.DataFrame({"trust": probabilities.max(1).mean((1, 2), dtype=np.float64)})
    table["caption_of_map"] = caption_precisions(samples.captions, samples.maps)
    table["unlike_real"] = witness.typical.distances(samples.images)
    for name in ("map_fit", "map_shares", "kappa", "caption_of_image", "nearest_train", "nearest_patch"):
        table[name] = np.nan
    table["nearest_chip"] = ""
    if own_map:
        table["map_fit"] = map_fits(probabilities, samples.maps)
        table["map_shares"] = common_shares(probabilities, samples.maps)
        table["kappa"] = map_kappas(probabilities.argmax(1).astype(np.uint8), samples.maps)
        if witness.match is not None:
            table["caption_of_image"] = witness.match.scores(samples.captions, soft_facts(probabilities))
    if copies:
        distance, places = nearest_windows(samples.images, witness.windows)
        table["nearest_train"] = distance
        table["nearest_chip"] = [place_name(place, witness.windows.territory.names) for place in places]
        table["nearest_patch"] = nearest_patches(samples.images, witness.patches)
    for name, score in witness.scorers.items():
        table[name] = score(samples.images, samples.captions)
    return table


def measure_chips(
    chips: pd.DataFrame, captions: Sequence[str], witness: Witness, no_map: Sequence[str]
) -> pd.DataFrame:
    """Return the evidence of synthetic chips in their order, 256 chips in memory at a time.

    Args:
        chips: columns chip_id, system, image, mask; captions: n texts.
        no_map: systems whose map is the labeller's own reading.
    """
    parts, texts = [], np.asarray(captions, object)
    for system, rows in chips.reset_index(drop=True).groupby("system", sort=False).groups.items():
        for start in range(0, len(rows), PART):
            here = np.asarray(rows[start : start + PART])
            samples = chip_samples(chips.iloc[here], texts[here])
            parts.append(measure(samples, witness, system not in no_map).set_index(here))
    return pd.concat(parts).sort_index()


def draw_chips(chips: pd.DataFrame, n: int, seed: int) -> np.ndarray:
    """Return the places of up to n chips drawn at random, in order."""
    return np.sort(rng("draw_chips", seed).permutation(len(chips))[:n])
