"""What samples of system ``text`` are asked for: captions and class shares of training chips, and variants.

Only maps and their shares are ever used, never a training image. Which chip a sample is asked about, and
how its caption is worded, depend on the generator's name and the sample's number alone.

The strategy ``rare`` asks for more of a class that is rare: its share is set to a level that one in ten
of the training chips that show it reaches, and the rest of the ground is what lies, in its shares, between
one of those chips and any other one, scaled to fit. So every number asked for is one that the ground has
somewhere, and the whole is near compositions that it has.
"""

from __future__ import annotations

import difflib
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from groundsynth.config import ASK_NEEDS
from groundsynth.data.rare_objects import LEAST_PIXELS, RARE_SHARE, objects, rare_classes
from groundsynth.data.scene_origins import ORIGIN, Names, origin_codes
from groundsynth.data.turns import TURNS, turn
from groundsynth.errors import GroundsynthError
from groundsynth.legend import CLASSES, NUM_CLASSES, SHARE_COLUMNS
from groundsynth.models.conditions import Conditions
from groundsynth.models.sentence_tokens import MAX_TOKENS, token_states
from groundsynth.seeds import derive_seed, rng

FULL_ASK = {
    "shares": "shares",
    "text": "captions",
    "both": "both",
}  # all that a generator of these conditions hears
TOLD_COLUMNS = tuple(f"told_{k}" for k in range(NUM_CLASSES))
COLUMNS = [
    "kind",
    "prompt",
    "condition",
    "condition_transform",
    "raised",
    *SHARE_COLUMNS,
    *TOLD_COLUMNS,
    *ORIGIN,
]
RARE_QUANTILE = 0.9  # of a class's shares over the chips that show it: what 'rare' raises it to
ROUNDING = 1e-3  # by which the sum of shares may miss 1

Describe = Callable[[Sequence[None], Sequence[np.ndarray], Sequence[int]], list[str]]
UNASKED = np.full(NUM_CLASSES, np.nan)
UNSAID = pd.DataFrame(columns=list(ORIGIN))


def ask(
    kinds: Sequence[str],
    chips: pd.DataFrame,
    generator: str,
    indices: Sequence[int],
    describe: Describe | None = None,
    rare_share: float = RARE_SHARE,
    rare_floor: float = 0.0,
    origins: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Return what each sample is asked for; sample i takes kind ``kinds[i % len(kinds)]``.

    Args:
        kinds: ``captions``: the caption of a training chip, turned at random; ``shares``: its class shares;
            ``both``; ``rare``: the shares of the strategy above (with a warning ``shares``, where no class is rare); ``shuffled``: the caption of one chip and the
            shares of another, the control; ``nothing``: no condition, the generator's own prior.
        chips: real training chips; ``chip_id``, ``mask`` and ``share_0…6`` are read.
        generator: name of the generator; with the sample's number it decides the draw.
        indices: numbers of the samples.
        describe: ``write`` of a caption writer (images, maps, seeds → texts), for kinds with a caption; the
            images are None.
        rare_share: share of the ground below which a class is rare; rare_floor: below which it is too rare to be
            asked for.
        origins: ``sensor, season, place`` of the chips (see ``data.scene_origins``): a sample is asked to be from where the
            chip is from that it is asked about, unless it is asked for nothing; None asks for no origin.

    Returns:
        One row per sample: ``kind``, ``prompt`` ('' without one), ``condition`` (what was asked, in words),
        ``condition_transform`` (turn of the described map, −1 without one), ``raised`` (the class that ``rare``
        raised, else −1), ``share_0…6`` (shares given, NaN if not), ``told_0…6`` (shares of the map that the
        prompt describes, NaN without one), ``sensor``, ``season`` and ``place`` ('' where none is asked for).

    Raises:
        GroundsynthError: an unknown kind, no writer where one is needed, or no chip with a label.
    """
    odd = [kind for kind in kinds if kind not in ASK_NEEDS]
    if odd or not kinds:
        raise GroundsynthError(f"asks {list(kinds)} do not exist; choose from {', '.join(ASK_NEEDS)}")
    if describe is None and any("text" in ASK_NEEDS[kind] for kind in kinds):
        raise GroundsynthError("asks with captions need a writer to word them; give describe")
    labelled = chips[list(SHARE_COLUMNS)].sum(axis=1) > 0.5  # else 0: nothing on it has a class
    table = chips.loc[labelled, ["chip_id", "mask", *SHARE_COLUMNS]]
    table = table.join(UNSAID.reindex(table.index, fill_value="") if origins is None else origins)
    table = table.sort_values("chip_id", ignore_index=True)
    if table.empty:
        raise GroundsynthError("no training chips to ask for; check the split of stage 01")
    levels = rare_levels(table, rare_share, rare_floor) if "rare" in kinds else {}
    if "rare" in kinds and not levels:
        warnings.warn(
            f"no class is rare (below {100 * rare_share:g} %) in the training maps and shows a patch of {LEAST_PIXELS} pixels; samples that would "
            "ask for more of one ask for a chip's shares",
            stacklevel=2,
        )
        kinds = ["shares" if kind == "rare" else kind for kind in kinds]
    rows = [_ask_one(kinds[index % len(kinds)], table, levels, generator, index) for index in indices]
    spoken = [i for i, row in enumerate(rows) if row["map"] is not None]
    if spoken:
        seeds = [derive_seed("asked", generator, indices[i]) for i in spoken]
        texts = describe([None] * len(spoken), [rows[i]["map"] for i in spoken], seeds)
        for i, text in zip(spoken, texts, strict=True):
            rows[i]["prompt"] = text
    return pd.DataFrame(rows, columns=COLUMNS)


def rare_levels(
    chips: pd.DataFrame, rare_share: float = RARE_SHARE, rare_floor: float = 0.0
) -> dict[int, tuple[float, np.ndarray]]:
    """Return for each rare class the share that ``rare`` raises it to, and the rows of chips that reach it.

    Classes below ``rare_share`` of the labelled pixels, but not below ``rare_floor``, are raised; only chips that show one in a patch of at least
    6 pixels count.
    """
    maps, found = np.stack(chips["mask"]), {}
    for k in rare_classes(maps, rare_share, rare_floor):
        shares = chips[SHARE_COLUMNS[k]].to_numpy(float)
        shown = np.array([i for i in np.flatnonzero(shares) if objects(maps[i], k).any()], int)
        if len(shown):
            level = float(np.quantile(shares[shown], RARE_QUANTILE, method="lower"))
            found[k] = (level, shown[shares[shown] >= level])
    return found


def _ask_one(
    kind: str, table: pd.DataFrame, levels: Mapping[int, tuple[float, np.ndarray]], generator: str, index: int
) -> dict:
    draw = rng("asked", generator, index)
    chip, code = table.iloc[int(draw.integers(len(table)))], int(draw.integers(TURNS))
    spoken = "text" in ASK_NEEDS[kind]
    row = {
        "kind": kind, "prompt": "", "condition": "", "raised": -1,
        "condition_transform": code if spoken else -1,
        "map": turn(chip["mask"], code) if spoken else None,
    }  # fmt: skip
    own, given, words = _shares(chip), UNASKED, f"caption of {chip['chip_id']}"
    if kind in ("shares", "both"):
        given, words = own, f"{'shares' if kind == 'shares' else 'caption and shares'} of {chip['chip_id']}"
    elif kind == "shuffled":
        other = table.iloc[_another(draw, len(table), int(chip.name))]
        given, words = _shares(other), f"{words}, shares of {other['chip_id']}"
    elif kind == "rare":
        k = int(draw.choice(list(levels)))
        level, rich = levels[k]
        donor = table.iloc[int(draw.choice(rich))]
        given = raise_share(_shares(chip), _shares(donor), k, level, float(draw.uniform()))
        words = f"{CLASSES[k]} raised to {level:.1%} between {chip['chip_id']} and {donor['chip_id']}"
        row["raised"] = k
    elif kind == "nothing":
        words = "nothing"
    row["condition"] = words
    row |= {name: "" if kind == "nothing" else chip[name] for name in ORIGIN}
    told = own if spoken else UNASKED
    return row | dict(zip(SHARE_COLUMNS, given, strict=True)) | dict(zip(TOLD_COLUMNS, told, strict=True))


def raise_share(base: np.ndarray, rich: np.ndarray, k: int, level: float, part: float) -> np.ndarray:
    """Return shares (7,) with class ``k`` at ``level`` and the others between those of two chips.

    Args:
        base, rich: shares of two chips, each summing to 1.
        part: how far from ``base`` to ``rich`` the others lie, 0…1.
    """
    others = (1 - part) * base + part * rich
    others[k] = 0
    if not others.sum():  # both chips hold nothing else: the level cannot be kept
        return np.eye(NUM_CLASSES)[k]
    others *= (1 - level) / others.sum()
    others[k] = level
    return others


def parse_shares(shares: Mapping[str, float]) -> np.ndarray:
    """Return class shares given by name as (7,) float64; classes left out are asked not to be there.

    Raises:
        GroundsynthError: no mapping, a class that does not exist, a share that is no number from 0 to 1, or
            shares that do not sum to 1.

    >>> parse_shares({"water": 0.25, "tree cover": 0.75}).tolist()
    [0.75, 0.0, 0.0, 0.0, 0.0, 0.0, 0.25]
    """
    if not isinstance(shares, Mapping):
        raise GroundsynthError(
            f"shares of type {type(shares).__name__} name no classes; give them by name, such as "
            "{'tree cover': 0.7, 'water': 0.3}"
        )
    found = np.zeros(NUM_CLASSES)
    for name, share in shares.items():
        if name not in CLASSES:
            near = difflib.get_close_matches(str(name), CLASSES, n=1)
            cure = f"did you mean '{near[0]}'?" if near else f"classes are {', '.join(CLASSES)}"
            raise GroundsynthError(f"shares name '{name}', which is no class; {cure}")
        number = isinstance(share, (int, float, np.number)) and not isinstance(share, bool)
        if not number or not math.isfinite(share) or not 0 <= share <= 1:
            raise GroundsynthError(
                f"the share of {name} is {share!r}, and a share is a number from 0 to 1; correct it"
            )
        found[CLASSES.index(name)] = share
    if abs(found.sum() - 1) > ROUNDING:
        raise GroundsynthError(
            f"the shares sum to {found.sum():g} and must sum to 1; name every class that should be there"
        )
    return found / found.sum()


def request_of(asked: pd.DataFrame, names: Names = (), encoder: str | None = None) -> Conditions:
    """Return what :func:`ask` asks for as the generator reads it (see :func:`conditions_of`).

    Args:
        names: origins that the generator can be told, ``config.origins``.
    """
    request = conditions_of(asked["prompt"], asked[list(SHARE_COLUMNS)].to_numpy(float), encoder=encoder)
    return replace(request, origin=torch.from_numpy(origin_codes(asked, names)))


def conditions_of(
    prompts: Sequence[str], shares: np.ndarray, max_tokens: int = MAX_TOKENS, encoder: str | None = None
) -> Conditions:
    """Return n prompts and shares as the generator reads them.

    Args:
        prompts: n texts, '' where there is none.
        shares: (n, 7), rows of NaN where there are none.
        max_tokens, encoder: see :func:`groundsynth.models.sentence_tokens.token_states`.

    Raises:
        GroundsynthError: shares of a row that are partly missing, negative, or do not sum to 1.
    """
    shares = np.asarray(shares, float)
    _check_rows(shares)
    known = list(dict.fromkeys(text for text in prompts if text))
    conditions = Conditions.none(len(prompts))
    if known:
        states, lengths = token_states(known, encoder, max_tokens)
        place = np.array([known.index(text) if text else -1 for text in prompts])
        states = np.concatenate([states, np.zeros_like(states[:1])])  # row −1: no text
        conditions = Conditions(
            torch.from_numpy(states[place]).float(),
            torch.from_numpy(np.append(lengths, 0)[place]),
            conditions.shares,
            conditions.origin,
        )
    return replace(conditions, shares=torch.tensor(shares, dtype=torch.float32))


def _check_rows(shares: np.ndarray) -> None:
    for place, row in enumerate(shares):
        missing, negative = np.isnan(row), row < 0
        if missing.all():
            continue
        what = (
            f"no number for {CLASSES[int(missing.argmax())]}" if missing.any()
            else f"{row.min():g} for {CLASSES[int(row.argmin())]}" if negative.any()
            else f"a sum of {row.sum():g}" if abs(row.sum() - 1) > ROUNDING
            else ""
        )  # fmt: skip
        if what:
            raise GroundsynthError(
                f"the shares of sample {place} have {what}; give seven numbers from 0 to 1 that sum to 1, or none"
            )


def _another(draw: np.random.Generator, n: int, own: int) -> int:
    """Return a row that is not ``own``, where there is one."""
    return int((own + 1 + draw.integers(max(n - 1, 1))) % n)


def _shares(chip: pd.Series) -> np.ndarray:
    return chip[list(SHARE_COLUMNS)].to_numpy(float)
