"""Figures of stages 05 and 06: captions and their claims, agreement, texture, distances, certificates."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from groundsynth.checks.certificate import measured_criteria
from groundsynth.checks.claims import FALSE, TRUE, UNKNOWN, check_caption
from groundsynth.checks.memorisation import turn_and_flip
from groundsynth.checks.spectrum import radial_power_spectrum
from groundsynth.legend import colour_map
from groundsynth.report.style import legend_handles, spread_out, system_colour

#: Okabe and Ito's blue, vermilion and grey, with a sign each for readers who see no colours
VERDICT_STYLE = {TRUE: ("#0072b2", "✓"), FALSE: ("#d55e00", "✗"), UNKNOWN: ("#767676", "–")}
NOISE_COLOUR = "#8b6914"  # none of the systems has it
NAMES = {"noise": "spectrum-matched noise", "held_out": "real, held out", "real": "real, training"}


def _picture(axes: plt.Axes, pixels: np.ndarray, title: str = "") -> None:
    axes.imshow(pixels, interpolation="nearest")
    axes.set_title(title, fontsize=9, weight="normal", loc="center", pad=3)
    axes.set_axis_off()


def set_name(key: str) -> str:
    return NAMES.get(key, f"system '{key}'")


def set_colour(key: str) -> str:
    return NOISE_COLOUR if key == "noise" else system_colour("real" if key == "held_out" else key)


def _two(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.2f}"


def plot_captions(
    images: np.ndarray, maps: np.ndarray, captions: Sequence[str], checked_on: np.ndarray | None = None,
    titles: Sequence[str] | None = None,
) -> Figure:  # fmt: skip
    """Draw chips with their maps, captions, and each claim with its verdict.

    Args:
        images: (n, h, w, 3) uint8; maps: (n, h, w) uint8, shown beside them.
        captions: n texts; checked_on: (n, h, w) the maps claims are checked against (default: ``maps``).
        titles: n short titles.
    """
    against = maps if checked_on is None else checked_on
    n = len(images)
    extra = checked_on is not None
    ratios = [1.0] * (3 if extra else 2) + [4.2]
    figure, axes = plt.subplots(
        n, len(ratios), figsize=(12, 1.75 * n + 0.5), width_ratios=ratios, squeeze=False
    )
    for i, row in enumerate(axes):
        _picture(row[0], images[i], titles[i] if titles else "")
        _picture(row[1], colour_map(maps[i]), "map" if extra and i == 0 else "")
        if extra:
            _picture(row[2], colour_map(checked_on[i]), "labeller's reading" if i == 0 else "")
        _write_claims(row[-1], captions[i], against[i])
    figure.legend(handles=legend_handles(), loc="outside lower center", ncols=7, fontsize=9, handlelength=1)
    return figure


def _write_claims(axes: plt.Axes, caption: str, labels: np.ndarray) -> None:
    """Write a caption and, below it, its claims in two columns, coloured by verdict."""
    axes.set_axis_off()
    lines = textwrap.wrap(caption, 92)
    axes.text(0, 1.0, "\n".join(lines), va="top", fontsize=8.5, transform=axes.transAxes)
    claims = check_caption(caption, labels)
    rows = -(-len(claims) // 3) or 1
    top = 0.94 - 0.105 * len(lines)
    for i, (claim, verdict) in enumerate(claims):
        colour, sign = VERDICT_STYLE[verdict]
        place = (0.34 * (i // rows), top - 0.1 * (i % rows))
        axes.text(
            *place, f"{sign} {claim}", color=colour, fontsize=7.5, va="top", transform=axes.transAxes
        )  # fmt: skip


def plot_spectra(sets: dict[str, np.ndarray]) -> Figure:
    """Draw the radial power spectrum of each set, and its ratio to the held-out real one.

    Args:
        sets: (n, h, w, 3) uint8 chips by system; ``held_out`` is the reference, ``noise`` the control.
    """
    spectra = {name: radial_power_spectrum(images) for name, images in sets.items()}
    reference = spectra["held_out"]
    cycles = np.arange(1, len(reference) + 1)
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8))
    for name, spectrum in spectra.items():
        style = {"color": set_colour(name), "lw": 1.8, "ls": "--" if name in ("real", "noise") else "-"}
        left.loglog(cycles, spectrum, label=set_name(name), **style)
        if name != "held_out":
            right.semilogx(cycles, spectrum / reference, **style)
    right.axhspan(0.75, 1.25, color="#888888", alpha=0.15, lw=0)
    right.axhline(1, color=set_colour("held_out"), lw=1)
    left.set(xlabel="cycles per chip", ylabel="power (grey levels²)")
    right.set(xlabel="cycles per chip", ylabel="ratio to real, held out", ylim=(0, None))
    figure.legend(loc="outside lower center", ncols=3, fontsize=9)
    return figure


def plot_distances(metrics: pd.DataFrame) -> Figure:
    """Draw the kernel distance of each system to held-out real chips, beside training chips and the noise.

    Args:
        metrics: rows ``kid`` of the table of numbers (``regime`` names the feature space).
    """
    rows = metrics[metrics["metric"] == "kid"]
    spaces = list(dict.fromkeys(rows["regime"]))
    figure, axes = plt.subplots(1, len(spaces), figsize=(11, 3.4), squeeze=False)
    for ax, space in zip(axes[0], spaces, strict=True):
        part = rows[rows["regime"] == space].reset_index(drop=True)
        keys = [row.system or "noise" for row in part.itertuples()]
        position = np.arange(len(part))[::-1]
        ax.barh(position, part["value"], color=[set_colour(key) for key in keys], height=0.6)
        ax.hlines(position, part["low"], part["high"], color="black", lw=1.2)
        ax.set_yticks(position, ["real, training" if key == "real" else set_name(key) for key in keys])
        ax.set(xlabel="kernel distance to held-out real chips", title=space.replace("features=", ""))
        spread_out(ax, "x", part["value"])
        ax.axvline(0, color="black", lw=0.8)
        ax.grid(axis="y", visible=False)
    return figure


def plot_neighbours(
    chips: np.ndarray, nearest: np.ndarray, codes: Sequence[int], titles: Sequence[str]
) -> Figure:
    """Draw chips above their nearest training windows, the chips turned and flipped to lie upon them.

    Args:
        chips, nearest: (n, h, w, 3) uint8; codes: n turn-and-flip codes; titles: n short titles.
    """
    figure, axes = plt.subplots(2, len(chips), figsize=(1.35 * len(chips), 3.3), squeeze=False)
    for i, (upper, lower) in enumerate(axes.T):
        _picture(upper, turn_and_flip(chips[i], codes[i]), titles[i])
        _picture(lower, nearest[i])
    for ax, text in zip(axes[:, 0], ("chip", "nearest training window"), strict=True):
        ax.text(-0.08, 0.5, text, rotation=90, ha="right", va="center", fontsize=8, transform=ax.transAxes)
    return figure


def plot_patch_pairs(
    pairs: dict[str, tuple[np.ndarray, np.ndarray]], titles: dict[str, Sequence[str]]
) -> Figure:
    """Draw small pieces of images above the training patches nearest to them, one pair of rows per set.

    Args:
        pairs: by set, pieces and training patches, (n, s, s, 3) uint8 each; titles: n short titles each.
    """
    count = max(len(pieces) for pieces, _ in pairs.values())
    figure, axes = plt.subplots(2 * len(pairs), count, figsize=(1.2 * count, 2.9 * len(pairs)), squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for number, (name, both) in enumerate(pairs.items()):
        rows = axes[2 * number : 2 * number + 2]
        above = [titles[name], [""] * count]
        for row, pieces, words, text in zip(rows, both, above, (name, "nearest in training"), strict=True):
            for ax, piece, title in zip(row, pieces, words, strict=False):
                _picture(ax, piece, title)
            row[0].text(
                -0.08, 0.5, text, rotation=90, ha="right", va="center", fontsize=8, transform=row[0].transAxes
            )
    return figure


def plot_nearest(distances: dict[str, np.ndarray], threshold: float) -> Figure:
    """Draw the distribution of the distance to the nearest training window for each set of chips.

    Args:
        distances: (n,) by system, ``held_out`` and ``planted``; threshold: lowest distance kept.
    """
    figure, ax = plt.subplots(figsize=(9.6, 3.4))
    names = {"held_out": "real, held out", "planted": "planted copies"}
    for name, values in distances.items():
        colour = "#111111" if name == "planted" else set_colour(name)
        style = {"color": colour, "lw": 1.8, "ls": ":" if name == "planted" else "-"}
        ax.ecdf(np.asarray(values), label=names.get(name, set_name(name)), **style)
    ax.axvline(threshold, color="black", lw=1, ls="--")
    ax.text(threshold, 1.02, "kept from here", ha="left", va="bottom", fontsize=8)
    ax.set(xlabel="1 - correlation with the nearest training window", ylabel="share of chips")
    figure.legend(loc="outside right center", fontsize=9)
    return figure


def plot_certificates(
    images: np.ndarray, maps: np.ndarray, readings: np.ndarray, table: pd.DataFrame
) -> Figure:
    """Draw chips, maps, readings and what their certificates say, one column per chip.

    Args:
        images: (n, h, w, 3); maps: (n, h, w) given; readings: (n, h, w) the labeller's; all uint8.
        table: n rows of table ``certificate`` with a column ``rank`` that says which these are.
    """
    figure, axes = plt.subplots(4, len(images), figsize=(1.75 * len(images), 7.2), squeeze=False,
                                height_ratios=[1, 1, 1, 1.25])  # fmt: skip
    for i, row in enumerate(table.itertuples()):
        column = axes[:, i]
        _picture(column[0], images[i], f"{row.rank}\n{row.system}")
        if row.system == "image":  # it came without a map; the labeller's stands below
            column[1].set_axis_off()
            column[1].text(0.5, 0.5, "none", ha="center", va="center", fontsize=8)
        else:
            _picture(column[1], colour_map(maps[i]))
        _picture(column[2], colour_map(readings[i]))
        column[3].set_axis_off()
        good = row.verdict == "keep"
        text = [
            f"map fit {_two(row.map_fit)}", f"shares in common {_two(row.map_shares)}", f"caption of map {_two(row.caption_of_map)}",
            f"caption of image {_two(row.caption_of_image)}", f"trust {_two(row.trust)}",
            f"copy distance {_two(row.nearest_train)}", f"patch distance {_two(row.nearest_patch)}",
            f"unlike real {_two(row.unlike_real)}",
        ]  # fmt: skip
        column[3].text(0.02, 1, "\n".join(text), va="top", fontsize=8, transform=column[3].transAxes)
        verdict = textwrap.fill("keep" if good else f"drop: {row.reason}", 20)
        colour = VERDICT_STYLE[TRUE if good else FALSE][0]
        column[3].text(0.02, 0.3, verdict, va="top", fontsize=8, color=colour, weight="bold",
                       transform=column[3].transAxes)  # fmt: skip
    for ax, text in zip(axes[:3, 0], ("image", "given map", "labeller's reading"), strict=True):
        ax.text(-0.08, 0.5, text, rotation=90, ha="right", va="center", fontsize=8, transform=ax.transAxes)
    figure.legend(handles=legend_handles(), loc="outside lower center", ncols=7, fontsize=8, handlelength=1)
    return figure


def rank_rows(table: pd.DataFrame, each: int) -> pd.DataFrame:
    """Return the best, middle and worst ``each`` chips by rank over all criteria, named in ``rank``.

    A chip's rank is the mean of its percentiles over the criteria, the better the higher. Where chips were dropped,
    those that fell furthest take the place of the worst: one bad criterion drops a chip, whatever its mean.
    """
    percentiles = [table[c.column].rank(pct=True, ascending=not c.at_most) for c in measured_criteria(table)]
    order = table.assign(score=pd.concat(percentiles, axis=1).mean(axis=1)).sort_values(
        "score", ascending=False, kind="stable"
    )
    n, dropped = len(order), order[order["verdict"] != "keep"]
    if n < 3:
        return order.assign(rank="best")
    each = max(1, min(each, n // 3))
    kept = order.drop(dropped.index)
    rest = kept if len(kept) >= 2 * each else order
    start = (len(rest) - each) // 2
    parts = {"best": rest.head(each), "median": rest.iloc[start : start + each]}
    parts |= {"dropped": dropped.tail(each)} if len(dropped) else {"worst": order.tail(each)}
    return pd.concat([part.assign(rank=name) for name, part in parts.items()])
