"""How much the words of captions overlap with references: BLEU, ROUGE-L, CIDEr-D, METEOR by pycocoevalcap.

BLEU is of Papineni et al. (2002), ROUGE-L of Lin (2004) with that package's β = 1.2, CIDEr-D of Vedantam et al.
(2015), METEOR 1.5 of Denkowski and Lavie (2014). What a caption contributes is kept for each caption (n-grams found
and proposed, lengths, and the scores that are means over captions), so that any set of captions can be reduced
later. Document frequencies of CIDEr come from the references of the whole set, as in its paper.

The package's own tokenizer and METEOR need Java. Captions are tokenised here without it, the same on every
machine (:func:`plain_tokens`); METEOR is not computed where there is no Java.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence

import numpy as np
import pandas as pd

ORDERS = 4  # of BLEU
BLEU_COLUMNS = (
    *(f"found_{k}" for k in range(1, ORDERS + 1)),
    *(f"proposed_{k}" for k in range(1, ORDERS + 1)),
    "length",
    "reference_length",
)
MEANS = ("rouge_l", "cider", "meteor")  # scores that are means over captions
NO_JAVA = (
    "METEOR was not computed: it is a Java program, and no working `java` was found. Install a Java runtime "
    "(version 8 or newer) and run the stage again; all other scores need none."
)
_TINY, _SMALL = 1e-15, 1e-9  # of pycocoevalcap's BLEU


def plain_tokens(text: str) -> str:
    """Return a caption's words in lower case with one space between them.

    Words keep inner hyphens, apostrophes and decimal points; '%' is a word; other punctuation is dropped. On
    captions of this study that is what the Penn Treebank tokenizer of pycocoevalcap leaves.

    >>> plain_tokens("Predominantly built-up land: 34 % of it.")
    'predominantly built-up land 34 % of it'
    """
    return " ".join(re.findall(r"\w+(?:[-'’.]\w+)*|%", text.lower()))


def java_works() -> bool:
    """Return whether there is a ``java`` that runs."""
    path = shutil.which("java")
    if path is None:
        return False
    try:
        return subprocess.run([path, "-version"], capture_output=True, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def word_table(captions: Sequence[str], references: Sequence[Sequence[str]]) -> pd.DataFrame:
    """Return one row per caption: ``BLEU_COLUMNS``, ``rouge_l`` and ``cider``.

    Args:
        captions: n texts; one may be empty. references: at least one for each.
    """
    from pycocoevalcap.bleu.bleu_scorer import BleuScorer
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    said = [plain_tokens(text) for text in captions]
    known = [[plain_tokens(text) for text in texts] for texts in references]
    bleu = BleuScorer(n=ORDERS)
    for text, texts in zip(said, known, strict=True):
        bleu += (text, texts)
    rows = [_bleu_row(part) for part in bleu.ctest]
    table = pd.DataFrame(rows, columns=list(BLEU_COLUMNS))
    ours, theirs = {i: [text] for i, text in enumerate(said)}, dict(enumerate(known))
    table["rouge_l"] = Rouge().compute_score(theirs, ours)[1]
    table["cider"] = Cider().compute_score(theirs, ours)[1]
    return table


def _bleu_row(part: dict) -> list[float]:
    closest = min((abs(length - part["testlen"]), length) for length in part["reflen"])[1]
    return [*part["correct"], *part["guess"], part["testlen"], closest]


def meteor_scores(captions: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """Return METEOR of each caption, in [0, 1]; it needs :func:`java_works`.

    Its start takes several seconds, so ask once for all captions.
    """
    from pycocoevalcap.meteor.meteor import Meteor

    said = {i: [plain_tokens(text)] for i, text in enumerate(captions)}
    known = {i: [plain_tokens(text) for text in texts] for i, texts in enumerate(references)}
    scorer = Meteor()
    try:
        return scorer.compute_score(known, said)[1]
    finally:
        for stream in (scorer.meteor_p.stdout, scorer.meteor_p.stderr):
            stream.close()


def bleu(sums: np.ndarray, order: int) -> np.ndarray:
    """Return corpus BLEU-``order`` in [0, 1] of summed ``BLEU_COLUMNS``: (…, 10) to (…).

    As pycocoevalcap computes it: the geometric mean of clipped precisions times the brevity penalty, with the
    closest reference's length.
    """
    sums = np.asarray(sums, float)
    found, proposed = sums[..., :order], sums[..., ORDERS : ORDERS + order]
    precision = np.prod((found + _TINY) / (proposed + _SMALL), -1) ** (1 / order)
    ratio = (sums[..., -2] + _TINY) / (sums[..., -1] + _SMALL)
    with np.errstate(over="ignore"):
        penalty = np.where(ratio < 1, np.exp(1 - 1 / ratio), 1.0)
    return precision * penalty
