"""What stages 05 and 06 found, in sentences made from their tables of numbers."""

from __future__ import annotations

import pandas as pd

#: parts of the column ``regime`` as a sentence has them
REGIMES = {
    "split=val+hidden": "validation and hidden blocks",
    "split=test": "test blocks",
    "score=contrastive": "by the image–text model",
    "against=held_out": "held-out",
    "against=train": "training",
    "features=labeller": "in the labeller's features",
    "features=scattering": "in scattering coefficients",
    "features=pretrained": "in a pretrained network's features",
    "space=pixels": "by the nearest window",
    "space=patches": "by the nearest patch",
    "space=features": "by the labeller's features",
    "of=class_shares": "by class shares",
    "of=borders": "by borders between classes",
    "of=patches": "by sizes of patches",
}


def in_words(regime: str) -> str:
    """Return a regime as a sentence has it; a part without words of its own loses its signs.

    >>> in_words("score=contrastive;split=test"), in_words("fold=3")
    ('by the image–text model, test blocks', 'fold 3')
    """
    parts = [part for part in regime.split(";") if part]
    return ", ".join(REGIMES.get(part, part.replace("=", " ").replace("_", " ")) for part in parts)


def _named(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows with a column ``name``: the system, and in brackets its regime in words."""
    pairs = zip(rows["system"], rows["regime"], strict=True)
    return rows.assign(name=[f"{name} ({in_words(regime)})" if regime else name for name, regime in pairs])


def _rows(metrics: pd.DataFrame, **wanted: str) -> pd.DataFrame:
    rows = metrics
    for column, value in wanted.items():
        rows = rows[rows[column] == value]
    return rows


def number(row: pd.Series, percent: bool = False) -> str:
    """Return a value with its interval, e.g. ``0.71 (0.64 to 0.78; n = 40)``."""
    form = "{:.1%}" if percent else "{:.2f}"
    if pd.isna(row["value"]):
        return f"not defined (n = {row['n']})"
    span = "" if pd.isna(row["low"]) else f"{form.format(row['low'])} to {form.format(row['high'])}; "
    return f"{form.format(row['value'])} ({span}n = {row['n']})"


def _each(rows: pd.DataFrame, percent: bool = False, name: str = "system") -> str:
    return ", ".join(f"`{row[name]}` {number(row, percent)}" for _, row in rows.iterrows())


def caption_findings(metrics: pd.DataFrame) -> str:
    """Return the findings of stage 05 as a Markdown list, from its metrics table."""
    name = next(row.arm for row in metrics.itertuples() if row.metric == "claim_precision")
    constant = _rows(metrics, metric="dominance_balanced_accuracy", system="real", arm="constant").iloc[0]
    writers = list(dict.fromkeys(_rows(metrics, metric="duplicate_rate")["arm"]))
    everything, metrics = metrics, _rows(metrics, arm=name)
    real = _rows(metrics, system="real")
    truth, share = (_rows(real, metric=name).iloc[0] for name in ("claim_precision", "share_error_pp"))
    recall = _rows(real, metric="claim_recall").iloc[0]
    writer = _rows(real, metric="dominance_balanced_accuracy").iloc[0]
    promise = " By construction the first must be 1; anything else is a defect." * (name == "layout")
    lines = [
        f"The writer `{name}` states what its map holds: claim precision {number(truth)} and claim "
        f"recall {number(recall)} on real chips.{promise}",
        f"Stated shares are off by {share['value']:.1f} percentage points on average: the price of words.",
        f"Naming the dominant class is right in {writer['value']:.0%} of cases averaged over classes; always "
        f"giving the commonest answer reaches {constant['value']:.0%}.",
    ]
    lines += [_repeats(writer, _rows(everything, arm=writer)) for writer in writers]
    lines += _looking(everything)
    return "\n".join(f"- {line}" for line in lines)


def _repeats(writer: str, metrics: pd.DataFrame) -> str:
    """Return how often a writer's captions repeat each other."""
    return (
        f"Captions of `{writer}` that repeat another word for word: {_each(_rows(metrics, metric='duplicate_rate'), True)}; "
        f"that nearly do: {_each(_rows(metrics, metric='near_duplicate_rate'), True)}; that say the same in other words "
        f"too: {_each(_rows(metrics, metric='claim_duplicate_rate'), True)}."
    )


def _looking(metrics: pd.DataFrame) -> list[str]:
    """Return whether the captioner looks: held-out chips with their own image, and with another block's."""
    unseen = _rows(metrics, regime="against=map;held-out", system="real")
    parts = []
    for metric, words in (
        ("claim_precision", "claims that hold"),
        ("dominance_balanced_accuracy", "the dominant class"),
        ("position_accuracy", "places"),
    ):
        pair = [_rows(unseen, metric=metric, arm=arm) for arm in ("captioner", "shuffled_image")]
        if all(len(rows) for rows in pair):
            parts.append(f"{words} {number(pair[0].iloc[0], True)}, against {number(pair[1].iloc[0], True)}")
    if not parts:
        return []
    return [f"Does the captioner look? Of held-out chips, against another block's image: {'; '.join(parts)}."]


def _distance_line(space: str, rows: pd.DataFrame) -> str:
    """Return kernel distances beside the noise's; as parts of it only where the noise itself is told from real."""
    noise = rows[rows["arm"] == "spectrum_matched_noise"].iloc[0]
    parts, found = [], rows[rows["arm"] == ""]
    for _, row in found.iterrows():
        share = f" ({row['value'] / noise['value']:.2g} of the noise's)" if noise["low"] > 0 else ""
        parts.append(f"`{row['system']}` {row['value']:.3g}{share}")
    return (
        f"Kernel distance to held-out real chips, {space}: spectrum-matched noise {noise['value']:.3g}, "
        f"{', '.join(parts)} (n = {noise['n']} on each side); `real` are training chips, for scale"
        f"{_beyond(found, lower=True)}."
    )


def _beyond(rows: pd.DataFrame, lower: bool) -> str:
    """Return which systems are nearer to held-out ground than real training chips are."""
    real = rows[rows["system"] == "real"]
    if real.empty:
        return ""
    made, scale = rows[rows["system"] != "real"], real["value"].iloc[0]
    passed = made[made["value"] < scale] if lower else made[made["value"] > scale]
    return f", which {', '.join(f'`{name}`' for name in passed['system'])} pass" if len(passed) else ""


def _parser_lines(metrics: pd.DataFrame) -> list[str]:
    held_back = _rows(metrics, arm="held_back")
    found = {row["metric"]: number(row, True) for _, row in held_back.iterrows()}
    if "parser_precision" not in found:
        return []
    return [
        f"On sentences held back from it, the parser's claims are right with precision {found['parser_precision']} "
        f"and recall {found['parser_recall']}, counted in claims."
    ]


def _coverage_lines(metrics: pd.DataFrame) -> list[str]:
    lines = []
    for space, rows in _rows(metrics, metric="coverage", arm="").groupby("regime", sort=False):
        lines.append(
            f"Share of held-out real ground that is covered, {space}: {_each(rows, True)}; `real` are "
            f"training chips, for scale{_beyond(rows, lower=False)}."
        )
    for of, rows in _rows(metrics, metric="composition_js").groupby("regime", sort=False):
        lines.append(
            f"Distance in composition from real maps (0 alike, 1 nothing in common), {of}: {_each(rows)}; "
            f"`real` is real ground from other real ground, for scale{_beyond(rows, lower=True)}."
        )
    return lines


def ground_findings(metrics: pd.DataFrame) -> str:
    """Return the findings of stage 06 as a Markdown list, from its metrics table."""
    auc = _rows(metrics, metric="auc")
    lines = _parser_lines(metrics)
    for arm, words in (
        ("swapped_map", "its own map from another's"),
        ("matched_swap", "its own map from one with nearly the same shares"),
        ("shuffled_caption", "its own caption from another's, by its own map"),
    ):
        rows = _named(_rows(auc, arm=arm))
        lines.append(f"Telling a sample's {words.removeprefix('its ')}: AUC {_each(rows, name='name')}.")
    seen = _rows(metrics, metric="check_auc", arm="shuffled_caption")
    seen = seen[seen["regime"].str.endswith("check=caption_of_image")]
    seen = _named(seen.assign(regime=seen["regime"].str.split("check").str[0].str.strip(";")))
    if len(seen):
        lines.append(f"The same by the image alone, which is harder: AUC {_each(seen, name='name')}.")
    spectrum = _rows(metrics, metric="power_spectrum_error", arm="")
    for regime, rows in spectrum.groupby("regime", sort=False):
        lines.append(
            f"The power spectrum is off by {_each(rows, True)}, against {in_words(regime)} real chips."
        )
    kid = _rows(metrics, metric="kid")
    for space, rows in kid.groupby("regime", sort=False):
        lines.append(_distance_line(in_words(space), rows))
    for arm, words in (("planted_copy", "Planted copies"), ("patch_copy", "Collages of training patches")):
        planted = _rows(auc, arm=arm, system="real").assign(name=lambda t: t["regime"].map(in_words))
        if len(planted):
            lines.append(f"{words} are told from real windows with AUC {_each(planted, name='name')}.")
    lines += _coverage_lines(metrics.assign(regime=metrics["regime"].map(in_words)))
    keep, drop = _rows(metrics, metric="keep_rate"), _rows(metrics, metric="drop_rate")
    lines.append(f"Certificates keep {_each(keep, True)}; `real` are windows of the test blocks.")
    faults = drop[drop["arm"] != ""]
    lines += [
        f"With the fault `{arm}`, they drop {_each(rows, True)}."
        for arm, rows in faults.groupby("arm", sort=False)
    ]
    return "\n".join(f"- {line}" for line in lines)
