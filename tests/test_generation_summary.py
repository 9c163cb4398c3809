"""The small table of what was found of a generator: right rows, right numbers, nothing where nothing was measured."""

import pandas as pd

from groundsynth.artifacts import METRIC_COLUMNS, metric_row
from groundsynth.report.generation_summary import generation_table
from groundsynth.report.readme import kept_words, label_worth

GENERATE = {"solver": "euler", "sampling_steps": 8, "guidance": 2.0, "hold_shares": True}
CURVE, UNSEEN = "command=sampling-curve;run=x", "command=measure-obedience"


def row(stage: str, metric: str, value: float, regime: str, **about) -> dict:
    return metric_row("s", stage, metric, value, low=value - 0.1, high=value + 0.1, regime=regime, **about)


def measured() -> pd.DataFrame:
    rows = [
        row("02_train_generator", "training_cost_ratio", 1.1, "command=compare-policies;run=single", system="joint"),
        row("02_train_generator", "training_cost_ratio", 1.3, "command=compare-policies;run=single", system="mask"),
        row("02_train_generator", "training_cost_ratio", 9.0, "command=compare-policies;run=single_use", system="mask"),
        *(
            row("02_train_generator", "not_inferior", value, f"measure={m};command=compare-policies;run=single", system="joint")
            for m, value in (("kid", 1.0), ("obedience", 0.0))
        ),
        row("03_generate", "sampling_speedup", 90.0, f"solver=euler;steps=8;{CURVE}", system="joint"),
        row("03_generate", "sampling_speedup", 190.0, f"solver=euler;steps=4;{CURVE}", system="joint"),
        row("03_generate", "sampling_speedup", 45.0, f"solver=euler;steps=8;pair_guidance=2;{CURVE}", system="joint"),
        row("03_generate", "kid", 1.5, f"solver=euler;steps=8;features=scattering;{CURVE}", system="joint"),
        row("03_generate", "kid", 1.3, f"solver=euler;steps=8;pair_guidance=2;features=scattering;{CURVE}", system="joint"),
        row("03_generate", "kid", 1.7, f"solver=euler;steps=250;pair_guidance=2;features=scattering;{CURVE}", system="joint"),
        row("03_generate", "kid", 1.6, f"solver=euler;steps=250;features=scattering;{CURVE}", system="joint"),
        row("03_generate", "fewest_steps", 4, f"solver=euler;within=solver=euler;steps=250;pair_guidance=2;{CURVE}", system="joint"),
        row("03_generate", "fewest_steps", 8, f"solver=euler;within=solver=euler;steps=250;{CURVE}", system="joint"),
        *(
            row("04_label", "mask_obedience_ratio", value, f"layouts={at};{who};{UNSEEN}", system=system, n=2 if at == "hidden" else 7)
            for at, who, system, value in (
                ("validation", "generator=unified-s0;guidance=1", "mask", 0.7),
                ("validation", "generator=unified-s0;guidance=2", "mask", 0.9),
                ("hidden", "generator=unified-s0;guidance=2", "mask", 1.2),
                ("validation", "generator=gan/spade-s0", "spade", 1.1),
            )
        ),
        row("04_label", "mask_obedience_swapped", 0.5, f"layouts=validation;generator=unified-s0;guidance=2;{UNSEEN}", system="mask", n=7),
        row("03_generate", "diversity_ratio", 0.7, f"layouts=validation;generator=unified-s0;guidance=2;{UNSEEN}", system="mask", arm="other_maps"),
        row("03_generate", "diversity_ratio", 0.8, f"layouts=validation;generator=unified-s0;guidance=2;{UNSEEN}", system="mask"),
        row("03_generate", "diversity_ratio", 0.1, f"layouts=validation;generator=unified-s0;guidance=2;{UNSEEN}", system="mask", arm="one_image"),
        *(
            row("04_label", "share_skill", value, f"on={on}", system="text", arm=arm)
            for arm, on, value in (
                ("shares", "map", 0.9), ("shares", "label", 0.5), ("shares:other", "map", -0.2),
                ("shares:other", "label", -0.3),
            )
        ),
        row("04_label", "share_skill", 0.4, "on=label,split=val", system="real"),
        row("04_label", "rare_share_gain", 4.0, "prior=ground", system="text", arm="rare"),
        row("04_label", "rare_share_gain", 4.0, "prior=ground", system="text", arm="rare", class_="bare"),
        row("04_label", "rare_kappa_change", 0.05, "", system="text", arm="rare"),
        *(
            row("06_ground", "power_spectrum_error", value, "against=held_out", system=system)
            for system, value in (("joint", 0.3), ("mask", 0.2), ("real", 0.1))
        ),
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(METRIC_COLUMNS))


def test_the_worth_of_labels_is_told_where_it_was_measured():
    rows = [
        row("07_benchmark_segmentation", "planted_difference", 0.011, f"against={less};interval={kind};command=aa-test",
            arm="real@4", seeds=12, n=7)
        for less in ("real@4:half", "real@4:10%") for kind in ("study", "t")
    ]  # fmt: skip
    told = label_worth(pd.DataFrame(rows))
    assert told.count("+1.1 [−8.9, +11.1]") == 2
    assert "over half of them (real@4, 7 blocks, 12 seeds); +1.1" in told
    assert "over 10 % of them" in told
    assert "seeds show it" not in told
    assert label_worth(measured()) == ""


def test_how_often_few_seeds_show_the_worth_of_labels_is_told_of_the_same_run():
    def planted(run, difference, rate):
        about = {"arm": "real@4", "seeds": 12, "n": 7}
        yield row(
            "07_benchmark_segmentation",
            "planted_difference",
            difference,
            f"against=real@4:half;interval=study;command=aa-test{run}",
            **about,
        )
        for group, kind, value in ((3, "study", rate), (6, "study", 0.9), (3, "t", 0.8)):
            yield row(
                "07_benchmark_segmentation",
                "planted_detection_rate",
                value,
                f"interval={kind};group={group};command=aa-test{run}",
                **about | {"arm": "real@4:half"},
            )

    told = label_worth(pd.DataFrame([*planted("", 0.01, 0.02), *planted(";run=folds01", 0.02, 0.25)]))
    assert "12 seeds; 3 seeds show it in 2 % of comparisons); +2.0" in told
    assert told.count("show it in 25 % of comparisons)") == 1


def test_every_number_stands_beside_what_it_is_held_against():
    table = generation_table(measured(), GENERATE)
    found = dict(
        zip(table.iloc[:, 0].str.split(",").str[0], table.iloc[:, 1:].itertuples(index=False), strict=True)
    )
    lines = [" | ".join(row) for row in found.values()]
    assert len(lines) == 7
    assert (
        lines[0]
        == "1.10 to 1.30 | not inferior to it in 1 of 2 tests at equal total steps, by margins of two points of obedience and the distance of two real sets (one fold and one training of each, so no verdict)"
    )
    near, far = "kernel distance 1.50 [1.40, 1.60]", "in 250 steps 1.60 [1.50, 1.70]"
    assert (
        lines[1]
        == f"90 times in 8 steps | {near}; {far}; of the numbers tried, 8 is the smallest from which on it is not exceeded"
    )
    guided = generation_table(measured(), GENERATE | {"pair_guidance": 2.0}).iloc[1]
    assert guided.iloc[1] == "45 times in 8 steps, pairs guided by their own maps (weight 2)"
    near, far = "kernel distance 1.30 [1.20, 1.40]", "in 250 steps 1.70 [1.60, 1.80]"
    assert (
        guided.iloc[2]
        == f"{near}; {far}; of the numbers tried, 4 is the smallest from which on it is not exceeded"
    )
    assert lines[2].startswith("validation blocks 0.90 [0.80, 1.00], hidden blocks 1.20 (n = 2) | ")
    assert "another chip's map: validation blocks 0.50 [0.40, 0.60]" in lines[2]
    assert lines[2].endswith("SPADE: validation blocks 1.10 [1.00, 1.20]")
    assert "images of different maps: validation blocks 0.70 [0.60, 0.80]" in lines[3]
    assert lines[3].startswith("validation blocks 0.80 [0.70, 0.90] | ")
    assert lines[4].startswith(
        "0.90 [0.80, 1.00] on the map, 0.50 [0.40, 0.60] on the image | another sample's request"
    )
    assert "−0.30 [−0.40, −0.20]; the labeller's own skill on real chips: 0.40" in lines[4]
    assert (
        lines[5]
        == "4.0 [3.9, 4.1] times | its true share; kappa of image and map changes by +0.05 [−0.05, +0.15]"
    )
    assert lines[6] == "20 to 30 % | real training chips: 10 %"


def test_what_was_not_measured_has_no_row_and_several_folds_have_none():
    metrics = measured()
    without = metrics[~metrics["regime"].str.contains("command=")]
    assert len(generation_table(without, GENERATE)) == 3
    assert generation_table(metrics.iloc[:0], GENERATE).empty
    assert generation_table(metrics.assign(regime=metrics["regime"] + ";fold=0"), GENERATE).empty


def test_measurements_older_than_the_publication_say_so_once_each(tmp_path):
    assert kept_words(tmp_path) == ""
    for place, note in (
        ("obedience", "Then 8."),
        ("policies/single", "Then 8."),
        ("routes", "Then 9."),
        ("marks", ""),
    ):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "metrics.csv").write_text("study\n", encoding="utf-8")
        if note:
            (tmp_path / place / "earlier.txt").write_text(f"{note}\n", encoding="utf-8")
    assert kept_words(tmp_path) == "`obedience`, `policies/single`: Then 8. `routes`: Then 9."
