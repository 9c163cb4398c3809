"""The figure of a comparison of labellers: all on validation, the chosen one on test."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from groundsynth.legend import CLASSES
from groundsynth.report.style import CLASS_COLOURS, system_colour
from groundsynth.report.tables import counted, interval


def _parts(metrics: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series, pd.DataFrame]:
    """Return the validation rows by architecture, the chosen one's test row, and its rows per class."""
    named = metrics.assign(
        split=metrics["regime"].str.extract(r"split=(\w+)")[0],
        architecture=metrics["regime"].str.extract(r"architecture=(\w+)")[0],
    )
    val = named.query("metric == 'labeller_miou' and split == 'val'").set_index("architecture")
    test = named.query("metric == 'labeller_miou' and split == 'test'").iloc[0]
    return val, test, named.query("metric == 'labeller_iou' and split == 'test'").set_index("class")


def comparison_figure(metrics: pd.DataFrame) -> Figure:
    """Draw validation mIoU per architecture, and the chosen one's test IoU per class.

    Args:
        metrics: the rows of ``benchmark.labeller_comparison``.
    """
    val, test, classes = _parts(metrics)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
    y = -np.arange(len(val))
    left.hlines(y, val["low"], val["high"], color="#8c8c8c", lw=2)
    colours = ["#d55e00" if name == test["architecture"] else system_colour("real") for name in val.index]
    left.scatter(val["value"], y, c=colours, zorder=3)
    left.set_yticks(y, val.index)
    left.set(xlabel="mIoU, primary classes", title="Validation: all", xlim=(0, None))
    known = classes.reindex(CLASSES)
    right.bar(range(len(CLASSES)), known["value"], color=CLASS_COLOURS, edgecolor="#555")
    right.vlines(range(len(CLASSES)), known["low"], known["high"], color="#222222", lw=1.5)
    right.set_xticks(range(len(CLASSES)), CLASSES, rotation=30, ha="right", fontsize=9)
    right.set(ylabel="IoU", ylim=(0, 1), title=f"Test, once: {test['architecture']}")
    return figure


def comparison_caption(metrics: pd.DataFrame) -> str:
    """Return the caption of :func:`comparison_figure`, every number read from the rows."""
    val, test, classes = _parts(metrics)
    absent = ", ".join(classes.index[classes["value"].isna()]) or "none"
    scores = ", ".join(f"{name} {interval(row)}" for name, row in val.iterrows())
    return (
        f"Labellers trained on the training blocks, {counted(val['seeds'].iloc[0], 'seed')} each, {val['n'].iloc[0]} "
        "validation "
        f"blocks, mIoU over the primary classes with 95 % intervals over blocks × seeds: {scores}. The best, "
        f"{test['architecture']} (orange), was tested once: {interval(test)} on {test['n']} test blocks; right, "
        f"its IoU per class there (not in the test blocks: {absent})."
    )
