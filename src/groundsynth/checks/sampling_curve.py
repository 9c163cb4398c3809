"""What a step of the solver buys: distance to real chips, time, and for given maps diversity and obedience.

Every way to sample draws the *same* sample numbers with the same network. The yardstick of quality is the
kernel distance to held-out real chips of samples drawn with very many steps: the fewest steps within its
interval are enough. The yardstick of speed is the stock DDPM loop of 1,000 steps; the speed-up compares
processor seconds where there is no GPU, which other programs on the machine do not stretch. Every way is measured
once and kept beside the results, so that a stopped run goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from groundsynth.artifacts import metric_row
from groundsynth.checks.distribution import kernel_distance, power_spectrum_error, standardise
from groundsynth.checks.kept_samples import keep_arrays, name_samples, timed
from groundsynth.checks.resampling import bootstrap_interval
from groundsynth.checks.scattering import scattering_features
from groundsynth.errors import GroundsynthError
from groundsynth.models.denoiser import Denoiser
from groundsynth.models.sampling import sample_pairs
from groundsynth.models.solvers import DDPM_STEPS, MOST_CHURN, SamplingSettings

STAGE = "03_generate"


def name_of(way: SamplingSettings) -> str:
    """Return a way to sample in words, as in the column ``regime``: ``solver=heun;steps=16;churn=20``."""
    words = [f"solver={way.solver}", f"steps={way.steps}"]
    words += [f"churn={way.churn:.3g}"] if way.churn else []
    words += [f"guidance={way.guidance:g}"] if way.guidance != 1 else []
    words += [f"pair_guidance={way.pair_guidance:g}"] if way.pair_guidance != 1 else []
    return ";".join(words)


def plan_ways(
    base: SamplingSettings,
    solvers: list[str],
    steps: list[int],
    reference: int,
    churns: list[float],
    guidances: list[float],
) -> list[SamplingSettings]:
    """Return every way to sample that is compared, each once; the last is DDPM.

    Args:
        base: the study's solver, noise levels, steps and guidance of pairs; the curves are without other guidance.
        reference: see :func:`yardsticks`.
        churns: tried with ``heun`` at the study's steps, what exceeds the most that has an effect as that; guidances:
            with the study's solver. The curves of ``solvers`` are without guidance; a study that guides pairs by
            their own maps has a curve of its own, since what is enough without guidance need not be enough with it.
    """  # fmt: skip
    plain, *own = yardsticks(base, base.steps)
    ways = [replace(plain, solver=solver, steps=n) for solver in solvers for n in steps]
    most = MOST_CHURN * base.steps
    ways += [replace(plain, solver="heun", churn=min(churn, most)) for churn in churns]
    ways += [replace(plain, guidance=guidance) for guidance in guidances]
    ways += [plain, *own, *(replace(way, steps=n) for way in own for n in steps)]
    return list(
        dict.fromkeys([*ways, *yardsticks(base, reference), replace(plain, solver="ddpm", steps=DDPM_STEPS)])
    )


def yardsticks(base: SamplingSettings, reference: int) -> list[SamplingSettings]:
    """Return the study's solver with ``reference`` steps, and the same with its guidance of pairs, if it has one."""
    plain = replace(base, steps=reference, churn=0.0, guidance=1.0, pair_guidance=1.0)
    return list(dict.fromkeys([plain, replace(plain, pair_guidance=base.pair_guidance)]))


def draw_kept(
    folder: Path,
    model: Denoiser,
    model_hash: str,
    system: str,
    way: SamplingSettings,
    seeds: list[int],
    maps: np.ndarray | None,
    device: torch.device,
) -> tuple[np.ndarray, float, float]:
    """Return the samples (n, h, w, 3) uint8 of one way, and the seconds they took by the clock and of work (see ``timed``).

    What is kept is named by everything that decides it: weights, way, seeds and maps.
    """  # fmt: skip
    decides = (model_hash, system, astuple(way), seeds, "" if maps is None else maps)

    def draw() -> dict[str, np.ndarray]:
        return {"images": sample_pairs(model, system, seeds, way, device, maps)[0]}

    path = folder / "samples" / f"{name_samples(*decides)}.npz"
    kept = keep_arrays(path, partial(timed, draw, device))
    return kept["images"], float(kept["seconds"]), float(kept["work"])


def measure_ways(
    ways: list[SamplingSettings],
    draw: Callable[[SamplingSettings], tuple[np.ndarray, float, float]],
    held_out: np.ndarray,
    train: np.ndarray,
    subsets: int,
    seed: int,
) -> tuple[pd.DataFrame, dict[SamplingSettings, np.ndarray]]:
    """Return one row per way, and the samples of each.

    Args:
        draw: returns samples of one way, and seconds by the clock and of work (see :func:`draw_kept`).
        held_out: (n, h, w, 3) uint8 real chips to come near to; train: real training chips, whose
            distance is the floor and whose features set the scale.

    Returns:
        columns ``way, solver, steps, evaluations, n, images_per_second, work, kid, low, high, power_spectrum_error``;
        the way ``real`` is the floor. The samples, by way.
    """
    known = scattering_features(train)
    rows, samples = [], {}
    (reference,) = standardise(known, scattering_features(held_out))

    def distances(images: np.ndarray) -> dict:
        (features,) = standardise(known, scattering_features(images))
        n = min(len(features), len(reference))
        kid, low, high = kernel_distance(features[:n], reference[:n], subsets, seed)
        error = power_spectrum_error(images, held_out)
        return {"n": n, "kid": kid, "low": low, "high": high, "power_spectrum_error": error}

    for way in tqdm(ways, desc="ways to sample"):
        images, seconds, work = draw(way)
        samples[way] = images
        speed = {"evaluations": way.evaluations, "images_per_second": len(images) / seconds}
        speed["work"] = work / len(images)
        rows.append(
            {"way": name_of(way), "solver": way.solver, "steps": way.steps} | speed | distances(images)
        )
    count = min(len(train), max(len(x) for x in samples.values()))
    some = np.random.default_rng(seed).permutation(len(train))[:count]
    rows.append({"way": "real", "solver": "real"} | distances(train[some]))
    return pd.DataFrame(rows), samples


def curve_of(curve: pd.DataFrame, solver: str, guided: str = "") -> pd.DataFrame:
    """Return one solver's rows by numbers of steps alone, all with the same guidance of pairs.

    Args:
        curve: from :func:`measure_ways`; guided: the end of their names, as of :func:`pair_guided`.
    """
    named = [f"solver={row.solver};steps={row.steps:.0f}{guided}" for row in curve.fillna(0).itertuples()]
    return curve[(curve["solver"] == solver) & (curve["way"] == named)]


def pair_guided(way: str) -> str:
    """Return what the name of a way says of the guidance of pairs; empty without one.

    >>> pair_guided("solver=dpmpp_2m;steps=250;pair_guidance=2")
    ';pair_guidance=2'
    """
    return "".join(f";{word}" for word in way.split(";") if word.startswith("pair_guidance="))


def fewest_steps(curve: pd.DataFrame, solver: str, reference: str) -> int | None:
    """Return the fewest steps from which on a solver's kernel distance does not exceed the reference's interval.

    Args:
        curve: from :func:`measure_ways`; reference: its way, with the guidance of pairs that is asked about.

    Returns:
        the smallest number that was tried and that suffices as all larger ones do; None if the largest does not.
    """
    limit = curve.set_index("way").loc[reference, "high"]
    tried = curve_of(curve, solver, pair_guided(reference))
    tried = tried[tried["way"] != reference].sort_values("steps", ascending=False)
    enough = tried[(tried["kid"] <= limit).cummin()]
    return int(enough["steps"].min()) if len(enough) else None


def stock_loop(curve: pd.DataFrame) -> pd.DataFrame:
    """Return the row of the stock DDPM loop, the yardstick of speed; none if it is not among the ways."""
    return curve[(curve["solver"] == "ddpm") & (curve["steps"] == DDPM_STEPS)]


def curve_rows(study: str, system: str, curve: pd.DataFrame, references: Sequence[str]) -> list[dict]:
    """Return the curve as metric rows: distances and speed per way, speed-up over DDPM, fewest steps per solver.

    Args:
        curve: from :func:`measure_ways`; references: its yardsticks, each for the ways guided as it is.

    Raises:
        GroundsynthError: the curve has no DDPM loop to be compared with.
    """
    rows = []
    loop = stock_loop(curve)
    if loop.empty:
        raise GroundsynthError("a speed-up needs the DDPM loop among the ways to sample; add it")
    slow = loop["work"].iloc[0]
    for point in curve.to_dict("records"):
        about = {"system": system, "regime": point["way"], "n": int(point["n"])}
        if point["way"] == "real":
            about |= {"system": "real", "regime": ""}
        scattered = ";".join(filter(None, [about["regime"], "features=scattering"]))
        ends = {"low": point["low"], "high": point["high"]}
        rows.append(metric_row(study, STAGE, "kid", point["kid"], **about | {"regime": scattered} | ends))
        rows.append(metric_row(study, STAGE, "power_spectrum_error", point["power_spectrum_error"], **about))
        if point["way"] != "real":
            rows.append(metric_row(study, STAGE, "images_per_second", point["images_per_second"], **about))
            rows.append(metric_row(study, STAGE, "sampling_speedup", slow / point["work"], **about))
    solvers = [name for name in curve["solver"].unique() if name not in ("real", "ddpm")]
    for solver, reference in product(solvers, references):
        steps = fewest_steps(curve, solver, reference)
        if steps is not None:
            regime = f"solver={solver};within={reference}"
            rows.append(metric_row(study, STAGE, "fewest_steps", steps, system=system, regime=regime))
    return rows


def kappa_row(study: str, system: str, way: SamplingSettings, kappas: np.ndarray) -> dict:
    """Return obedience to the given maps, as the labeller's mean kappa with them, as a metric row."""
    kappas = kappas[np.isfinite(kappas)]
    low, high = bootstrap_interval(lambda draw: kappas[draw].mean(), len(kappas), "kappa", name_of(way))
    about = {"system": system, "regime": name_of(way), "n": len(kappas)}
    return metric_row(study, STAGE, "map_kappa", kappas.mean(), low=low, high=high, **about)
