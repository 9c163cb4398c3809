"""How much a set of captions repeats itself: in its letters, its words, and its meaning.

None of it measures truth. Duplicates are counted three ways: the same words (``duplicate_rate``), nearly
the same words (``near_duplicate_rate``), and the same claims in whatever words (``claim_duplicate_rate``,
in ``caption_scores``). A text counts as a near duplicate when an *earlier* one is at least ``NEAR`` similar,
so that the rate is never below that of exact duplicates and one copy of everything is free. Similarity is
the cosine of TF-IDF weighted character n-grams within words, or of sentence embeddings where a study
names an encoder.

Distinct-n is of Li et al. (2016), self-BLEU of Zhu et al. (2018).
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import sparse

from groundsynth.artifacts import metric_row
from groundsynth.models.sentence_tokens import sentence_embeddings
from groundsynth.seeds import rng

NEAR = 0.9  # cosine from which on two captions are near duplicates
NGRAMS = (3, 5)  # characters
WORDLESS = "-"  # stands for a text without words: an untrained captioner writes such
CHUNK = 512  # captions compared with all others at once; bounds the memory
BLEU_TEXTS = 100  # captions drawn for self-BLEU, each against the 99 others

#: share of exact duplicates in published sets of captions, in per cent
PUBLISHED = pd.DataFrame(
    [
        ("ARAS400k, from statistics (Qwen3-4B)", 46.45, 46.45),
        ("ARAS400k, from the image (Gemma3-4B, Qwen3-VL-8B)", 0.84, 10.05),
        ("ARAS400k, from both", 0.47, 6.41),
        ("other remote-sensing sets, as counted there", 67.0, 81.0),
    ],
    columns=["captions", "lowest", "highest"],
)

Features = np.ndarray | sparse.csr_matrix


def character_features(texts: list[str]) -> sparse.csr_matrix:
    """Return (n, f) TF-IDF weights of character n-grams within words, each row of length 1.

    Case, spacing and punctuation do not count; texts without a word are alike.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    plain = [" ".join(words_of(text)) or WORDLESS for text in texts]
    return TfidfVectorizer(analyzer="char_wb", ngram_range=NGRAMS, sublinear_tf=True).fit_transform(plain)


def near_duplicate_rate(features: Features, near: float = NEAR) -> float:
    """Return the share of texts to which an earlier one is at least ``near`` similar.

    Args:
        features: (n, d) rows of length 1, dense or sparse.
    """
    n, repeats = features.shape[0], 0
    for start in range(0, n, CHUNK):
        stop = min(start + CHUNK, n)
        cosine = features[start:stop] @ features[:stop].T
        cosine = cosine.toarray() if sparse.issparse(cosine) else np.asarray(cosine)
        earlier = np.arange(stop)[None, :] < np.arange(start, stop)[:, None]
        repeats += int(((cosine >= near - 1e-6) & earlier).any(1).sum())
    return repeats / n if n else np.nan


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return re.findall(r"\w+", text.lower())


def vocabulary(texts: list[str]) -> int:
    """Return the number of different words."""
    return len({word for text in texts for word in words_of(text)})


def distinct(texts: list[str], n: int) -> float:
    """Return different n-grams of words over all of them; NaN where there is none."""
    grams = [gram for text in texts for gram in zip(*(words_of(text)[i:] for i in range(n)), strict=False)]
    return len(set(grams)) / len(grams) if grams else np.nan


def self_bleu(texts: list[str], *names: object) -> float:
    """Return the mean BLEU-4 of up to ``BLEU_TEXTS`` texts, each against the others drawn with it; 1 is one text.

    Args:
        names: seed the draw.
    """
    from torchmetrics.functional.text import bleu_score

    plain = [" ".join(words_of(text)) for text in texts]
    if len(plain) > BLEU_TEXTS:
        chosen = rng("self_bleu", *names).permutation(len(plain))[:BLEU_TEXTS]
        plain = [plain[i] for i in sorted(chosen)]
    if len(plain) < 2:
        return np.nan
    scores = [float(bleu_score([text], [plain[:i] + plain[i + 1 :]])) for i, text in enumerate(plain)]
    return float(np.mean(scores))


def redundancy_rows(
    study: str, stage: str, captions: pd.DataFrame, arm: str, encoder: str | None = None
) -> list[dict]:
    """Return near duplicates, self-BLEU, distinct-1 and -2 and the vocabulary per system, as metric rows.

    Args:
        captions: columns ``system`` and ``caption``; arm: the writer's name.
        encoder: folder of a sentence encoder, or ``shipped``; None compares character n-grams.
    """
    rows = []
    for system, part in captions.groupby("system", sort=False):
        texts = part["caption"].tolist()
        features = sentence_embeddings(texts, encoder) if encoder else character_features(texts)
        by = "similarity=sentence encoder" if encoder else "similarity=character n-grams"
        values: dict[str, tuple[Callable[[], float], str]] = {
            "near_duplicate_rate": (lambda f=features: near_duplicate_rate(f), by),
            "self_bleu": (lambda t=texts, s=system: self_bleu(t, s, arm), ""),
            "distinct_1": (lambda t=texts: distinct(t, 1), ""),
            "distinct_2": (lambda t=texts: distinct(t, 2), ""),
            "vocabulary": (lambda t=texts: vocabulary(t), ""),
        }
        for metric, (measure, regime) in values.items():
            value = float(measure())
            if np.isnan(value):
                continue  # nothing to be counted
            rows.append(
                metric_row(
                    study,
                    stage,
                    metric,
                    value,
                    system=str(system),
                    arm=arm,
                    regime=regime,
                    n=len(part),
                )
            )
    return rows


def beside_published(rows: pd.DataFrame) -> pd.DataFrame:
    """Return published shares of exact duplicates and, below them, this study's, in per cent.

    Args:
        rows: metrics of stage 05.
    """
    own = rows[rows["metric"] == "duplicate_rate"]
    ours = [
        (f"this study, writer {row.arm}, chips '{row.system}'", 100 * row.value, 100 * row.value)
        for row in own.itertuples()
    ]
    return pd.concat([PUBLISHED, pd.DataFrame(ours, columns=list(PUBLISHED))], ignore_index=True)
