"""The command ``measure-obedience``: do generators obey maps they have not seen, and how varied are they then?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from groundsynth.artifacts import metric_row, read_chips, write_metrics
from groundsynth.benchmark.segmentation import read_primary
from groundsynth.benchmark.unseen_layouts import (
    STAGE,
    TARGET,
    choose_guidance,
    obedience_rows,
    unseen_layouts,
)
from groundsynth.checks.diversity import diversity, diversity_rows
from groundsynth.checks.sampling_curve import draw_kept
from groundsynth.checks.scattering import scattering_features
from groundsynth.config import Study, load_study, require_same_chips
from groundsynth.errors import GroundsynthError
from groundsynth.models.device import pick_device
from groundsynth.models.generation import hash_model, sampling_of
from groundsynth.models.generators import load_generator
from groundsynth.models.segmenter import Segmenter, load_segmenter, predict
from groundsynth.paths import stage_dir
from groundsynth.report.obedience_figures import plot_obedience, plot_unseen
from groundsynth.report.provenance import find_config
from groundsynth.report.style import save_figure
from groundsynth.seeds import derive_seed
from groundsynth.systems import GIVEN_MAP, GUIDED, drawn_pairs, policy_of

SPLITS = {"validation": "val", "hidden": "hidden"}  # of layouts, and of the chips they come from
SHOWN = 6  # layouts in the figure of images


@dataclass(frozen=True)
class Wanted:
    """What is measured: see the options of ``python -m groundsynth measure-obedience``.

    Attributes:
        generators: names as in the study, or ``<study>/<generator>`` for one of another study of the same chips.
    """

    generators: list[str]
    fold: int
    guidances: list[float]
    images_per_map: int
    maps: int | None


def measure_obedience(study: Study, wanted: Wanted, folder: Path) -> pd.DataFrame:
    """Measure every generator at every guidance on unseen layouts; write ``metrics.csv`` and figures to ``folder``.

    Rows per generator, layouts and guidance (see :func:`regime_of`): ``mask_obedience_ratio`` and per class, its
    control with swapped maps, ``diversity_ratio`` with its controls; per generator that can be guided
    ``chosen_guidance``. What is drawn is kept beside the results, so that a stopped run goes on.

    Returns:
        the metric rows.

    Raises:
        GroundsynthError: a generator that obeys no map, or stages that have not run.
    """
    homes = {name: _home(study, name) for name in wanted.generators}
    pairs = _check(wanted)
    device = pick_device(study.device)
    unseen = _read_unseen(study, wanted, device)
    rows, gallery = [], {}
    for generator, system in pairs:
        weights = stage_dir(homes[generator], "02_train_generator", wanted.fold, _bare(generator), "model")
        model, digest = load_generator(weights).to(device), hash_model(weights)
        for guidance in _guidances(generator, wanted.guidances):
            own = 1.0 if guidance is None else guidance
            way = sampling_of(study.generate, policy_of(_bare(generator)), guidance=own)
            for layouts, chips in unseen.layouts.items():
                seeds = [
                    derive_seed("unseen", _bare(generator), chip, k)
                    for chip in chips["chip_id"]
                    for k in range(wanted.images_per_map)
                ]
                maps = np.stack(chips["given"]).repeat(wanted.images_per_map, 0)
                images, _, _ = draw_kept(folder, model, digest, system, way, seeds, maps, device)
                regime = regime_of(layouts, generator, guidance)
                rows += _rows(study.study, unseen, layouts, system, regime, images)
                gallery[regime] = images[:: wanted.images_per_map]
    rows += _chosen(study.study, rows, pairs)
    metrics = write_metrics(rows, folder / "metrics.csv")
    _figures(folder, wanted, metrics, unseen.layouts["validation"], gallery)
    return metrics


@dataclass(frozen=True)
class _Unseen:
    """What generated images are held against."""

    layouts: dict[str, pd.DataFrame]  # real chips whose maps are to be obeyed
    train: pd.DataFrame
    features: np.ndarray  # (n, 129) scattering features of the training chips
    labeller: Segmenter
    primary: tuple[int, ...]


def _read_unseen(study: Study, wanted: Wanted, device: torch.device) -> _Unseen:
    path = stage_dir(study.study, "01_prepare_data", wanted.fold) / "chips.parquet"
    chips = read_chips(path, "real", lambda c: c["split"].isin(["train", *SPLITS.values()]))
    train = chips[chips["split"] == "train"].reset_index(drop=True)
    layouts = {
        name: unseen_layouts(chips, split, wanted.maps)
        for name, split in SPLITS.items()
        if name == "validation" or (chips["split"] == split).any()
    }
    labeller = load_segmenter(stage_dir(study.study, STAGE, wanted.fold) / "labeller", device)
    features = scattering_features(np.stack(train["image"]))
    return _Unseen(layouts, train, features, labeller, read_primary(study.study, wanted.fold))


def _rows(
    study: str, unseen: _Unseen, layouts: str, system: str, regime: str, images: np.ndarray
) -> list[dict]:
    """Return obedience and diversity of images of one set of layouts, several in a row for each layout."""
    chips = unseen.layouts[layouts]
    count, blocks = len(images) // len(chips), chips["block"].to_numpy()
    own = np.stack(chips["mask"])
    drawn = (predict(unseen.labeller, images)[0], own.repeat(count, 0), blocks.repeat(count))
    real = (predict(unseen.labeller, np.stack(chips["image"]))[0], own, blocks)
    given = np.stack(chips["given"]).repeat(count, 0)
    distances = diversity(images, given, np.arange(len(given)) // count, unseen.train, unseen.features)
    about = {"system": system, "regime": regime, "seeds": 1}
    return [
        *obedience_rows(study, regime, system, drawn, real, unseen.primary, count),
        *diversity_rows(study, "03_generate", distances, **about),
    ]


def regime_of(layouts: str, generator: str, guidance: float | None) -> str:
    """Return the words of the column ``regime``; a generator that cannot be guided has no guidance in it.

    >>> regime_of("validation", "unified-s0", 1.5)
    'layouts=validation;generator=unified-s0;guidance=1.5'
    """
    words = f"layouts={layouts};generator={generator}"
    return words if guidance is None else f"{words};guidance={guidance:g}"


def read_regime(regime: str) -> dict[str, str]:
    """Return the words of :func:`regime_of` by name."""
    return dict(word.split("=", 1) for word in regime.split(";"))


def _home(study: Study, generator: str) -> str:
    """Return the name of the study that trained a generator: this one, or the one before the stroke."""
    name, stroke, _ = generator.rpartition("/")
    if not stroke:
        return study.study
    require_same_chips(study, load_study(find_config(name)))
    return name


def _bare(generator: str) -> str:
    return generator.rpartition("/")[2]


def _check(wanted: Wanted) -> list[tuple[str, str]]:
    drawn = dict(drawn_pairs(map(_bare, wanted.generators), GIVEN_MAP))
    pairs = [(name, drawn[_bare(name)]) for name in wanted.generators if _bare(name) in drawn]
    idle = [name for name in wanted.generators if name not in [generator for generator, _ in pairs]]
    if idle or not pairs:
        raise GroundsynthError(
            f"generator '{idle[0] if idle else ''}' draws no image for a given map; name generators of policy "
            "unified, mask or spade"
        )
    if wanted.images_per_map < 2:
        raise GroundsynthError(
            f"{wanted.images_per_map} image per map has no diversity; take 2 or more with --images-per-map"
        )
    return pairs


def _guidances(generator: str, guidances: list[float]) -> list[float | None]:
    return list(guidances) if policy_of(_bare(generator)) in GUIDED else [None]


def _chosen(study: str, rows: list[dict], pairs: list[tuple[str, str]]) -> list[dict]:
    """Return the guidance chosen on validation layouts for each generator that can be guided."""
    found = []
    for generator, system in pairs:
        ratios = {}
        for row in rows:
            words = read_regime(row["regime"])
            overall = row["metric"] == "mask_obedience_ratio" and not row["class"]
            own = words["layouts"] == "validation" and words["generator"] == generator
            if overall and own and "guidance" in words:
                ratios[float(words["guidance"])] = row["value"]
        if ratios:
            regime = regime_of("validation", generator, None)
            value = choose_guidance(ratios)
            found.append(
                metric_row(
                    study, STAGE, "chosen_guidance", value, system=system, regime=regime, n=len(ratios)
                )
            )
    return found


def _figures(
    folder: Path, wanted: Wanted, metrics: pd.DataFrame, layouts: pd.DataFrame, gallery: dict[str, np.ndarray]
) -> None:
    overall = metrics[(metrics["class"] == "") & (metrics["arm"] == "")]
    points = pd.concat([overall, overall["regime"].map(read_regime).apply(pd.Series)], axis=1)
    counts = points[points["metric"] == "mask_obedience_ratio"].groupby("layouts")["n"].first()
    blocks = " and ".join(f"{n:.0f} {name}" for name, n in counts.items())
    save_figure(
        plot_obedience(points, TARGET),
        folder / "obedience.png",
        f"Obedience to unseen maps (the labeller's mIoU on generated images over its mIoU on the real chips of the "
        f"same maps) against diversity (distances between {wanted.images_per_map} images of one map over those "
        f"between real chips of similar maps). The star is real land, whose reference "
        "maps are not always right: above 1, images show their maps more plainly than it does. Dashed: "
        f"{TARGET:g} of its obedience. "
        f"Numbers are guidances; the ring is the lowest that reaches the line on validation layouts, or the best "
        f"there. Layouts of {blocks} blocks; bars: 95 % intervals over blocks, paired, and over maps.",
    )
    shown = {name: images for name, images in gallery.items() if name.startswith("layouts=validation")}
    some = np.linspace(0, len(layouts) - 1, min(SHOWN, len(layouts))).round().astype(int)
    titles = {name: _title(read_regime(name)) for name in shown}
    save_figure(
        plot_unseen(layouts.iloc[some], {titles[name]: images[some] for name, images in shown.items()}),
        folder / "unseen_layouts.png",
        f"{len(some)} of {len(layouts)} validation layouts, spread evenly and not chosen: the map, the real image "
        "that no generator saw, and the first image each draws for the map, by guidance g.",
    )


def _title(words: dict[str, str]) -> str:
    return words["generator"] + (f" g={words['guidance']}" if "guidance" in words else "")
