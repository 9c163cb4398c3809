"""Figures of stage 06 on its evidence: the triangle of agreement, faults, coverage, composition, planes."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from groundsynth.checks.certificate import CHECK_FOR
from groundsynth.checks.composition import OCTAVES, Composition, border_table
from groundsynth.checks.manifold import MEASURES
from groundsynth.legend import CLASSES, COLOURS
from groundsynth.report.grounding_figures import NAMES, set_colour, set_name

#: sides of the triangle: column of the evidence, axis, and the faults it is held against
SIDES = (
    ("map_fit", "image and map\nfit of the map, spreads above the same map shifted", ("matched_swap", "swapped_map")),
    ("caption_of_map", "map and caption\nshare of claims true of the map", ("corrupted_caption", "matched_caption")),
    ("caption_of_image", "image and caption\nlog-odds of the caption above chance", ("matched_caption", "shuffled_caption")),
)  # fmt: skip
OWN = "as it is"
AIM = 0.9  # share of real windows that should be kept, and of every fault that should be dropped
PALETTE = ("#0072b2", "#e69f00", "#d55e00")


def plot_triangle(sets: dict[str, dict[str, pd.DataFrame]], limits: dict[str, float] | None = None) -> Figure:
    """Draw, for each side of the triangle, what sets score as they are and with foreign partners.

    Args:
        sets: by name, evidence by fault, with the samples as they are under ``''``.
        limits: lowest value kept, by column.
    """
    figure, axes = plt.subplots(1, 3, figsize=(12, 1.9 + 0.55 * len(sets)))
    for ax, (column, label, faults) in zip(axes, SIDES, strict=True):
        kinds = {"": OWN, **{fault: fault.replace("_", " ") for fault in faults}}
        parts = [
            pd.DataFrame({"score": tables[kind][column], "set": name, "partner": text})
            for name, tables in sets.items() for kind, text in kinds.items() if kind in tables
        ]  # fmt: skip
        long = pd.concat(parts, ignore_index=True).dropna(subset="score")
        sns.boxplot(
            long, x="score", y="set", hue="partner", orient="h", ax=ax, hue_order=list(kinds.values()),
            order=list(sets), palette=list(PALETTE), fliersize=1.5, linewidth=0.8,
        )  # fmt: skip
        if limits and column in limits:
            ax.axvline(limits[column], color="black", lw=1, ls="--")
        ax.set(xlabel=label, ylabel="")
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.28), fontsize=8)
        if ax is not axes[0]:
            ax.set_yticklabels([])
    return figure


def plot_faults(metrics: pd.DataFrame) -> Figure:
    """Draw which check notices which fault on real test windows (AUC), and what the certificate drops.

    Args:
        metrics: rows ``check_auc`` and ``drop_rate`` of the table of numbers.
    """
    real = metrics[metrics["system"] == "real"]
    checks = real[(real["metric"] == "check_auc") & real["regime"].str.startswith("split=test;")]
    checks = checks.assign(check=checks["regime"].str.split("check=").str[1])
    faults = [fault for fault in CHECK_FOR if fault in set(checks["arm"])]
    grid = checks.pivot_table("value", "arm", "check").reindex(index=faults)
    order = ["kappa", *dict.fromkeys(CHECK_FOR.values()), "caption_of_image", "trust"]
    grid = grid[[name for name in order if name in grid] + [n for n in grid if n not in order]]
    dropped = real[(real["metric"] == "drop_rate") & (real["regime"] == "")].set_index("arm").reindex(faults)
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(12, 1.4 + 0.36 * len(faults)), width_ratios=[2.2, 1], sharey=False
    )
    sns.heatmap(
        grid, annot=True, fmt=".2f", vmin=0.5, vmax=1, cmap="Blues", cbar=False, ax=left, linewidths=0.5
    )
    left.grid(visible=False)
    left.set(xlabel="", ylabel="", title="AUC of each check (blank: not touched)")
    left.set_yticklabels([fault.replace("_", " ") for fault in faults], rotation=0)
    left.set_xticklabels([name.replace("_", " ") for name in grid], rotation=35, ha="right")
    place = np.arange(len(faults)) + 0.5
    right.barh(place, dropped["value"], color="#0072b2", height=0.6)
    right.hlines(place, dropped["low"], dropped["high"], color="black", lw=1.4)
    right.axvline(0.9, color="black", lw=1, ls="--")
    right.set(xlim=(0, 1.02), ylim=(len(faults), 0), yticks=[], title="dropped by the certificate")
    return figure


def plot_folds(metrics: pd.DataFrame) -> Figure:
    """Draw what the certificate keeps of real windows and drops of each fault, one column per fold.

    Args:
        metrics: rows ``keep_rate`` and ``drop_rate`` of the command certify-folds; those of all folds together
            have an empty ``regime``.
    """
    rates = metrics[metrics["metric"].isin(["keep_rate", "drop_rate"])]
    names = {
        regime: regime.replace("=", " ") if regime else "all folds" for regime in rates["regime"].unique()
    }
    lines = {"": "real windows kept", **{fault: fault.replace("_", " ") for fault in CHECK_FOR}}
    grid = rates.pivot_table("value", "arm", "regime").reindex(index=list(lines), columns=list(names))
    figure, ax = plt.subplots(figsize=(2.6 + 0.9 * len(names), 1.2 + 0.36 * len(grid)))
    sns.heatmap(
        grid, annot=True, fmt=".2f", vmin=0.5, vmax=1, cmap="Blues", cbar=False, ax=ax, linewidths=0.5
    )
    for row, col in np.argwhere(grid.to_numpy() < AIM):
        ax.add_patch(plt.Rectangle((col, row), 1, 1, fill=False, edgecolor="#d55e00", lw=2, clip_on=False))
    ax.axhline(1, color="black", lw=1)
    ax.grid(visible=False)
    ax.set(xlabel="", ylabel="")
    ax.set_yticklabels(list(lines.values()), rotation=0)
    ax.set_xticklabels(list(names.values()), rotation=35, ha="right")
    return figure


def folds_caption(metrics: pd.DataFrame) -> str:
    """Return the caption of :func:`plot_folds`, with the least of what is kept and dropped over folds."""
    single = metrics[metrics["regime"].str.startswith("fold=")]
    kept, dropped = (single[single["metric"] == name] for name in ("keep_rate", "drop_rate"))
    worst = dropped.loc[dropped["value"].idxmin()]
    return (
        f"What the certificate keeps of real test windows and drops of planted faults, fold by fold, with limits from "
        f"each fold's validation and hidden blocks. Over {len(kept)} folds it keeps {kept['value'].min():.0%} or more of "
        f"{kept['n'].min():.0f} or more windows; the least it drops is {worst['value']:.0%}, of "
        f"{worst['arm'].replace('_', ' ')} in {worst['regime'].replace('=', ' ')}. Framed: below {AIM:.0%}. Intervals "
        f"over blocks are in metrics.csv."
    )


def plot_manifold(metrics: pd.DataFrame) -> Figure:
    """Draw precision, recall, density and coverage of every set, one row of panels per feature space."""
    rows = metrics[metrics["metric"].isin(MEASURES)]
    spaces = list(dict.fromkeys(rows["regime"]))
    figure, axes = plt.subplots(len(spaces), 4, figsize=(12, 2.2 * len(spaces)), squeeze=False, sharey="row")
    for line, space in zip(axes, spaces, strict=True):
        for ax, measure in zip(line, MEASURES, strict=True):
            part = rows[(rows["regime"] == space) & (rows["metric"] == measure)]
            keys = [row.system or "noise" for row in part.itertuples()]
            place = np.arange(len(part))[::-1]
            ax.barh(place, part["value"], color=[set_colour(key) for key in keys], height=0.65)
            ax.hlines(place, part["low"], part["high"], color="black", lw=1.2)
            ax.set_yticks(place, ["real (ceiling)" if key == "real" else NAMES.get(key, key) for key in keys])
            ax.set_title(measure, fontsize=10)
            ax.grid(axis="y", visible=False)
        line[0].set_ylabel(space.replace("features=", ""), fontsize=9)
    return figure


def plot_planes(planes: pd.DataFrame) -> Figure:
    """Draw the planes of ``checks.embedding``: one panel per space and method.

    Args:
        planes: columns space, method, set, x, y.
    """
    pairs = list(dict.fromkeys(zip(planes["space"], planes["method"], strict=True)))
    methods = list(dict.fromkeys(planes["method"]))
    spaces = list(dict.fromkeys(planes["space"]))
    figure, axes = plt.subplots(
        len(methods), len(spaces), figsize=(4.6 * len(spaces), 3.9 * len(methods)), squeeze=False
    )
    for space, method in pairs:
        ax = axes[methods.index(method)][spaces.index(space)]
        part = planes[(planes["space"] == space) & (planes["method"] == method)]
        for name, dots in part.groupby("set", sort=False):
            mark = {"held_out": "o", "noise": "x"}.get(str(name), ".")
            ax.scatter(dots["x"], dots["y"], s=14, marker=mark, color=set_colour(str(name)), alpha=0.7,
                       lw=0.8, label=set_name(str(name)))  # fmt: skip
        ax.set(title=f"{method}, features: {space}", xticks=[], yticks=[])
    handles, names = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3, fontsize=9)
    return figure


def plot_composition(sets: dict[str, Composition]) -> Figure:
    """Draw class shares, patch sizes and borders between classes of every set.

    Args:
        sets: by system, real maps under ``real``.
    """
    figure = plt.figure(figsize=(12, 6.6))
    upper, lower = figure.subfigures(2, 1, height_ratios=[1, 1.1])
    left, right = upper.subplots(1, 2, width_ratios=[1.3, 1])
    width = 0.8 / len(sets)
    for i, (name, found) in enumerate(sets.items()):
        place = np.arange(len(CLASSES)) + (i - (len(sets) - 1) / 2) * width
        left.bar(place, found.shares.mean(0), width, color=set_colour(name), label=name)
        area = found.patches.sum((0, 1)) * 2.0**OCTAVES
        right.plot(2.0**OCTAVES, area / max(area.sum(), 1), color=set_colour(name), marker=".", label=name)
    left.set_xticks(np.arange(len(CLASSES)), CLASSES, rotation=20, ha="right", fontsize=8)
    left.set(ylabel="mean share of a chip", title="class shares")
    left.legend(fontsize=8)
    right.set_xscale("log", base=2)
    right.set(xlabel="pixels of a patch (octave)", ylabel="share of the area", title="patch sizes")
    tables = {name: border_table(found) for name, found in sets.items()}
    highest = max(table.to_numpy().max() for table in tables.values())
    places = lower.subplots(1, len(sets), squeeze=False)[0]
    for ax, (name, table) in zip(places, tables.items(), strict=True):
        shades = ax.imshow(table, cmap="Blues", vmin=0, vmax=highest)
        ax.set_title(f"borders: {name}", fontsize=9)
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_ticks(range(len(CLASSES)), [c[:5] for c in CLASSES], fontsize=6)
        for tick, colour in zip(ax.get_yticklabels(), COLOURS, strict=True):
            tick.set_color([v / 255 * 0.8 for v in colour])
        ax.grid(visible=False)
    scale = lower.colorbar(shades, ax=places, aspect=12, format="{x:.0%}")
    scale.set_label("share of all borders", fontsize=8)
    scale.ax.tick_params(labelsize=7)
    return figure


def plot_own_and_wrong(scores: pd.DataFrame) -> Figure:
    """Draw how a contrastive model scores images with their own captions and with wrong ones.

    Args:
        scores: long table with ``system``, ``control`` (``own_caption`` first) and ``score`` (cosine).
    """
    order = list(scores["control"].unique())
    names = {control: control.replace("_", " ") for control in order}
    figure, ax = plt.subplots(figsize=(8, 1.2 + 0.9 * scores["system"].nunique()))
    sns.boxplot(
        scores.assign(control=scores["control"].map(names)),
        x="score", y="system", hue="control", hue_order=list(names.values()), orient="h", ax=ax,
        palette=["#0072b2", "#d55e00", "#e69f00", "#cc79a7", "#767676"][: len(order)],
        fliersize=2, linewidth=0.8,
    )  # fmt: skip
    ax.set(xlabel="cosine of image and caption", ylabel="")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=3, fontsize=9)
    return figure
