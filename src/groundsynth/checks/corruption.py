"""Faults planted in samples that are right, each with a stated strength: what the certificate must notice.

A corruption takes samples and returns samples, so that the whole certificate is measured on them as on any
others. Partners are never the sample's own block nor ground that overlaps it; where there is no other
(a single block), a sample is its own partner and the fault is none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from groundsynth.captions.facts import MIN_PIXELS, OUTER_PLACES, SECTORS
from groundsynth.captions.layout import NOUNS
from groundsynth.captions.map_facts import count_maps
from groundsynth.captions.phrases import Phrase, find_phrases
from groundsynth.captions.shares import phrases_for
from groundsynth.captions.writers import Writer
from groundsynth.checks.memorisation import PLANT_BRIGHTNESS, turn_and_flip
from groundsynth.checks.patches import PATCH
from groundsynth.checks.samples import Samples
from groundsynth.checks.spectrum import spectrum_matched_noise
from groundsynth.checks.territory import Territory
from groundsynth.data.blocks import TRAIN
from groundsynth.errors import GroundsynthError
from groundsynth.legend import NO_LABEL, NUM_CLASSES
from groundsynth.seeds import derive_seed, rng

OTHER_COMPOSITION = 0.5  # sum of the differences of class shares, from which on ground is of another kind
WRONG_SHARE = 0.3  # a corrupted share is at least this far from the true one
SHIFT = 31  # pixels: the furthest a planted copy lies from the grid of training chips
OPPOSITE = dict(zip(SECTORS[:8], (*SECTORS[4:8], *SECTORS[:4]), strict=True)) | {
    "centre": "corners", "corners": "centre", "edge": "centre",
}  # fmt: skip

#: strength of each fault, in words for tables and captions
STRENGTHS = {
    "swapped_map": "map and caption of another block's sample",
    "matched_swap": "map and caption of the other block's sample with the nearest class shares",
    "swapped_map_alone": "map of another block's sample, caption stays",
    "shuffled_caption": "caption of another block's sample",
    "matched_caption": "caption of the other block's sample with the nearest class shares",
    "corrupted_caption": f"one class, share (by {WRONG_SHARE:.0%} of the ground) or place word changed",
    "class_shift": f"image of ground whose class shares differ by {OTHER_COMPOSITION:g} in sum, or the furthest",
    "permuted_classes": "every class of the map replaced by another, caption rewritten",
    "planted_copy": f"training window shifted 1 to {SHIFT} px, turned or flipped, brightness ±{PLANT_BRIGHTNESS:.0%}, "
    "with its map and caption",
    "patch_copy": f"image of {PATCH} px training patches, each turned or flipped, brightness ±{PLANT_BRIGHTNESS:.0%}",
    "spectrum_matched_noise": "noise of the image's own colours and spectrum",
}  # fmt: skip


def partners(samples: Samples, *names: object) -> np.ndarray:
    """Return (n,) a random partner of each sample on other ground; itself where there is none."""
    generator, shared = rng("corruption", *names), samples.overlap()
    return np.array(
        [i if row.all() else generator.choice(np.flatnonzero(~row)) for i, row in enumerate(shared)], int
    )


def _share_distances(samples: Samples) -> np.ndarray:
    """Return (n, n) the sum of the differences of class shares, NaN where ground overlaps."""
    shares = count_maps(samples.maps).shares
    far = np.abs(shares[:, None] - shares[None]).sum(2)
    return np.where(samples.overlap(), np.nan, far)


def matched(samples: Samples) -> np.ndarray:
    """Return (n,) the partner on other ground with the nearest class shares; itself where there is none."""
    far = np.where(np.isnan(far := _share_distances(samples)), np.inf, far)
    return np.where(np.isinf(far).all(1), np.arange(len(far)), far.argmin(1))


def of_other_kind(samples: Samples, *names: object) -> np.ndarray:
    """Return (n,) a random partner whose shares differ by at least ``OTHER_COMPOSITION``, or the furthest."""
    far = np.where(np.isnan(far := _share_distances(samples)), -1.0, far)
    generator, found = rng("class_shift", *names), np.arange(len(far))
    for i, row in enumerate(far):
        others = np.flatnonzero(row >= OTHER_COMPOSITION)
        if len(others):
            found[i] = generator.choice(others)
        elif row.max() >= 0:
            found[i] = row.argmax()
    return found


def with_maps_of(samples: Samples, partner: np.ndarray, captions: bool = True) -> Samples:
    """Return samples with their partners' maps, and captions too if wanted."""
    texts = [samples.captions[i] for i in partner] if captions else samples.captions
    return samples.changed(maps=samples.maps[partner], captions=texts)


def with_captions_of(samples: Samples, partner: np.ndarray) -> Samples:
    """Return samples with their partners' captions."""
    return samples.changed(captions=[samples.captions[i] for i in partner])


def permute_classes(samples: Samples, writer: Writer, seed: int) -> Samples:
    """Return samples whose maps have every class replaced by another, and captions that describe them."""
    table = np.full((len(samples), 256), NO_LABEL, np.uint8)
    for i in range(len(samples)):
        order = rng("permuted_classes", seed, i).permutation(NUM_CLASSES)
        table[i, order] = np.roll(order, 1)
    maps = table[np.arange(len(samples))[:, None, None], samples.maps]
    seeds = [derive_seed("permuted_classes", seed, i) for i in range(len(samples))]
    captions = [str(text) for text in writer.write(list(samples.images), list(maps), seeds)]
    return samples.changed(maps=maps, captions=captions)


# --- captions --------------------------------------------------------------------------------


def corrupt_captions(samples: Samples, seed: int) -> Samples:
    """Return samples with one word of each caption changed: a class, a share or a place, at random."""
    shares = count_maps(samples.maps).shares
    pixels = count_maps(samples.maps).pixels
    texts = [
        corrupt_caption(text, shares[i], pixels[i] >= MIN_PIXELS, rng("corrupted_caption", seed, i))
        for i, text in enumerate(samples.captions)
    ]
    return samples.changed(captions=texts)


def corrupt_caption(
    text: str, shares: np.ndarray, present: np.ndarray, generator: np.random.Generator
) -> str:
    """Return a caption with one class, share or place word changed; unchanged if it holds none.

    A class word becomes that of a class that is not there (or, if all are, of another one); a share
    one at least 0.3 away from what was said; a place its opposite. Sentences that deny are let be.

    Args:
        shares: (7,) of the map; present: (7,) bool, classes on it.
    """
    changes = []
    for start, sentence in _sentences(text):
        phrases = find_phrases(sentence)
        if any(p.kind in ("no", "except") for p in phrases):
            continue
        for phrase in phrases:
            word = _other_word(phrase, shares, present, generator)
            if word:
                changes.append((phrase.kind, start + phrase.start, start + phrase.end, word))
    if not changes:
        return text
    kinds = sorted({kind for kind, *_ in changes})
    kind = kinds[generator.integers(len(kinds))]
    able = [change for change in changes if change[0] == kind]
    _, start, end, word = able[generator.integers(len(able))]
    changed = text[:start] + word + text[end:]
    return changed[:1].upper() + changed[1:]


def _sentences(text: str) -> list[tuple[int, str]]:
    found, start = [], 0
    for part in text.split(". "):
        found.append((start, part))
        start += len(part) + 2
    return found


def _other_word(
    phrase: Phrase, shares: np.ndarray, present: np.ndarray, generator: np.random.Generator
) -> str:
    if phrase.kind == "class":
        others = [k for k in range(NUM_CLASSES) if k not in phrase.value]
        absent = [k for k in others if not present[k]] or others
        nouns = NOUNS[absent[generator.integers(len(absent))]]
        return nouns[generator.integers(len(nouns))][0]
    if phrase.kind == "share":
        low, high, stated = phrase.value
        said = (low + high) / 2 if stated is None else stated
        wrong = [s for s in (0.1, 0.25, 0.5, 0.75, 0.95) if abs(s - said) >= WRONG_SHARE]
        words = phrases_for(wrong[generator.integers(len(wrong))])
        return words[generator.integers(len(words))]
    if phrase.kind == "place" and phrase.value in (*SECTORS, *OUTER_PLACES):
        return OPPOSITE[phrase.value]
    return ""


# --- images ----------------------------------------------------------------------------------


def planted_copies(
    territory: Territory, chips: np.ndarray, size: int, n: int, writer: Writer, seed: int
) -> Samples:
    """Return copies of training ground with their maps and captions, as a memorising generator makes them.

    Each is a training chip's window moved by 1 to 31 pixels, turned or flipped, its brightness changed.

    Args:
        chips: (m, 3) scene, row and column of the training chips.

    Raises:
        GroundsynthError: no chip can be moved without leaving the training ground.
    """
    generator = rng("planted_copy", seed)
    inside = {tuple(corner) for corner in territory.corners(TRAIN, size).tolist()}
    corners: list[tuple[int, int, int]] = []
    for _ in range(200 * n):
        if len(corners) == n:
            break
        scene, row, col = chips[generator.integers(len(chips))]
        down, across = generator.integers(-SHIFT, SHIFT + 1, 2)
        moved = (int(scene), int(row + down), int(col + across))
        if (down or across) and moved in inside:
            corners.append(moved)
    if not corners:
        raise GroundsynthError(
            f"no {size} px window lies 1 to {SHIFT} px from a training chip on training ground; "
            "use a smaller data.chip_size"
        )
    places = np.array(corners)
    images, maps = territory.cut(places, size), territory.cut_maps(places, size)
    codes = generator.integers(8, size=len(places))
    images = np.stack([turn_and_flip(image, code) for image, code in zip(images, codes, strict=True)])
    maps = np.stack(
        [turn_and_flip(labels[..., None], code)[..., 0] for labels, code in zip(maps, codes, strict=True)]
    )
    seeds = [derive_seed("planted_copy", seed, i) for i in range(len(places))]
    captions = [str(text) for text in writer.write(list(images), list(maps), seeds)]
    units = np.arange(len(places)).astype(object)
    return Samples(_brightened(images, generator), maps, captions, units, np.full((len(places), 3), -1))


def _brightened(images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    gains = 1 + generator.uniform(-PLANT_BRIGHTNESS, PLANT_BRIGHTNESS, (len(images), 1, 1, 1))
    return (images * gains).round().clip(0, 255).astype(np.uint8)


def patched_images(images: np.ndarray, territory: Territory, seed: int) -> np.ndarray:
    """Return images laid out with 16 px training patches, each turned or flipped and brightened.

    Args:
        images: (n, h, w, 3) uint8, of which the shape is kept; a rim narrower than a patch stays as it is.
    """
    generator, made = rng("patch_copy", seed), images.copy()
    corners = territory.corners(TRAIN, PATCH)
    rows, cols = images.shape[1] // PATCH, images.shape[2] // PATCH
    for i in range(len(images)):
        chosen = territory.cut(corners[generator.integers(len(corners), size=rows * cols)], PATCH)
        posed = [
            turn_and_flip(p, code)
            for p, code in zip(chosen, generator.integers(8, size=rows * cols), strict=True)
        ]
        laid = _brightened(np.stack(posed), generator).reshape(rows, cols, PATCH, PATCH, 3).swapaxes(1, 2)
        made[i, : rows * PATCH, : cols * PATCH] = laid.reshape(rows * PATCH, cols * PATCH, 3)
    return made


def noisy_images(images: np.ndarray, seed: int) -> np.ndarray:
    """Return noise with each image's own colours and spectrum (``spectrum.spectrum_matched_noise``)."""
    parts = [spectrum_matched_noise(image[None], 1, derive_seed(seed, i)) for i, image in enumerate(images)]
    return np.concatenate(parts)


def corrupt(
    samples: Samples, territory: Territory, chips: np.ndarray, writer: Writer, seed: int,
    wanted: Sequence[str] = tuple(STRENGTHS),
) -> dict[str, Samples]:  # fmt: skip
    """Return the samples under every fault of ``STRENGTHS`` that is wanted.

    Args:
        territory, chips: as in :func:`planted_copies`; writer: describes permuted maps and copies.
    """
    random, near = partners(samples, seed), matched(samples)
    size = samples.images.shape[1]
    made: dict[str, Callable[[], Samples]] = {
        "swapped_map": lambda: with_maps_of(samples, random),
        "matched_swap": lambda: with_maps_of(samples, near),
        "swapped_map_alone": lambda: with_maps_of(samples, random, captions=False),
        "shuffled_caption": lambda: with_captions_of(samples, random),
        "matched_caption": lambda: with_captions_of(samples, near),
        "corrupted_caption": lambda: corrupt_captions(samples, seed),
        "class_shift": lambda: samples.changed(images=samples.images[of_other_kind(samples, seed)]),
        "permuted_classes": lambda: permute_classes(samples, writer, seed),
        "planted_copy": lambda: planted_copies(territory, chips, size, len(samples), writer, seed),
        "patch_copy": lambda: samples.changed(images=patched_images(samples.images, territory, seed)),
        "spectrum_matched_noise": lambda: samples.changed(images=noisy_images(samples.images, seed)),
    }
    return {name: made[name]() for name in wanted}
