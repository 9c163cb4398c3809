"""Does a caption fit an image? Its claims against the labeller's probabilities, corrected for chance.

A labeller that is unsure of half its pixels still knows a wood from a town. So claims are held against
its *probabilities*: a claim gets a margin, how far the expected shares, places and contacts are on its
side, and not a plain yes or no. Margins are weighed by a logistic regression that tells the captions of real
validation windows from those of other windows. From the result is taken what the same caption scores on
*other* ground: 'mostly forest' fits many an image and earns little by fitting this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from sklearn.linear_model import LogisticRegression

from groundsynth.captions.claim import Claim
from groundsynth.captions.facts import PLACES, place_masks
from groundsynth.captions.parsing import parse_claims
from groundsynth.errors import GroundsynthError
from groundsynth.legend import NUM_CLASSES
from groundsynth.seeds import rng

KINDS = ("mention", "absence", "dominant", "share", "position", "more", "adjacent")
FOREIGN = 8  # captions of other windows per window that the weights are fitted on
FAINT = 1e-3  # of the ground: a share this small is as good as none


@dataclass(frozen=True)
class SoftFacts:
    """What a labeller expects of n images.

    Attributes:
        shares: (n, 7) expected share of each class.
        inside: (n, 11, 7) expected share of the whole ground that is this class and lies in that place.
        area: (11,) share of the ground in each of ``facts.PLACES``.
        contact: (n, 7, 7) expected share of neighbouring pixel pairs that are of two classes.
    """

    shares: np.ndarray
    inside: np.ndarray
    area: np.ndarray
    contact: np.ndarray

    def take(self, rows: np.ndarray) -> SoftFacts:
        """Return the facts of the images at (m,) indices."""
        return SoftFacts(self.shares[rows], self.inside[rows], self.area, self.contact[rows])


@lru_cache
def _places(height: int, width: int) -> np.ndarray:
    return place_masks(height, width).reshape(len(PLACES), -1).T.astype(np.float32) / (height * width)


def soft_facts(probabilities: np.ndarray) -> SoftFacts:
    """Return what (n, 7, h, w) probabilities say of shares, places and contacts."""
    n, k, height, width = probabilities.shape
    weights = _places(height, width)
    flat = probabilities.reshape(n, k, -1).astype(np.float32)
    contact = np.zeros((n, k, k), np.float32)
    for first, second in (
        (probabilities[:, :, 1:], probabilities[:, :, :-1]),
        (probabilities[:, :, :, 1:], probabilities[:, :, :, :-1]),
    ):
        a, b = (x.reshape(n, k, -1).astype(np.float32) for x in (first, second))
        pairs = a @ b.transpose(0, 2, 1) / a.shape[2]
        contact += pairs + pairs.transpose(0, 2, 1)
    return SoftFacts(flat.mean(2), (flat @ weights).transpose(0, 2, 1), weights.sum(0), contact)


def join_facts(parts: Sequence[SoftFacts]) -> SoftFacts:
    """Return the facts of several sets of images as one."""
    joined = [np.concatenate([getattr(p, name) for p in parts]) for name in ("shares", "inside", "contact")]
    return SoftFacts(joined[0], joined[1], parts[0].area, joined[2])


def margin(claim: Claim, facts: SoftFacts) -> np.ndarray:
    """Return how far each image is on the claim's side, (n,); 0 for what a map cannot decide."""
    if not claim.checkable or claim.kind not in KINDS:
        return np.zeros(len(facts.shares))
    named = list(claim.classes)
    share = facts.shares[:, named].sum(1)
    value = _MARGINS[claim.kind](claim, facts, named, share)
    return -value if claim.denied else value


def _presence(claim: Claim, facts: SoftFacts, named: list[int], share: np.ndarray) -> np.ndarray:
    if claim.kind == "absence" and claim.where in PLACES:
        share = facts.inside[:, PLACES.index(claim.where), named].sum(1)
    found = np.log(np.maximum(share, FAINT)) - np.log(0.02)
    return -found if claim.kind == "absence" else found


def _dominance(claim: Claim, facts: SoftFacts, named: list[int], share: np.ndarray) -> np.ndarray:
    others = [k for k in range(NUM_CLASSES) if k not in named]
    own = share if claim.merged else facts.shares[:, named].min(1)
    return own - facts.shares[:, others].max(1, initial=0)


def _share(claim: Claim, facts: SoftFacts, named: list[int], share: np.ndarray) -> np.ndarray:
    if claim.stated is not None:
        return -np.abs(share - claim.stated)
    return -np.maximum(np.maximum(claim.low - share, share - claim.high), 0)


def _position(claim: Claim, facts: SoftFacts, named: list[int], share: np.ndarray) -> np.ndarray:
    inside = facts.inside[:, :, named].sum(2) / np.maximum(share, FAINT)[:, None]  # (n, 11)
    kept = (inside - facts.area) / (1 - facts.area)
    if claim.where in PLACES:
        return kept[:, PLACES.index(claim.where)]
    return -kept.max(1)


def _more(claim: Claim, facts: SoftFacts, named: list[int], share: np.ndarray) -> np.ndarray:
    return share - facts.shares[:, list(claim.other)].sum(1)


def _contact(claim: Claim, facts: SoftFacts, named: list[int], share: np.ndarray) -> np.ndarray:
    touching = facts.contact[:, named][:, :, list(claim.other)].sum((1, 2))
    return np.log(np.maximum(touching, FAINT / 4)) - np.log(FAINT)


_MARGINS = {
    "mention": _presence, "absence": _presence, "dominant": _dominance, "share": _share,
    "position": _position, "more": _more, "adjacent": _contact,
}  # fmt: skip


def caption_margins(caption: str, facts: SoftFacts) -> np.ndarray:
    """Return the sum of margins per kind of claim of one caption on n images, (n, kinds)."""
    sums = np.zeros((len(facts.shares), len(KINDS)))
    for claim in parse_claims(caption):
        if claim.kind in KINDS:
            sums[:, KINDS.index(claim.kind)] += margin(claim, facts)
    return sums


@dataclass(frozen=True)
class CaptionMatch:
    """The fitted score: (kinds,) weights of margins, and the images that chance is measured on."""

    weights: np.ndarray
    others: SoftFacts

    def scores(self, captions: Sequence[str], facts: SoftFacts) -> np.ndarray:
        """Return how well caption i fits image i, (n,): its log-odds above those on other ground.

        0 is what the caption earns by chance; NaN for a caption that claims nothing checkable.
        """
        found = np.full(len(captions), np.nan)
        for i, caption in enumerate(captions):
            own = caption_margins(caption, facts.take(np.array([i]))) @ self.weights
            chance = caption_margins(caption, self.others) @ self.weights
            if any(claim.kind in KINDS and claim.checkable for claim in parse_claims(caption)):
                found[i] = own[0] - chance.mean()
        return found


def fit_caption_match(
    captions: Sequence[str], facts: SoftFacts, overlap: np.ndarray, seed: int
) -> CaptionMatch:
    """Fit the weights on real samples: their own captions against those of other ground.

    Args:
        captions: n texts; facts: of the n images they belong to.
        overlap: (n, n) bool, pairs that share ground and are no fair opponents.

    Raises:
        GroundsynthError: no two samples lie on different ground.
    """
    if overlap.all():
        raise GroundsynthError(
            "all windows of validation and hidden ground overlap; a caption's fit is learnt against other "
            "ground, so hold out more blocks (data.folds, data.hidden_blocks)"
        )
    generator = rng("caption_match", seed)
    own = [caption_margins(c, facts.take(np.array([i])))[0] for i, c in enumerate(captions)]
    foreign = []
    for i, caption in enumerate(captions):
        others = np.flatnonzero(~overlap[i])
        if len(others):
            drawn = generator.choice(others, min(FOREIGN, len(others)), replace=False)
            foreign.append(caption_margins(caption, facts.take(drawn)))
    features = np.concatenate([np.stack(own), *foreign])
    truth = np.repeat([1, 0], [len(own), len(features) - len(own)])
    spread = features.std(0)
    spread = np.where(spread > 0, spread, 1)
    model = LogisticRegression(class_weight="balanced").fit(features / spread, truth)
    return CaptionMatch(model.coef_[0] / spread, facts)
