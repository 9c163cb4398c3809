"""The report's figures, each drawn from small tables and returned with the caption that belongs to it.

A figure whose rows are missing is not drawn: :func:`draw` says which stage would measure them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from groundsynth.arm_names import arm_parts
from groundsynth.artifacts import atomic_path, read_chips, read_table
from groundsynth.errors import GroundsynthError
from groundsynth.legend import colour_map
from groundsynth.report.style import (
    SYSTEM_COLOURS,
    legend_handles,
    save_figure,
    show_figure,
    spread_out,
    system_colour,
)
from groundsynth.report.tables import (
    counted,
    headline,
    interval,
    order_arms,
    pick,
    resampled,
    resampled_words,
)
from groundsynth.seeds import rng
from groundsynth.systems import drawn_pairs

Drawn = tuple[Figure, str]
MOST_ARMS = 16  # that a figure with a point for each arm and class can hold
# what a check must tell from the truth, and what obedience is measured with
CONTROLS = ("swapped_map", "matched_swap", "shuffled_caption", "planted_copy")
#: where the map beside an image comes from, by system
MAP_OF = {
    "real": "the reference map",
    "joint": "made with the image",
    "mask": "given to the generator",
    "image": "read from the image by the labeller",
    "text": "made with the image for what was asked in words or shares",
    "spade": "given to the generator",
    "joint_gan": "made with the image",
}
OBEDIENCE = {"mask_obedience_ratio": "own maps", "mask_obedience_swapped": "each other's\nmaps"}


def draw(
    figure: Callable[..., Drawn], *inputs: object, path: Path, instead: Path | None = None, note: str = ""
) -> bool:
    """Draw, save and show one figure; where its rows are missing, say so and go on.

    Args:
        figure: a function of this module.
        inputs: what it is drawn from.
        path: the PNG to write.
        instead: a finished picture (with its caption) to copy when the inputs are not here, as in a
            published study.
        note: added to the caption.

    Returns:
        whether a figure is there now.
    """
    from IPython.display import Markdown, display

    try:
        drawn, caption = figure(*inputs)
        save_figure(drawn, path, f"{caption} {note}".strip())
    except GroundsynthError as missing:
        if instead is None or not instead.is_file() or instead == path:
            display(Markdown(f"> **Not drawn:** {missing}"))
            return False
        _copy_figure(instead, path)
    show_figure(path)
    return True


def _copy_figure(source: Path, target: Path) -> None:
    for suffix in (".png", ".txt"):
        with atomic_path(target.with_suffix(suffix)) as temporary:
            temporary.write_bytes(source.with_suffix(suffix).read_bytes())


def _need(rows: pd.DataFrame, what: str, stage: str) -> pd.DataFrame:
    if rows.empty:
        raise GroundsynthError(f"metrics.csv has no row of {what}; stage {stage} measures it: run that stage")
    return rows


def _bars(rows: pd.DataFrame) -> np.ndarray:
    """Return error-bar lengths, (2, n); NaN where there is no interval."""
    return np.abs(np.stack([rows["value"] - rows["low"], rows["high"] - rows["value"]]).astype(float))


def _whole(rows: pd.DataFrame, name: str) -> str:
    values = sorted({int(value) for value in rows[name].dropna()})
    return " or ".join(map(str, values)) or "not stated"


def _in_order(rows: pd.DataFrame) -> pd.DataFrame:
    rank = {arm: place for place, arm in enumerate(order_arms(list(rows["arm"].unique())))}
    return rows.sort_values("arm", key=lambda arms: arms.map(rank), ignore_index=True)


# --- what synthetic chips are worth ----------------------------------------------------------


def forest(metrics: pd.DataFrame) -> Drawn:
    """Difference in mIoU of every arm against real chips alone, in percentage points."""
    rows = _in_order(_need(pick(headline(metrics), "delta_miou"), "delta_miou", "07_benchmark_segmentation"))
    rows = rows[rows["arm"] != "real"].iloc[::-1].reset_index(drop=True)
    number = counted(_whole(rows, "n"), resampled(rows))
    figure, axes = plt.subplots(figsize=(8.6, 1.2 + 0.46 * len(rows)))
    axes.axvline(0, color="#333", linewidth=1)
    for place, row in rows.iterrows():
        colour, empty = system_colour(row["arm"]), row["arm"].startswith("synthetic")
        axes.errorbar(
            row["value"] * 100, place, xerr=_bars(rows.loc[[place]]) * 100, fmt="o", color=colour,
            markersize=8, markerfacecolor="white" if empty else colour, capsize=3, linewidth=2,
        )  # fmt: skip
        axes.annotate(
            interval(row, 100, 1, sign=True), (1.01, place), xycoords=("axes fraction", "data"), va="center",
            fontsize=9, color="#444",
        )  # fmt: skip
    axes.set_yticks(range(len(rows)), rows["arm"])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.grid(axis="y", visible=False)
    axes.set(
        xlabel="mIoU minus that of real chips alone (percentage points)", title="Worth of synthetic chips"
    )
    return figure, (
        "Change of a segmenter's mIoU over the primary classes against training on real chips alone, same "
        "augmentation and, but for arms whose names say more, the same optimiser steps. Dots: mean; bars: 95 % interval (Student's) "
        f"over {resampled_words(rows)} (n = {number}, {counted(_whole(rows, 'seeds'), 'seed')}). Filled: real and synthetic "
        "together; hollow: synthetic only. An interval that crosses 0 shows no difference."
    )


def iou_by_class(metrics: pd.DataFrame) -> Drawn:
    """IoU of every class and arm, classes ordered by how much of the training ground they cover."""
    rows = _need(pick(headline(metrics), "iou"), "iou", "07_benchmark_segmentation")
    share = class_share(metrics)
    order = [name for name in share.index if name in set(rows["class"])]
    figure, axes = plt.subplots(figsize=(9, 4.2))
    every = order_arms(list(rows["arm"].unique()))
    arms = every if len(every) <= MOST_ARMS else [arm for arm in every if _is_plain(arm)]
    for k, arm in enumerate(arms):
        part = rows[rows["arm"] == arm].drop_duplicates("class").set_index("class").reindex(order)
        x = np.arange(len(order)) + (k - (len(arms) - 1) / 2) * 0.8 / len(arms)
        hollow = arm.startswith("synthetic")
        axes.errorbar(
            x, part["value"], yerr=_bars(part), fmt="s" if arm == "real" else "o", color=system_colour(arm),
            markerfacecolor="white" if hollow else system_colour(arm), markersize=6, capsize=2, linewidth=1.2,
            label=arm,
        )  # fmt: skip
    pixels = rows.groupby("class")["n"].max()
    names = [f"{name}\n{share[name]:.1%}\nn = {pixels[name]:,}" for name in order]
    axes.set_xticks(range(len(order)), names, fontsize=9)
    axes.set(ylabel="IoU on the test blocks", ylim=(0, None), title="Score per class, common to rare")
    axes.grid(axis="x", visible=False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=9)
    absent = [name for name in share.index if name not in order]
    pooled = rows["regime"].str.contains("folds=").any()  # over blocks, and n counts them
    units = {"block": "test blocks of all folds", "draw": "draws of the labels, each in a fold of its own"}
    unit = units[resampled(rows)] if pooled else "labelled test pixels"
    return figure, (
        "Intersection over union per class and arm; below each class its share of the labelled training pixels "
        f"and n, its {unit}. Bars: 95 % bootstrap intervals over {resampled_words(rows)} ("
        f"{counted(_whole(rows, 'seeds'), 'seed')}) where measured. Squares: real chips only; hollow: synthetic only. "
        f"{('Not in the test blocks: ' + ', '.join(absent) + '.') if absent else ''}"
        f"{f' {len(arms)} of {len(every)} arms; the others are in metrics.csv.' if arms != every else ''}"
    )


def _is_plain(arm: str) -> bool:
    """Say whether an arm is real chips, or a system's alone or beside them, and nothing else is done to it."""
    parts = arm_parts(arm)
    return arm == "real" or (
        bool(parts["kind"]) and not (parts["filter"] or parts["ratio"] or parts["steps"])
    )


def class_share(metrics: pd.DataFrame) -> pd.Series:
    """Return the share of every class in the training split, largest first, indexed by class name."""
    rows = pick(metrics, "class_share", stage="01_prepare_data")
    _need(rows, "class_share", "01_prepare_data")
    train = rows[rows["arm"].eq("train") | rows["regime"].str.contains("train")]
    rows = train if len(train) else rows
    return rows.groupby("class")["value"].mean().sort_values(ascending=False)


# --- is it true, is it real ------------------------------------------------------------------


def agreement_controls(metrics: pd.DataFrame) -> Drawn:
    """How well the controls are told from the truth (AUC), beside how far images obey their map."""
    auc = pick(metrics, "auc")
    tried = auc["regime"].eq("split=val+hidden") | (
        auc["arm"].eq("planted_copy") & auc["regime"].str.startswith("split=")
    )  # where thresholds were set, and what the feature spaces show as well
    auc = _need(auc[auc["arm"].isin(CONTROLS) & ~tried], "auc", "06_ground")
    auc = auc.assign(line=[_line(*row) for row in zip(auc["arm"], auc["regime"], strict=True)])
    obey = metrics[metrics["metric"].isin(OBEDIENCE)]
    obey = obey.assign(line=obey["metric"].map(OBEDIENCE))
    lines = max(auc["line"].nunique(), 2)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 1.5 + 0.75 * lines), width_ratios=(3, 2))
    _dots(left, auc, chance=0.5)
    left.set(xlim=(0, 1.03), xlabel="AUC: own partner against the control's", title="Controls")
    _dots(right, obey, chance=1.0)
    right.set(xlabel="labeller's mIoU, synthetic ÷ real", title="Mask obedience")
    right.set_xlim(0, 1.1 * max(1.0, obey["high"].max(), obey["value"].max()) if len(obey) else 1.1)
    systems = [name for name in SYSTEM_COLOURS if name in {*auc["system"], *obey["system"]}]
    handles = [Patch(color=system_colour(name), label=name) for name in systems]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=9)
    return figure, (
        "Left: how often the checks score a chip's own map or caption above a wrong one given on purpose "
        f"(AUC; dashed line 0.5 = no better than chance; n = {_whole(auc, 'n')}). Right: mIoU between the "
        "map a synthetic image belongs to and the map a labeller trained on real chips reads from it, divided "
        "by the same on real validation chips (dashed line 1 = as legible as real), with the chips' own maps "
        "and with each other's. Bars: 95 % bootstrap intervals where measured."
    )


def _line(arm: str, regime: str) -> str:
    return arm.replace("_", " ") + (f"\n({regime.replace('=', ' ')})" if regime else "")


def _dots(axes: plt.Axes, rows: pd.DataFrame, chance: float) -> None:
    """Draw one line per value of column ``line``, and on it one dot with its interval per system."""
    lines = list(dict.fromkeys(rows["line"]))
    systems = [name for name in SYSTEM_COLOURS if name in set(rows["system"])]
    axes.axvline(chance, color="#333", linestyle="--", linewidth=1)
    for k, system in enumerate(systems):
        part = rows[rows["system"] == system]
        height = [lines.index(line) + (k - (len(systems) - 1) / 2) * 0.18 for line in part["line"]]
        axes.errorbar(
            part["value"], height, xerr=_bars(part), fmt="o", color=system_colour(system), markersize=6,
            capsize=2, linewidth=1.5,
        )  # fmt: skip
    axes.set_yticks(range(len(lines)), lines, fontsize=10)
    axes.set_ylim(-0.6, max(len(lines), 1) - 0.4)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)


def realism(metrics: pd.DataFrame) -> Drawn:
    """Kernel distance and spectrum error per system, beside training chips and shaped noise."""
    kid = _need(pick(metrics, "kid"), "kid", "06_ground")
    parts = [(rows, _space(regime), "kernel distance (KID)") for regime, rows in kid.groupby("regime")]
    spectrum = pick(metrics, "power_spectrum_error")
    spectrum = spectrum[spectrum["stage"] == spectrum["stage"].max()]  # the last stage to measure it
    if len(spectrum):
        parts.append((spectrum, "Radial power spectrum", "mean relative error"))
    figure, axes = plt.subplots(1, len(parts), figsize=(1 + 3.9 * len(parts), 3.9), squeeze=False)
    for place, (rows, title, label) in zip(axes[0], parts, strict=True):
        _realism_bars(place, rows)
        place.set_title(title, fontsize=11)
        place.set_ylabel(label)
        spread_out(place, "y", rows["value"])
    return figure, (
        "How far synthetic images lie from held-out real ones; lower is better. Kernel distance "
        f"(n = {_whole(kid, 'n')} chips a side): 'real' is what training chips reach, noise has "
        "the real spectrum and no structure; bars: 95 % range over random halves. Power spectrum: error "
        "of the energy at each scale, without an interval. Realism is not worth: see the benchmark."
    )


def _space(regime: str) -> str:
    return f"Features: {regime.split('=')[-1].replace('_', ' ')}" if regime else "Kernel distance"


def _realism_bars(axes: plt.Axes, rows: pd.DataFrame) -> None:
    noisy = rows["arm"].str.contains("noise") | rows["system"].str.contains("noise")
    names = rows["system"].where(~noisy, "noise")
    rank = np.where(noisy, 2, np.where(rows["system"] == "real", 0, 1))
    rows = rows.assign(name=names, rank=rank).sort_values(["rank", "name"]).drop_duplicates("name")
    colours = ["#bdbdbd" if name == "noise" else system_colour(name) for name in rows["name"]]
    axes.bar(
        rows["name"], rows["value"], yerr=_bars(rows), capsize=3, color=colours, error_kw={"linewidth": 1.4}
    )
    axes.grid(axis="x", visible=False)
    if len(rows) > 5:  # names that would run into one another
        axes.tick_params(axis="x", labelrotation=35)
        plt.setp(axes.get_xticklabels(), ha="right", rotation_mode="anchor")


def verdicts(certificate: pd.DataFrame, metrics: pd.DataFrame) -> Drawn:
    """Share of synthetic chips kept, and of those dropped for each reason, per system."""
    if certificate.empty:
        raise GroundsynthError(
            "certificate.csv has no row; stage 06_ground writes one per synthetic chip: run it"
        )
    reason = certificate["reason"].where(certificate["verdict"] == "drop", "kept")
    shares = pd.crosstab(certificate["system"], reason, normalize="index")
    order = ["kept", *[name for name in shares.mean().sort_values(ascending=False).index if name != "kept"]]
    shares = shares.reindex(columns=order, fill_value=0.0)
    colours = ["#009e73", "#d55e00", "#e69f00", "#cc79a7", "#56b4e9", "#f0e442", "#999999", "#0072b2"]
    colours = [colours[k % len(colours)] for k in range(len(order))]
    figure, axes = plt.subplots(figsize=(9, 1.6 + 0.5 * len(shares)))
    shares.plot.barh(stacked=True, ax=axes, color=colours, width=0.7, legend=False)
    for container in axes.containers:
        labels = [f"{bar.get_width():.0%}" if bar.get_width() > 0.05 else "" for bar in container]
        axes.bar_label(container, labels, label_type="center", fontsize=9, color="white", weight="bold")
    axes.set(xlim=(0, 1), xlabel="share of synthetic chips", ylabel="", title="Verdicts and reasons")
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9)
    counts = ", ".join(f"{system} {n}" for system, n in certificate["system"].value_counts().items())
    kept = {row["system"]: interval(row, 100, 0) for _, row in pick(metrics, "keep_rate", arm="").iterrows()}
    listed = ", ".join(f"{name} {share}" for name, share in kept.items() if name != "real")
    real = (
        f" Of real windows of the test blocks, which have no bar, {kept['real']}." if "real" in kept else ""
    )
    return figure, (
        "Certificates: share of synthetic chips kept, and of those dropped for each first reason "
        f"(n = {counts} chips). Thresholds come from real validation ground, never from synthetic chips. "
        f"Kept, in per cent with 95 % intervals over chips: {listed or 'not measured'}.{real}"
    )


def read_certificates(root: Path, folds: list[int]) -> pd.DataFrame:
    """Return the certificates of every fold; empty where stage 06 has not run."""
    paths = [root / "06_ground" / f"fold{fold}" / "certificate.csv" for fold in folds]
    tables = [read_table(path, "certificate") for path in paths if path.is_file()]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["system"])


def cost(minutes: pd.DataFrame) -> Drawn:
    """Minutes per stage, measured beside planned (from :func:`tables.minutes_table`)."""
    rows = minutes.dropna(subset=["measured"])
    if rows.empty:
        raise GroundsynthError("no run.json lies beside the notebooks; run the study: snakemake --cores all")
    figure, axes = plt.subplots(figsize=(9, 1 + 0.42 * len(rows)))
    place = np.arange(len(rows))
    axes.barh(place - 0.18, rows["measured"], 0.36, color="#0072b2", label="measured")
    axes.barh(place + 0.18, rows["planned"], 0.36, color="#d9d9d9", label="planned")
    for k, value in zip(place, rows["measured"], strict=True):
        axes.annotate(f" {value:.1f}", (value, k - 0.18), va="center", fontsize=9)
    axes.set_yticks(place, rows["stage"])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set(xlabel="minutes of wall time", title="Cost")
    figure.legend(loc="outside lower center", ncols=2)
    untimed = ", ".join(minutes.loc[minutes["measured"].isna(), "stage"])
    return figure, (
        f"Wall time per stage, measured beside planned, over {int(rows['notebooks'].sum())} notebooks: "
        f"{rows['measured'].sum():.1f} of {rows['planned'].sum():.1f} planned minutes. Highest memory of a "
        f"stage: {rows['peak_rss_mb'].max() / 1024:.1f} GiB (whole process tree). Single measurement."
        f"{f' Not in these sums, as its time is not known yet: {untimed}.' if untimed else ''}"
    )


# --- pictures --------------------------------------------------------------------------------


def side_by_side(panels: dict[str, tuple[np.ndarray, np.ndarray]], columns: int = 4) -> Drawn:
    """Draw real pairs beside each system's pairs, one panel each.

    Args:
        panels: name to images (n, h, w, 3) uint8 and maps (n, h, w) uint8, drawn at random.
        columns: pairs per row of a panel.
    """
    n = len(next(iter(panels.values()))[0])
    rows = -(-n // columns)
    figure, axes = plt.subplots(1, len(panels), figsize=(3.4 * len(panels), 1.66 * rows + 0.7), squeeze=False)
    figure.get_layout_engine().set(wspace=0.03)
    for place, (name, (images, maps)) in zip(axes[0], panels.items(), strict=True):
        place.imshow(mosaic(images, maps, columns), interpolation="nearest")
        place.set_title(name, color=system_colour(name), loc="center")
        place.set_axis_off()
    no_label = any((maps == 255).any() for _, maps in panels.values())
    figure.legend(handles=legend_handles(no_label), loc="outside lower center", ncols=8, fontsize=9)
    counts = ", ".join(f"{len(images)} {name}" for name, (images, _) in panels.items())
    maps_from = ", ".join(f"{words} ({name})" for name, words in MAP_OF.items() if name in panels)
    return figure, (
        f"Drawn at random, not chosen: {counts} chips, each image above its map. Maps: {maps_from}. "
        "Real chips are of any split; they overlap where they are training chips."
    )


def mosaic(images: np.ndarray, maps: np.ndarray, columns: int, gap: int = 3) -> np.ndarray:
    """Return one picture of image–map pairs, (H, W, 3) uint8 on white; each map below its image."""
    n, height, width, _ = images.shape
    rows = -(-n // columns)
    tall = 2 * height + 1 + 2 * gap
    canvas = np.full((rows * tall - 2 * gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    colours = colour_map(maps)
    for k in range(n):
        top, left = k // columns * tall, k % columns * (width + gap)
        canvas[top : top + height, left : left + width] = images[k]
        canvas[top + height + 1 : top + 2 * height + 1, left : left + width] = colours[k]
    return canvas


def random_pairs(
    root: Path, fold: int, generators: list[str], systems: list[str], pairs: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return ``pairs`` random real chips, of any split, and as many of each system (fewer where there are fewer).

    Which ones depends on the study's names only, so a rerun shows the same chips.

    Raises:
        GroundsynthError: the chips are not here (a published study carries the figure instead).
    """
    panels = {"real": _real_pairs(root, fold, pairs)}
    first = {system: generator for generator, system in reversed(drawn_pairs(generators, systems))}
    for system in systems:
        path = root / "03_generate" / f"fold{fold}" / first[system] / system / "0" / "chips.parquet"
        chips = _some(read_chips(path, "synthetic"), pairs, system)
        if all((np.asarray(mask) == 255).all() for mask in chips["mask"]):
            labels = root / "04_label" / f"fold{fold}" / "labels.parquet"
            wanted = set(chips["chip_id"])
            read = read_chips(labels, "labels", lambda t, w=wanted: t["chip_id"].isin(w)).set_index("chip_id")
            chips["mask"] = read["mask"].reindex(chips["chip_id"]).to_list()
        panels[system] = np.stack(chips["image"]), np.stack(chips["mask"])
    fewest = min(len(images) for images, _ in panels.values())
    return {name: (images[:fewest], maps[:fewest]) for name, (images, maps) in panels.items()}


def _real_pairs(root: Path, fold: int, pairs: int) -> tuple[np.ndarray, np.ndarray]:
    path = root / "01_prepare_data" / f"fold{fold}" / "chips.parquet"
    chips = _some(read_chips(path, "real", lambda t: t["split"] != "region"), pairs, "real")
    return np.stack(chips["image"]), np.stack(chips["mask"])


def _some(chips: pd.DataFrame, count: int, name: str) -> pd.DataFrame:
    chosen = rng("report pairs", name).permutation(len(chips))[:count]
    return chips.iloc[chosen].reset_index(drop=True)


def pairs_figure(root: Path, fold: int, generators: list[str], systems: list[str], pairs: int) -> Drawn:
    """Random real pairs beside generated ones (see :func:`random_pairs`)."""
    return side_by_side(random_pairs(root, fold, generators, systems, pairs))
