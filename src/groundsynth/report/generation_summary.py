"""What a study found of its generator in one small table: each number beside what it is held against."""

from __future__ import annotations

import re

import pandas as pd

from groundsynth.report.tables import interval, pick

COLUMNS = ["of the generator", "measured", "held against"]
WHOLE = {"arm": "", "class_": ""}
FEWEST_UNITS = 5  # blocks or samples below which no interval is printed


def generation_table(metrics: pd.DataFrame, generate: dict) -> pd.DataFrame:
    """Return the table, a row for what has been measured, commands on the finished study included.

    No rows for a study of several folds, which has many generators.

    Args:
        metrics: of a study; generate: its settings ``generate``, as its manifest holds them.
    """
    if metrics["regime"].str.contains(r"(?:^|;)folds?=").any():
        return pd.DataFrame(columns=COLUMNS)
    rows = [
        *_cost(metrics),
        *_speed(metrics, generate),
        *_obedience(metrics, generate),
        *_variety(metrics, generate),
        *_control(metrics, generate),
        *_rare(metrics),
        *_texture(metrics),
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _cost(metrics: pd.DataFrame) -> list[tuple[str, str, str]]:
    cost = pick(metrics, "training_cost_ratio")
    cost = cost[cost["regime"].str.contains("run=single(?:;|$)")]
    tests = pick(metrics, "not_inferior")
    tests = tests[tests["regime"].str.contains("run=single(?:;|$)")]
    if cost.empty or tests.empty:
        return []
    low, high = cost["value"].min(), cost["value"].max()
    passed = (
        f"not inferior to it in {int(tests['value'].sum())} of {len(tests)} tests at equal total steps, by margins of two "
        "points of obedience and the distance of two real sets (one fold and one training of each, so no verdict)"
    )
    return [("training one network for all uses, × one for a single use", f"{low:.2f} to {high:.2f}", passed)]


def _speed(metrics: pd.DataFrame, generate: dict) -> list[tuple[str, str, str]]:
    way, many = (f"solver={generate['solver']};steps={n}" for n in (generate["sampling_steps"], 250))
    guidance, pairs = generate.get("pair_guidance", 1.0), metrics[metrics["system"] == "joint"]
    if guidance != 1:
        way, many = (f"{name};pair_guidance={guidance:g}" for name in (way, many))
    faster = _in_regime(pick(pairs, "sampling_speedup"), way)
    near, far = (
        _in_regime(pick(pairs, "kid"), f"{name};features=scattering", "command=sampling-curve")
        for name in (way, many)
    )
    if faster.empty or near.empty or far.empty:
        return []
    measured = f"{faster['value'].iloc[0]:.0f} times in {generate['sampling_steps']} steps" + (
        f", pairs guided by their own maps (weight {guidance:g})" if guidance != 1 else ""
    )
    against = (
        f"kernel distance {interval(near.iloc[0], digits=2)}; in 250 steps {interval(far.iloc[0], digits=2)}"
    )
    enough = pick(pairs, "fewest_steps")
    enough = enough[enough["regime"].str.startswith(f"solver={generate['solver']};within={many};command=")]
    if len(enough):
        against += f"; of the numbers tried, {enough['value'].iloc[0]:.0f} is the smallest from which on it is not exceeded"
    return [("drawing faster than the stock loop of 1,000 steps", measured, against)]


def _obedience(metrics: pd.DataFrame, generate: dict) -> list[tuple[str, str, str]]:
    name = "maps it has never seen, read off its images, × read off real chips of these maps"
    control = {"metric": "mask_obedience_swapped", "arm": "", "words": "another chip's map"}
    return _unseen(metrics, generate, "mask_obedience_ratio", name, "1 is as legible as real", control)


def _variety(metrics: pd.DataFrame, generate: dict) -> list[tuple[str, str, str]]:
    name = "variety of images of one map, × that of real chips with similar maps"
    control = {"metric": "diversity_ratio", "arm": "other_maps", "words": "images of different maps"}
    return _unseen(metrics, generate, "diversity_ratio", name, "1 is as varied as real", control)


def _unseen(
    metrics: pd.DataFrame, generate: dict, metric: str, name: str, words: str, control: dict
) -> list[tuple[str, str, str]]:
    """Return the row of a measure of unseen maps; ``control`` names the rows that give its scale: metric, arm, words."""
    rows = _in_regime(pick(metrics, metric, **WHOLE), "command=measure-obedience")
    own = _in_regime(rows[rows["system"] == "mask"], f"guidance={generate['guidance']:g}")
    if own.empty:
        return []
    gan = rows[rows["system"] == "spade"]
    controls = _in_regime(
        pick(metrics, control["metric"], arm=control["arm"], class_=""),
        "command=measure-obedience", f"guidance={generate['guidance']:g}",
    )  # fmt: skip
    against = [words]
    against += [f"{control['words']}: {_by_layouts(controls)}"] if len(controls) else []
    against += [f"SPADE: {_by_layouts(gan)}"] if len(gan) else []
    return [(name, _by_layouts(own), "; ".join(against))]


def _by_layouts(rows: pd.DataFrame) -> str:
    found = rows.assign(layouts=rows["regime"].str.extract(r"layouts=(\w+)", expand=False))
    parts = []
    for _, row in found.iterrows():
        few = pd.notna(row["n"]) and row["n"] < FEWEST_UNITS  # the range of so few values is no interval
        value = f"{row['value']:.2f}" if few else interval(row, digits=2)
        parts.append(f"{row['layouts']} blocks {value}" + (f" (n = {row['n']:.0f})" if few else ""))
    return ", ".join(sorted(parts, reverse=True))


def _control(metrics: pd.DataFrame, generate: dict) -> list[tuple[str, str, str]]:
    skill = pick(metrics, "share_skill", class_="")
    real = skill[skill["system"] == "real"]
    held = ", samples held to them" if generate.get("hold_shares") else ""
    rows = []
    for arm, words in (("shares", "in numbers"), ("captions", "in words")):
        on = {place: _in_regime(skill[skill["arm"] == arm], f"on={place}") for place in ("map", "label")}
        other = _in_regime(skill[skill["arm"] == f"{arm}:other"], "on=label")
        if any(part.empty for part in (*on.values(), other, real)):
            continue
        rows.append((
            f"class shares asked for {words}{held}: skill (1 exact, 0 no better than the usual shares)",
            f"{interval(on['map'].iloc[0], digits=2)} on the map, {interval(on['label'].iloc[0], digits=2)} on the image",
            f"another sample's request, on the image: {interval(other.iloc[0], digits=2)}; the labeller's own skill on real "
            f"chips: {interval(real.iloc[0], digits=2)}",
        ))  # fmt: skip
    return rows


def _rare(metrics: pd.DataFrame) -> list[tuple[str, str, str]]:
    gain = _in_regime(pick(metrics, "rare_share_gain"), "prior=ground")
    change = pick(metrics, "rare_kappa_change")
    if gain.empty or "" not in gain["class"].to_numpy():
        return []
    classes = ", ".join(name for name in gain["class"] if name)
    kappa = (
        f"; kappa of image and map changes by {interval(change.iloc[0], digits=2, sign=True)}"
        if len(change)
        else ""
    )
    whole = gain[gain["class"] == ""].iloc[0]
    return [
        (
            f"rare ground that a labeller confirms ({classes})",
            f"{interval(whole, digits=1)} times",
            f"its true share{kappa}",
        )
    ]


def _texture(metrics: pd.DataFrame) -> list[tuple[str, str, str]]:
    error = _in_regime(pick(metrics, "power_spectrum_error"), "against=held_out")
    drawn, real = (
        error[error["system"].isin(["joint", "mask", "image", "text"])],
        error[error["system"] == "real"],
    )
    if drawn.empty or real.empty:
        return []
    low, high = drawn["value"].min(), drawn["value"].max()
    return [
        (
            "power at each scale, off by",
            f"{100 * low:.0f} to {100 * high:.0f} %",
            f"real training chips: {100 * real['value'].iloc[0]:.0f} %",
        )
    ]


def _in_regime(rows: pd.DataFrame, *parts: str) -> pd.DataFrame:
    """Return the rows whose regime has all these parts, whole ones."""
    keep = pd.Series(True, index=rows.index)
    for part in parts:
        keep &= rows["regime"].str.contains(rf"(?:^|;){re.escape(part)}(?:;|$)")
    return rows[keep]
