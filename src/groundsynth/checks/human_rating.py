"""People's eyes as a yardstick: blind trials, answers that survive an interruption, sensitivity, and metrics beside it.

Two questions. *Real or synthetic?* shows one image. *Does the map fit?* shows an image beside its own map or beside
that of another chip of its kind. Every tenth trial is an attention check whose answer is plain to see; a rater who
misses more than a fifth of them is left out. Sensitivity is d′ with the log-linear correction (Hautus 1995,
https://doi.org/10.3758/BF03203619), which stays finite when no answer was wrong.

Simulated raters exist to test all this. Their answers say that they are simulated, and no finding is made of them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm, spearmanr

from groundsynth.artifacts import check_table, metric_row, read_table, write_table
from groundsynth.checks.resampling import bootstrap_interval
from groundsynth.errors import GroundsynthError
from groundsynth.legend import NO_LABEL, NUM_CLASSES
from groundsynth.seeds import rng

STAGE = "human_rating"
NOT_RATED = "not yet rated"
ANSWERS = {"real_or_synthetic": ("real", "synthetic"), "map_fits": ("yes", "no")}
SIGNAL = {"real_or_synthetic": "synthetic", "map_fits": "no"}  # what a rater is to notice
ATTENTION_EVERY = 10
LEAST_ATTENTION = 0.8
LEAST_CHIPS = 5  # with a rating, for a correlation


@dataclass(frozen=True)
class Trials:
    """Trials in the order in which they are shown.

    Attributes:
        table: trial, question, chip_id, map_chip (whose map is shown), system, truth, attention (bool).
        images: (n, h, w, 3) uint8; maps: (n, h, w) uint8, all 255 where no map is shown.
        plan: 12 hex digits that name this very list.
    """

    table: pd.DataFrame
    images: np.ndarray
    maps: np.ndarray
    plan: str


def apart(chips: pd.DataFrame) -> pd.DataFrame:
    """Return real chips of which no two share ground, in their order: training chips overlap.

    Args:
        chips: with scene, row, col and image.
    """
    kept: list[tuple[str, int, int]] = []
    chosen = []
    for chip in chips.itertuples():
        size = len(chip.image)
        if all(
            chip.scene != scene or abs(chip.row - row) >= size or abs(chip.col - col) >= size
            for scene, row, col in kept
        ):
            kept.append((chip.scene, chip.row, chip.col))
            chosen.append(chip.Index)
    return chips.loc[chosen]


def plan_trials(real: pd.DataFrame, synthetic: pd.DataFrame, per_question: int, seed: int) -> Trials:
    """Return blind trials: half real and half synthetic, half with their own map and half with another's.

    Args:
        real, synthetic: chip_id, system, image (h, w, 3), mask (h, w); a mask of 255 alone shows no map.
        per_question: trials of each question, attention checks apart.

    Raises:
        GroundsynthError: too few chips for that many trials.
    """
    half = per_question // 2
    mapped = [chips[[bool((m != NO_LABEL).any()) for m in chips["mask"]]] for chips in (real, synthetic)]
    least = min(len(real), len(synthetic), *map(len, mapped))
    if half < 2 or least < half:
        raise GroundsynthError(
            f"{per_question} trials per question need {max(half, 2)} real and {max(half, 2)} synthetic chips with maps, "
            f"and there are {least}; ask for fewer trials, or for more samples in stage 03"
        )
    random = rng("human_rating", seed)
    rows = []
    for chips in (real, synthetic):
        for place in random.permutation(len(chips))[:half]:
            rows.append(_trial("real_or_synthetic", chips.iloc[place], None))
    for chips in mapped:
        chosen = chips.iloc[random.permutation(len(chips))[:half]]
        for number, (_, chip) in enumerate(chosen.iterrows()):
            other = chosen.iloc[(number + 1) % half] if number % 2 else chip
            rows.append(_trial("map_fits", chip, other))
    rows = [rows[k] for k in random.permutation(len(rows))]
    for place in range(ATTENTION_EVERY - 1, len(rows) + len(rows) // ATTENTION_EVERY, ATTENTION_EVERY):
        rows.insert(place, _attention(real.iloc[0], random))
    table = pd.DataFrame([{k: v for k, v in row.items() if k not in ("image", "map")} for row in rows])
    table.insert(0, "trial", range(len(table)))
    images, maps = np.stack([row["image"] for row in rows]), np.stack([row["map"] for row in rows])
    text = table.to_csv(index=False).encode() + images.tobytes() + maps.tobytes()
    return Trials(table, images, maps, hashlib.sha256(text).hexdigest()[:12])


def _trial(question: str, chip: pd.Series, other: pd.Series | None) -> dict:
    own = other is not None and other["chip_id"] == chip["chip_id"]
    real = "real" if chip["system"] == "real" else "synthetic"
    return {
        "question": question,
        "chip_id": chip["chip_id"],
        "map_chip": "" if other is None else other["chip_id"],
        "system": chip["system"],
        "truth": real if other is None else ("yes" if own else "no"),
        "attention": False,
        "image": chip["image"],
        "map": np.full_like(chip["mask"], NO_LABEL) if other is None else other["mask"],
    }


def _attention(chip: pd.Series, random: np.random.Generator) -> dict:
    """Return a trial nobody who looks gets wrong: a checkerboard as image, or a map of single pixels at random."""
    size = len(chip["mask"])
    board = (np.indices((size, size)).sum(0) // max(1, size // 8) % 2 * 255).astype(np.uint8)
    noise = random.integers(0, NUM_CLASSES, (size, size)).astype(np.uint8)
    if random.random() < 0.5:
        row = _trial("real_or_synthetic", chip, None) | {
            "image": np.stack([board] * 3, -1),
            "truth": "synthetic",
        }
    else:
        row = _trial("map_fits", chip, chip) | {"map": noise, "truth": "no"}
    return row | {"chip_id": "attention", "map_chip": "", "system": "attention", "attention": True}


# --- answers ---------------------------------------------------------------------------------


def answer_row(
    trials: Trials, trial: int, rater: str, answer: str, seconds: float, kind: str = "person"
) -> dict:
    """Return one answer as a row of the answers file.

    Args:
        kind: ``person`` or ``simulated``.

    Raises:
        GroundsynthError: an answer the question does not have, or a rater without a name.
    """
    question = trials.table.loc[trial, "question"]
    if answer not in ANSWERS[question]:
        raise GroundsynthError(
            f"answer '{answer}' is none of {', '.join(ANSWERS[question])}; choose one of them"
        )
    if not rater.strip():
        raise GroundsynthError(
            "a rater needs a name, so that an interrupted rating can go on; any name will do"
        )
    return {
        "plan": trials.plan, "trial": int(trial), "rater": rater, "kind": kind, "answer": answer,
        "seconds": float(seconds),
    }  # fmt: skip


def add_answer(path: Path, row: dict) -> pd.DataFrame:
    """Add one answer to the file, which is written whole each time; return all answers.

    Raises:
        GroundsynthError: the rater has answered this trial before, or kinds of raters are mixed.
    """
    before = read_table(path, "ratings") if Path(path).is_file() else None
    if before is not None and set(before["kind"]) != {row["kind"]}:
        raise GroundsynthError(
            f"{path}: holds answers of kind '{before['kind'].iloc[0]}' and takes none of kind '{row['kind']}'; use "
            "another file"
        )
    table = pd.concat([part for part in (before, pd.DataFrame([row])) if part is not None], ignore_index=True)
    write_table(check_table(table, "ratings", path, "answer each trial once"), path, "ratings")
    return table


def remaining(trials: Trials, path: Path, rater: str) -> list[int]:
    """Return the trials a rater has not answered yet, in their order.

    Raises:
        GroundsynthError: the file holds answers to other trials.
    """
    if not Path(path).is_file():
        return trials.table["trial"].to_list()
    answers = read_table(path, "ratings")
    _same_plan(answers, trials, path)
    done = set(answers.loc[answers["rater"] == rater, "trial"])
    return [trial for trial in trials.table["trial"] if trial not in done]


def read_answers(path: Path, trials: Trials) -> pd.DataFrame | None:
    """Return people's answers joined to their trials, or None while nobody has answered.

    Raises:
        GroundsynthError: answers to other trials, or of simulated raters: no finding is made of those.
    """
    if not Path(path).is_file():
        return None
    answers = read_table(path, "ratings")
    if (answers["kind"] != "person").any():
        raise GroundsynthError(
            f"{path}: {int((answers['kind'] != 'person').sum())} answers are of simulated raters, who are no people; "
            "remove the file and let people rate"
        )
    _same_plan(answers, trials, path)
    return join_answers(answers, trials)


def join_answers(answers: pd.DataFrame, trials: Trials) -> pd.DataFrame:
    """Return answers beside question, truth and chip of their trials."""
    return answers.merge(trials.table, on="trial")


def _same_plan(answers: pd.DataFrame, trials: Trials, path: Path) -> None:
    others = set(answers["plan"]) - {trials.plan}
    if others:
        raise GroundsynthError(
            f"{path}: holds answers to other trials ({sorted(others)[0]}, these are {trials.plan}): chips or settings "
            "have changed; keep that file elsewhere and rate anew"
        )


# --- sensitivity -----------------------------------------------------------------------------


def d_prime(hits: float, signals: int, false_alarms: float, noises: int) -> float:
    """Return d′ = z(hit rate) − z(false-alarm rate), each rate (count + ½)/(n + 1)."""
    return float(norm.ppf((hits + 0.5) / (signals + 1)) - norm.ppf((false_alarms + 0.5) / (noises + 1)))


def attentive(answers: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return the answers of raters who passed the attention checks (without the checks), and every rater's share.

    A rater who has met no check yet is kept, with a share of NaN.
    """
    checks = answers[answers["attention"]]
    right = (checks["answer"] == checks["truth"]).groupby(checks["rater"]).mean()
    shares = {rater: float(right.get(rater, np.nan)) for rater in answers["rater"].unique()}
    kept = [rater for rater, share in shares.items() if not share < LEAST_ATTENTION]
    return answers[answers["rater"].isin(kept) & ~answers["attention"]], shares


def sensitivity_rows(study: str, answers: pd.DataFrame) -> list[dict]:
    """Return ``human_d_prime`` and ``human_accuracy`` per question, over all and per generating system.

    Intervals resample chips with all their answers, over raters; d′ of 0 is guessing. For one system, the trials of
    *real or synthetic* are its chips against the real ones.

    Args:
        answers: attentive ones, from :func:`attentive`.
    """
    rows = []
    for question, part in answers.groupby("question", sort=False):
        made = [s for s in part["system"].unique() if s != "real"]
        scopes = {"": part}
        for system in made:
            against = ("real", system) if question == "real_or_synthetic" else (system,)
            scopes[system] = part[part["system"].isin(against)]
        for system, mine in scopes.items():
            rows += _scope_rows(study, str(question), str(system), mine)
    return rows


def _scope_rows(study: str, question: str, system: str, answers: pd.DataFrame) -> list[dict]:
    signal = (answers["truth"] == SIGNAL[question]).to_numpy()
    said = (answers["answer"] == SIGNAL[question]).to_numpy()
    chips = answers["chip_id"].to_numpy()

    def sensitivity(draw: np.ndarray) -> float:
        s, a = signal[draw], said[draw]
        return d_prime((s & a).sum(), s.sum(), (~s & a).sum(), (~s).sum()) if 0 < s.sum() < len(s) else np.nan

    def accuracy(draw: np.ndarray) -> float:
        return float((signal[draw] == said[draw]).mean())

    rows = []
    for metric, statistic in (("human_d_prime", sensitivity), ("human_accuracy", accuracy)):
        low, high = bootstrap_interval(statistic, len(said), metric, question, system, groups=chips)
        about = {"system": system, "arm": question, "low": low, "high": high, "n": len(said)}
        about["seeds"] = int(answers["rater"].nunique())
        rows.append(metric_row(study, STAGE, metric, statistic(np.arange(len(said))), **about))
    return rows


def chip_ratings(answers: pd.DataFrame, question: str) -> pd.Series:
    """Return the share of answers that took each synthetic chip for real (or its own map as fitting), by chip_id."""
    part = answers[(answers["question"] == question) & (answers["system"] != "real")]
    if question == "map_fits":
        part = part[part["truth"] == "yes"]
    good = ANSWERS[question][0]
    return (part["answer"] == good).groupby(part["chip_id"]).mean()


def correlation_rows(study: str, answers: pd.DataFrame, metrics: pd.DataFrame) -> list[dict]:
    """Return ``rating_correlation``: Spearman's between each metric and people's ratings, over synthetic chips.

    Args:
        metrics: indexed by chip_id, one numeric column per metric, such as kappa, unlike_real, kept.
    """
    rows = []
    for question in ANSWERS:
        ratings = chip_ratings(answers, question)
        for name in metrics.columns:
            both = pd.concat([ratings.rename("rating"), metrics[name]], axis=1, join="inner").dropna()
            if len(both) < LEAST_CHIPS or both.nunique().min() < 2:
                continue
            x, y = both["rating"].to_numpy(float), both[name].to_numpy(float)
            low, high = bootstrap_interval(lambda d, x=x, y=y: _spearman(x[d], y[d]), len(x), question, name)
            about = {"arm": question, "regime": f"metric={name}", "low": low, "high": high, "n": len(x)}
            rows.append(metric_row(study, STAGE, "rating_correlation", _spearman(x, y), **about))
    return rows


def _spearman(x: np.ndarray, y: np.ndarray) -> float:
    varied = len(np.unique(x)) > 1 and len(np.unique(y)) > 1
    return float(spearmanr(x, y).statistic) if varied else np.nan


def rating_findings(
    study: str, answers: pd.DataFrame | None, metrics: pd.DataFrame
) -> tuple[list[dict], str]:
    """Return the metric rows of people's answers and one sentence on where the rating stands.

    Args:
        answers: from :func:`read_answers`; None gives no row.
        metrics: see :func:`correlation_rows`.
    """
    if answers is None:
        return [], f"This study is {NOT_RATED}: no person has answered a trial, so there is no finding."
    kept, shares = attentive(answers)
    out = len(shares) - kept["rater"].nunique()
    said = f"{len(kept)} answers of {kept['rater'].nunique()} people; {out} more left out for missing attention checks."
    if kept.empty:
        return [], f"{said} Nothing is left to measure."
    return sensitivity_rows(study, kept) + correlation_rows(study, kept, metrics), said


# --- simulated raters, for tests -------------------------------------------------------------


def simulate_rater(
    trials: Trials,
    rater: str,
    sensitivity: float,
    criterion: float = 0.0,
    attention: float = 1.0,
    seed: int = 0,
) -> list[dict]:
    """Return the answers of a made-up rater of a known d′, marked as simulated.

    Evidence is normal around ±d′/2; above ``criterion`` the rater reports the signal.

    Args:
        attention: probability of answering an attention check rightly.
    """
    random, rows = rng("simulated", rater, seed), []
    for row in trials.table.itertuples():
        signal = SIGNAL[row.question]
        other = next(answer for answer in ANSWERS[row.question] if answer != signal)
        evidence = random.normal(sensitivity / 2 if row.truth == signal else -sensitivity / 2)
        answer = signal if evidence > criterion else other
        if row.attention:
            wrong = other if row.truth == signal else signal
            answer = row.truth if random.random() < attention else wrong
        rows.append(answer_row(trials, row.trial, rater, answer, 1.0, "simulated"))
    return rows
