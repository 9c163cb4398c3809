"""Figures and findings of stage 08, from its small tables."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from groundsynth.errors import GroundsynthError
from groundsynth.report.benchmark_figures import MARKS, arm_kind
from groundsynth.report.caption_table import captions_side_by_side
from groundsynth.report.style import system_colour
from groundsynth.report.tables import counted, interval, pick, reading

PANELS = {
    "cider": "CIDEr-D",
    "claim_precision": "claim precision",
    "claim_recall": "claim recall",
    "dominance_balanced_accuracy": "dominant class,\nbalanced accuracy",
}
CONTROL = "#8c8c8c"
LINES = ("-", "--", ":", "-.")  # of curves that share a colour
STAGE = "08_benchmark_captioning"
TITLES = {
    "bleu4": "BLEU-4", "rouge_l": "ROUGE-L", "cider": "CIDEr-D", "meteor": "METEOR",
    "claim_precision": "claim precision", "claim_recall": "claim recall",
    "dominance_balanced_accuracy": "dominant class", "delta_cider": "CIDEr-D against real",
    "delta_claim_precision": "claim precision against real",
}  # fmt: skip


def _colour(arm: str) -> str:
    return CONTROL if arm in ("constant", "real:shuffled_image") else system_colour(arm)


def caption_score_panels(metrics: pd.DataFrame, style: str) -> Figure:
    """Draw word overlap and truth per arm side by side, with 95 % intervals; controls are grey.

    Args:
        metrics: of stage 08; style: how shares were printed.
    """
    rows = metrics[(metrics["stage"] == STAGE) & (metrics["regime"] == f"style={style}")]
    arms = list(dict.fromkeys(rows["arm"]))[::-1]
    figure, axes = plt.subplots(1, len(PANELS), figsize=(11, 0.45 * len(arms) + 1.6), sharey=True)
    for axis, (metric, title) in zip(axes, PANELS.items(), strict=True):
        for row in pick(rows, metric).itertuples():
            y, colour = arms.index(row.arm), _colour(row.arm)
            if pd.notna(row.low):
                axis.plot([row.low, row.high], [y, y], color=colour, lw=2)
            kind = "x" if colour == CONTROL else MARKS[arm_kind(row.arm)]
            axis.plot(row.value, y, kind, color=colour, ms=7)
        axis.set_title(title, fontsize=10)
        axis.set_xlim(left=0)
    axes[0].set(yticks=range(len(arms)), yticklabels=arms)
    return figure


def report_scores(metrics: pd.DataFrame) -> tuple[Figure, str]:
    """Return the report's figure of stage 08 and its caption; shares in words where there are such captions.

    Raises:
        GroundsynthError: no row of that stage.
    """
    rows = metrics[metrics["stage"] == STAGE]
    if rows.empty:
        raise GroundsynthError(f"metrics.csv has no row of stage {STAGE}: run that stage")
    styles = list(dict.fromkeys(rows["regime"].str.partition("style=")[2].str.partition(";")[0]))
    style = "words" if "words" in styles else styles[0]
    rows = rows[rows["regime"] == f"style={style}"]
    blocks, seeds = (sorted({int(k) for k in rows[name].dropna()}) for name in ("n", "seeds"))
    return caption_score_panels(rows, style), (
        "Captioners by what they were trained on: words shared with references (CIDEr-D), and claims held against the "
        f"map, on real test chips; shares printed in {style}. 95 % intervals over blocks × seeds (n = "
        f"{' or '.join(map(str, blocks))} blocks, {counted(' or '.join(map(str, seeds)), 'seed')}). Crosses: the constant answer, "
        "and arm real shown another block's image."
    )


def captioning_table(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return one row per arm and style: scores with 95 % intervals as text; METEOR as 'not computed' without Java."""
    rows = metrics[(metrics["stage"] == STAGE) & (metrics["arm"] != "constant")]
    table = []
    for (regime, arm), part in rows.groupby(["regime", "arm"], sort=False):
        found = {row["metric"]: row for _, row in part.iterrows()}
        line = {"trained on": arm, "shares": regime.removeprefix("style=")}
        for metric, title in TITLES.items():
            row = found.get(metric)
            absent = "not computed" if metric == "meteor" else "–"
            line[title] = absent if row is None or pd.isna(row["value"]) else interval(row, digits=2)
        table.append(line)
    return pd.DataFrame(table)


def captioner_curves(history: pd.DataFrame) -> Figure:
    """Draw validation claim F1 against the step per arm: mean over seeds, band from lowest to highest.

    Arms of one system share its colour; mark and line tell them apart.
    """
    figure, axis = plt.subplots(figsize=(8.5, 3.6))
    drawn: list[str] = []
    for (style, arm), group in history.groupby(["style", "arm"], sort=False):
        curve = group.groupby("step")["val_f1"].agg(["mean", "min", "max"])
        label = arm if len(set(history["style"])) == 1 else f"{arm}, {style}"
        colour = system_colour(arm)
        line = LINES[drawn.count(colour) % len(LINES)]
        axis.plot(
            curve.index, curve["mean"], marker=MARKS[arm_kind(arm)], ms=5, ls=line, color=colour, label=label
        )
        axis.fill_between(curve.index, curve["min"], curve["max"], color=colour, alpha=0.12, lw=0)
        drawn.append(colour)
    axis.set(xlabel="optimiser step", ylabel="validation claim F1", ylim=(0, 1))
    axis.set_title("How the captioners learn")
    axis.legend(fontsize=9)
    return figure


def compare_arms(views: pd.DataFrame, captions: pd.DataFrame, references: list[str], seed: int) -> str:
    """Return an HTML table of a few test chips with the layout caption and one column per arm.

    Args:
        views: rows with chip_id, image, mask; captions: table ``test_captions`` of one style.
        references: the layout writer's caption of each row; seed: the training shown.
    """
    first = captions[captions["seed"] == seed]
    texts = {
        str(arm): part.set_index("chip_id")["caption"].reindex(views["chip_id"], fill_value="").tolist()
        for arm, part in first.groupby("arm", sort=False)
    }
    images, maps = views["image"].tolist(), views["mask"].tolist()
    return captions_side_by_side(images, maps, {"layout, from the map": references, **texts})


def captioning_findings(metrics: pd.DataFrame) -> str:
    """Return stage 08's findings as Markdown, every number read from its metrics."""
    lines = []
    for regime, rows in metrics.groupby("regime", sort=False):
        real = {name: pick(rows, name, arm="real").iloc[0] for name in PANELS}
        lines.append(
            f"- `real`, {regime.replace('=', ' ')}: CIDEr-D {interval(real['cider'], digits=2)}, claim precision "
            f"{interval(real['claim_precision'], digits=2)}, claim recall {interval(real['claim_recall'], digits=2)} "
            f"(n = {real['cider']['n']} blocks, {counted(real['cider']['seeds'], 'seed')})."
        )
        for _, row in pick(rows, "delta_claim_precision").iterrows():
            cider = pick(rows, "delta_cider", arm=row["arm"])
            lines.append(
                f"- `{row['arm']}` against `real`: CIDEr-D {interval(cider.iloc[0], digits=2, sign=True)} "
                f"({reading(cider)}), claim precision {interval(row, 100, 1, sign=True)} points "
                f"({reading(row.to_frame().T)})."
            )
        blind = pick(rows, "delta_claim_precision", arm="real:shuffled_image")
        if len(blind) and blind["low"].iloc[0] <= 0 <= blind["high"].iloc[0]:
            lines.append(
                f"- **With {regime.replace('=', ' ')}, no difference is shown between arm `real` on its own images and on "
                "those of another block: that these captioners look is not shown.** What arms differ in may be "
                "wording and the usual land cover rather than sight."
            )
    return "\n".join([*lines, "", "One fold and one generator: effects with intervals, **no verdict**."])
