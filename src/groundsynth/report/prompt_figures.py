"""Figures of what generators are asked for: a chip in words under its turns, one prompt, asked against drawn."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from groundsynth.legend import CLASSES, COLOURS, NUM_CLASSES, SHARE_COLUMNS, class_shares, colour_map
from groundsynth.report.style import legend_handles

ON = {"map": "share drawn,\non the generated map", "label": "share read off\nthe image"}
WORDS_WIDTH = 68  # letters per line beside a picture


def plot_turned(images: Sequence[np.ndarray], maps: Sequence[np.ndarray], texts: Sequence[str]) -> Figure:
    """Draw versions of one chip, each image and map with its caption beside them.

    Args:
        images: n of (h, w, 3) uint8; maps: n of (h, w) uint8; texts: n captions.
    """
    figure, axes = plt.subplots(
        len(texts),
        3,
        figsize=(8.6, 1.75 * len(texts) + 0.3),
        width_ratios=(1, 1, 2.6),
        squeeze=False,
        layout="constrained",
    )
    for row, image, labels, text in zip(axes, images, maps, texts, strict=True):
        row[0].imshow(image, interpolation="nearest")
        row[1].imshow(colour_map(labels), interpolation="nearest")
        row[2].text(0, 0.5, textwrap.fill(text, WORDS_WIDTH), va="center", fontsize=8.5)
        for cell in row:
            cell.set_axis_off()
    figure.legend(handles=legend_handles(), loc="outside lower center", ncols=7, fontsize=8, handlelength=1)
    return figure


def describe_request(row: pd.Series) -> str:
    """Return a request in words: its prompt, and the shares that were given, largest first."""
    shares = row[list(SHARE_COLUMNS)].astype(float)
    given = shares[shares >= 0.005].sort_values(ascending=False)
    listed = ", ".join(f"{CLASSES[int(name[-1])]} {value:.0%}" for name, value in given.items())
    parts = [f"\u201c{row['prompt']}\u201d"] * bool(row["prompt"]) + [f"Shares: {listed}."] * bool(listed)
    return " ".join(parts) or "Nothing was asked."


def plot_one_prompt(request: str, images: np.ndarray, maps: np.ndarray) -> Figure:
    """Draw a request in words and the pairs that were drawn for it.

    Args:
        request: what was asked, see :func:`describe_request`.
        images: (n, h, w, 3) uint8; maps: (n, h, w) uint8.
    """
    n = len(images)
    figure = plt.figure(figsize=(1.15 * n + 0.2, 3.7), layout="none")
    grid = figure.add_gridspec(2, n, top=0.74, bottom=0.12, left=0.01, right=0.99, wspace=0.05, hspace=0.05)
    figure.text(0.5, 0.97, textwrap.fill(request, 14 * n), ha="center", va="top", fontsize=9.5)
    for column in range(n):
        for row, picture in enumerate((images[column], colour_map(maps[column]))):
            cell = figure.add_subplot(grid[row, column])
            cell.imshow(picture, interpolation="nearest")
            cell.set_axis_off()
    figure.legend(handles=legend_handles(), loc="lower center", ncols=7, fontsize=8, handlelength=1)
    return figure


def plot_held(shares: np.ndarray, free: np.ndarray, held: np.ndarray, images: np.ndarray) -> Figure:
    """Draw n requests in shares, and the maps of the same seeds left free and held to them.

    Args:
        shares: (n, 7) asked for; NaN where a caption asked.
        free, held: (n, h, w) uint8 maps; images: (n, h, w, 3) uint8, beside the held maps.
    """
    n = len(held)
    figure = plt.figure(figsize=(1.25 * n + 1.2, 5.6), layout="none")
    grid = figure.add_gridspec(
        4,
        n,
        height_ratios=(0.55, 1, 1, 1),
        top=0.98,
        bottom=0.08,
        left=0.09,
        right=0.995,
        wspace=0.06,
        hspace=0.05,
    )
    for column in range(n):
        bars = figure.add_subplot(grid[0, column])
        drawn = [np.array(class_shares(labels[column])) for labels in (free, held)]
        for place, row in zip((2, 1, 0), (np.nan_to_num(shares[column]), *drawn), strict=True):
            ends = np.append(0.0, np.cumsum(row))
            colours = [np.array(colour) / 255 for colour in COLOURS]
            bars.barh(np.full(NUM_CLASSES, place), row, 0.8, ends[:-1], color=colours)
        bars.set(xlim=(0, 1), ylim=(-0.5, 2.5), xticks=[], yticks=[2, 1, 0])
        bars.set_yticklabels(["asked", "free", "held"] if column == 0 else [], fontsize=9)
        if np.isnan(shares[column]).all():
            bars.text(0.5, 2, "in words, or nothing", ha="center", va="center", fontsize=8, color="#555555")
        bars.tick_params(length=0)
        for row, picture in enumerate((colour_map(free[column]), colour_map(held[column]), images[column])):
            cell = figure.add_subplot(grid[row + 1, column])
            cell.imshow(picture, interpolation="nearest")
            cell.set(xticks=[], yticks=[])
            if column == 0:
                name = ("map, free", "map, held", "image, held")[row]
                cell.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    figure.legend(handles=legend_handles(), loc="lower center", ncols=7, fontsize=8, handlelength=1)
    return figure


def plot_origins(origins: Sequence[str], images: np.ndarray, maps: np.ndarray) -> Figure:
    """Draw one request from several origins, a row of images over a row of maps each, one column per seed.

    Args:
        origins: k in words; images: (k, n, h, w, 3) uint8; maps: (k, n, h, w) uint8.
    """
    k, n = images.shape[:2]
    figure, axes = plt.subplots(
        2 * k, n, figsize=(1.15 * n + 1.6, 2.3 * k + 0.4), squeeze=False, layout="constrained"
    )
    for row, cells in enumerate(axes):
        pictures = images[row // 2] if row % 2 == 0 else [colour_map(labels) for labels in maps[row // 2]]
        for cell, picture in zip(cells, pictures, strict=True):
            cell.imshow(picture, interpolation="nearest")
            cell.set(xticks=[], yticks=[])
        if row % 2 == 0:
            cells[0].set_ylabel(
                textwrap.fill(origins[row // 2], 16), rotation=0, ha="right", va="center", fontsize=9
            )
    figure.legend(handles=legend_handles(), loc="outside lower center", ncols=7, fontsize=8, handlelength=1)
    return figure


def plot_asked(shares: pd.DataFrame, classes: Sequence[str]) -> Figure:
    """Draw asked against drawn shares, one column per class, on the map above and on the label below.

    Args:
        shares: from ``checks.prompt_control.drawn_shares``; classes: names of those that are shown.
    """
    figure, axes = plt.subplots(
        2, len(classes), figsize=(1.9 * len(classes) + 0.8, 4.4), sharex="col", sharey="col", squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for row, (on, words) in zip(axes, ON.items(), strict=True):
        for cell, name in zip(row, classes, strict=True):
            part = shares[(shares["on"] == on) & (shares["class"] == name)]
            for kind, marker in (("rare", "^"), ("other", "o")):
                some = part[(part["kind"] == "rare") == (kind == "rare")]
                colour = np.array(COLOURS[CLASSES.index(name)]) / 255 * 0.85
                cell.scatter(
                    some["asked"], some["drawn"], s=9, alpha=0.5, color=colour, marker=marker, linewidths=0
                )
            end = max(part[["asked", "drawn"]].to_numpy().max(initial=0.01), 0.01)
            cell.plot([0, end], [0, end], color="#888888", linewidth=0.8)
            cell.tick_params(labelsize=8)
            if on == "map":
                cell.set_title(name, fontsize=10, weight="normal", loc="center")
        row[0].set_ylabel(words, fontsize=9)
    figure.supxlabel("share asked for", fontsize=10)
    return figure


def asked_caption(shares: pd.DataFrame) -> str:
    """Return the caption of :func:`plot_asked`."""
    kinds = shares.drop_duplicates("chip_id")["kind"].value_counts(sort=False)
    listed = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    return (
        f"Class shares that {shares['chip_id'].nunique()} samples of system 'text' were asked for ({listed}) and those "
        "they show: on the generated map above, as the labeller reads the image below. Triangles: samples asked for "
        "more of a rare class. The grey line is perfect control; classes over 1 % of the training ground."
    )


def prompt_findings(metrics: pd.DataFrame) -> str:
    """Return what prompt control amounts to in a sentence or two per kind, read from metric rows."""
    mean = metrics[(metrics["metric"] == "share_skill") & (metrics["class"] == "")]
    ceiling = mean.loc[mean["system"] == "real", "value"]
    lines = []
    for arm, part in mean[mean["system"] == "text"].groupby("arm", sort=False):
        if ":other" in arm:
            continue
        on = part.set_index("regime")["value"]
        control = mean[mean["arm"] == f"{arm}:other"].set_index("regime")["value"]
        lines.append(
            f"- Asked for *{arm}*: share skill {on['on=map']:.2f} on the map and {on['on=label']:.2f} on the image "
            f"(held against another sample's request: {control['on=map']:.2f} and {control['on=label']:.2f}; the "
            f"labeller's own on real chips: {ceiling.iloc[0]:.2f})."
        )
    return "\n".join(lines + _rare_findings(metrics) + _origin_findings(metrics))


def _origin_findings(metrics: pd.DataFrame) -> list[str]:
    rows = metrics[metrics["metric"] == "origin_accuracy"]
    lines = []
    for regime, part in rows.groupby("regime", sort=False):
        of = part.set_index(["system", "arm"])[["value", "low", "high"]]
        for system, arm in of.index:
            if system == "real" or arm.endswith(":other"):
                continue
            lines.append(
                f"- Asked for a {regime.removeprefix('field=')} ({arm}): {_percent(of.loc[(system, arm)])} of the images are "
                f"told to be from there by who knows real chips (real chips themselves: {_percent(of.loc[('real', '')])}; "
                f"held against the origin of another request: {_percent(of.loc[(system, arm + ':other')])})."
            )
    return lines


def _percent(row: pd.Series) -> str:
    ends = "" if pd.isna(row["low"]) else f" [{100 * row['low']:.0f}, {100 * row['high']:.0f}]"
    return f"{100 * row['value']:.0f} %{ends}"


def _rare_findings(metrics: pd.DataFrame) -> list[str]:
    gain = metrics[metrics["metric"] == "rare_share_gain"]
    over_ground = gain["regime"] == "prior=ground"
    lines = []
    for part, words in (
        (gain[~over_ground], "the confirmed ground it has without a request"),
        (gain[over_ground], "its true share of the ground"),
    ):
        if "" not in part["class"].to_numpy():
            continue
        by_class = part.set_index("class")[["value", "low", "high"]]
        listed = ", ".join(f"{name} {_times(row)}" for name, row in by_class.drop("").iterrows())
        lines.append(
            f"- Where more of a rare class was asked for, its confirmed ground is {_times(by_class.loc[''])} {words}"
            f"{f' ({listed})' if listed else ''}."
        )
    for change in metrics[metrics["metric"] == "rare_kappa_change"].itertuples():
        lines.append(
            f"- Kappa of map and image changes by {change.value:+.2f} [{change.low:+.2f}, {change.high:+.2f}] when a "
            "rare class is asked for."
        )
    return lines


def _times(row: pd.Series) -> str:
    return f"{row['value']:.1f} times [{row['low']:.1f}, {row['high']:.1f}]"
