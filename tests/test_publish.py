"""Pages without script or network, and published studies that are whole and name no machine."""

import base64
import re
import shutil
from tempfile import gettempdir

import nbformat
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_study import finish_report, make_run, make_study

from groundsynth.artifacts import (
    encode_png,
    metric_row,
    read_json,
    read_table,
    write_json,
    write_metrics,
    write_table,
)
from groundsynth.config import load_study
from groundsynth.errors import GroundsynthError
from groundsynth.legend import COLOURS
from groundsynth.report import readme, tables
from groundsynth.report.attempts import read_attempts
from groundsynth.report.glossary import glossary
from groundsynth.report.pages import FIGURES, build_pages, list_figures, notebook_body, scrub
from groundsynth.report.pooling import COUNTS, read_counts
from groundsynth.report.provenance import find_config
from groundsynth.report.publish import (
    private_words,
    publish_measured,
    publish_report,
    publish_study,
    shrink_picture,
    verify_pictures,
    verify_private,
)
from groundsynth.workflow.renew_report import renew_report


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.delenv("GROUNDSYNTH_ROOT", raising=False)
    folder = make_study(tmp_path)
    monkeypatch.setenv("GROUNDSYNTH_ROOT", str(tmp_path))
    study = load_study(find_config("smoke"))
    tables.write_gathered(
        tables.gather_metrics("smoke", tables.folders_of(study, folder)), folder / "metrics.csv"
    )
    finish_report(folder)
    return folder


def test_a_study_becomes_pages_that_need_nothing_from_elsewhere(results):
    index = build_pages("smoke")
    html = index.read_text()
    links = re.findall(r'href="([^"]+)"', html)
    assert "+3.0 [+1.0, +5.0]" in html
    assert len([link for link in links if link.startswith("pages/")]) == 12
    for link in links:
        assert (index.parent / link).is_file(), link
    for page in (index, *index.parent.glob("pages/*.html")):
        text = page.read_text()
        assert "<script" not in text
        assert not re.search(r'(src|href)="(https?:)?//', text)
        assert 'name="viewport"' in text


def test_the_manifest_tells_how_to_make_the_study_again(results):
    build_pages("smoke")
    manifest = read_json(results / "09_report" / "manifest.json", "")
    assert manifest["config"]["benchmark"]["seeds"] == [0, 1, 2]
    assert manifest["data"]["licence"] == "CC BY-SA 3.0"
    assert manifest["device"].startswith("CPU")
    assert {row["stage"] for row in manifest["minutes"]} == set(tables.STAGES)


def test_stages_that_ran_with_other_settings_or_code_are_told_apart(results):
    for stage, commit in (("01_prepare_data", "abc"), ("04_label", "def + changes")):
        path = results / stage / "fold0" / f"{stage}.ipynb"
        notebook = nbformat.read(path, as_version=4)
        shown = pd.DataFrame({"this run": {"study": "smoke", "config hash": "0a1", "git commit": commit}})
        output = nbformat.v4.new_output("execute_result", {"text/plain": repr(shown)})
        notebook.cells.append(nbformat.v4.new_code_cell("provenance(study)", outputs=[output]))
        nbformat.write(notebook, path)
    html = build_pages("smoke").read_text()
    assert "<td>0a1</td>" in html
    assert "<td>abc (stage 01), def + changes (stage 04). Each stage" in html


def test_the_words_of_the_table_are_explained_and_no_others(results):
    html = build_pages("smoke").read_text()
    for term in ("primary classes", "rare IoU", "real+…", "joint"):
        assert f"<dt>{term}</dt>" in html
    assert "<dt>spade</dt>" not in html
    assert "<dt>bridge:…</dt>" not in html


def test_every_form_of_an_arm_has_words():
    arms = ["real", "real@2", "real+cutmix@4", "synthetic:all", "real+joint_gan:chip@3*", "real+self_training", "mix:mask@25",
            "bridge:text:matched", "reverse:image@3", "real+text:rare", "real+spade:certified"]  # fmt: skip
    words = glossary(pd.DataFrame({"trained on": arms, "mIoU": "0.5"}), ["water"])
    assert {"@2", "@4", "real+cutmix", "synthetic:…", "all", ":chip", "@3*", "real+self_training", "mix:…", "bridge:…",
            ":matched", "reverse:…", "@3", ":rare", ":certified", "spade", "joint_gan"} <= set(words)  # fmt: skip
    assert words["primary classes"].endswith(": water")
    assert "rare IoU" not in words
    assert glossary(pd.DataFrame(), []) == {}


def test_an_unfinished_study_is_refused_by_name_of_stage(results):
    (results / "04_label" / "fold0" / "04_label.ipynb").unlink()
    with pytest.raises(GroundsynthError, match="04_label has not finished"):
        publish_study("smoke")
    assert not (results.parent / "published" / "smoke").exists()


def test_publishing_is_whole_and_can_be_repeated(results):
    target = publish_study("smoke")
    before = sorted(path.relative_to(target) for path in target.rglob("*"))
    assert publish_study("smoke") == target
    assert sorted(path.relative_to(target) for path in target.rglob("*")) == before
    beside = ["LICENSE-DATA", "README.md", "claims.csv", "claims.md", "claims.png", "claims.txt", "smoke"]
    assert sorted(path.name for path in target.parent.iterdir()) == beside
    table = read_table(target / "metrics.csv", "metrics")
    assert len(tables.pick(table, "stage_seconds", stage="09_report")) == 1
    html = (target / "09_report" / "index.html").read_text()
    for link in re.findall(r'href="([^"]+)"', html):
        assert (target / "09_report" / link).is_file(), link
    logged = read_attempts()
    assert logged[["study", "what", "test_opened"]].values.tolist() == [["smoke", "publish", "yes"]]  # once
    assert not list(target.rglob("*.parquet")) + list(target.rglob("*.ipynb"))
    assert "CC BY-SA 3.0" in (target.parent / "LICENSE-DATA").read_text()


def test_of_several_folds_the_first_is_shown_and_of_the_others_the_numbers_stay(tmp_path, monkeypatch):
    monkeypatch.delenv("GROUNDSYNTH_ROOT", raising=False)
    folder = make_study(tmp_path, folds=[0, 3])
    monkeypatch.setenv("GROUNDSYNTH_ROOT", str(tmp_path))
    study = load_study(find_config("smoke"))
    tables.write_gathered(
        tables.gather_metrics("smoke", tables.folders_of(study, folder)), folder / "metrics.csv"
    )
    finish_report(folder)
    for fold in (0, 3):
        picture = np.zeros((8, 8, 3), np.uint8)
        (folder / "01_prepare_data" / f"fold{fold}" / "scene.png").write_bytes(encode_png(picture))
    target = publish_study("smoke")
    assert [path.parent.name for path in target.rglob("scene.png")] == ["fold0"]
    assert len(list(target.glob("01_prepare_data/fold*/metrics.csv"))) == 2
    pages = {path.name for path in target.glob("09_report/pages/*")}
    assert "01_prepare_data-0.html" in pages
    assert not [name for name in pages if "-3" in name]
    html = (target / "09_report" / "index.html").read_text()
    for link in re.findall(r'(?:href|src)="([^"]+)"', html):
        assert (target / "09_report" / link).is_file(), link


def test_counts_travel_so_that_other_studies_can_be_pooled_with_a_published_one(results):
    counts = {
        "fold": [0],
        "arm": "real",
        "seed": 0,
        "split": "test",
        "block": 3,
        "class": 1,
        "tp": 5,
        "fp": 2,
        "fn": 1,
    }
    write_table(pd.DataFrame(counts), results / "09_report" / COUNTS, "block_counts")
    target = publish_study("smoke")
    assert list(target.rglob("*.parquet")) == [target / "09_report" / COUNTS]
    assert read_counts(target, [0]).to_dict("records") == pd.DataFrame(counts).to_dict("records")


def leave_measurement(results):
    """Leave what a command leaves: numbers, a figure with its caption, a small table, and what is not for others."""
    folder = results / "sampling_curve" / "unified-s0-joint"
    row = metric_row("smoke", "03_generate", "sampling_speedup", 50.0, system="joint", regime="steps=8")
    write_metrics([row], folder / "metrics.csv")
    picture = np.random.default_rng(1).integers(0, 255, (40, 60, 3)).astype(np.uint8)
    (folder / "curve.png").write_bytes(encode_png(picture))
    (folder / "curve.txt").write_text("Quality by steps.\n")
    for name in ("curve.csv", "answers.csv"):
        (folder / name).write_text("a\n1\n")
    return folder.relative_to(results)


def test_what_a_command_measured_after_the_study_is_published_and_shown(results):
    place = leave_measurement(results)  # the gathered table does not know it yet
    target = publish_study("smoke")
    row = tables.pick(read_table(target / "metrics.csv", "metrics"), "sampling_speedup").iloc[0]
    assert (row["value"], row["regime"]) == (50, "steps=8;command=sampling-curve;run=unified-s0-joint")
    copied = {path.name for path in (target / place).iterdir()}
    assert copied == {"metrics.csv", "curve.csv", "curve.png", "curve.txt"}
    html = (target / "09_report" / "index.html").read_text()
    assert html.index("<h2>Further measurements</h2>") < html.index("How many steps does sampling need")
    for link in re.findall(r'(?:href|src)="([^"]+)"', html):
        assert (target / "09_report" / link).is_file(), link
    assert f'src="../{place}/curve.png"' in html
    gallery = (target.parent / "README.md").read_text()
    assert (
        f"### Further measurements\n\n**How many steps does sampling need, and which solver?** ([`sampling-curve`](smoke/{place}/metrics.csv), unified-s0-joint)"
        in gallery
    )
    assert f"](smoke/{place}/curve.png)\n\n*Quality by steps.*" in gallery


def test_a_measurement_without_a_figure_shows_its_numbers(results):
    place = leave_measurement(results)
    assert "sampling speedup" not in build_pages("smoke").read_text()
    (results / place / "curve.png").unlink()
    html = build_pages("smoke").read_text()
    assert "<td>joint</td><td>steps 8</td><td>sampling speedup</td><td>50.000</td>" in html


def test_a_measurement_is_added_to_a_study_that_is_published(results):
    target = publish_study("smoke")
    before = read_table(target / "metrics.csv", "metrics")
    place = leave_measurement(results)
    for notebook in results.rglob("*.ipynb"):  # of the study itself, nothing but its generators is needed
        notebook.unlink()
    assert publish_measured("smoke") == target
    after = read_table(target / "metrics.csv", "metrics")
    assert len(after) == len(before) + 1
    assert tables.pick(after, "sampling_speedup")["value"].tolist() == [50]
    assert {path.name for path in (target / place).iterdir()} >= {"metrics.csv", "curve.csv", "curve.png"}
    html = (target / "09_report" / "index.html").read_text()
    assert "How many steps does sampling need" in html
    for link in re.findall(r'(?:href|src)="([^"]+)"', html):
        assert (target / "09_report" / link).is_file(), link
    assert "sampling-curve" in (target.parent / "README.md").read_text()
    publish_measured("smoke")  # and again, with the same end
    assert len(read_table(target / "metrics.csv", "metrics")) == len(after)


def test_a_report_made_anew_takes_the_place_of_the_published_one(results, tmp_path):
    target = publish_study("smoke")
    before = {path: path.read_bytes() for path in target.rglob("*") if path.is_file()}
    folder = tmp_path / "results" / "renewed" / "smoke" / "09_report"
    shutil.copytree(results / "09_report", folder)
    notebook = nbformat.read(folder / "09_report.ipynb", as_version=4)
    notebook.cells.append(nbformat.v4.new_markdown_cell("Said after the correction."))
    picture = base64.b64decode(notebook.cells[1].outputs[1]["data"]["image/png"])
    (folder / "verdicts.png").write_bytes(picture)  # a figure that a cell shows, saved beside the notebook
    nbformat.write(notebook, folder / "09_report.ipynb")
    table = read_table(results / "metrics.csv", "metrics")
    mine = (table["metric"] == "delta_miou") & (table["arm"] == "real+mask")
    write_table(table.assign(high=table["high"].mask(mine, 0.09)), folder.parent / "metrics.csv", "metrics")
    shutil.rmtree(results)  # the study itself is not here
    assert publish_report("smoke", folder) == target
    assert "+3.0 [+1.0, +9.0]" in (target / "09_report" / "index.html").read_text()
    assert "Said after the correction." in (target / "09_report" / "pages" / "09_report.html").read_text()
    page = target / "09_report" / "pages" / "09_report.html"
    assert re.findall(r'<img[^>]* src="([^"]+)"', page.read_text()) == ["../verdicts.png"]
    assert (page.parent / "../verdicts.png").is_file()
    touched = {"09_report", "metrics.csv", "manifest.json"}
    for path, data in before.items():
        if path.relative_to(target).parts[0] not in touched:
            assert path.read_bytes() == data, path
    for link in re.findall(r'(?:href|src)="([^"]+)"', (target / "09_report" / "index.html").read_text()):
        assert (target / "09_report" / link).is_file(), link


def test_a_page_without_its_picture_is_not_published(results, tmp_path):
    page = tmp_path / "copy" / "09_report" / "pages" / "a.html"
    page.parent.mkdir(parents=True)
    page.write_text('<img alt="x" src="data:image/png;base64,AAAA"/><img src="../b.png"/>')
    (tmp_path / "b.png").write_bytes(b"x")
    with pytest.raises(GroundsynthError, match=r"a\.html: shows \.\./b\.png, which is not published"):
        verify_pictures(tmp_path / "copy")
    (page.parent.parent / "b.png").write_bytes(b"x")
    verify_pictures(tmp_path / "copy")
    page.write_text('<img src="../../../b.png"/>')
    with pytest.raises(GroundsynthError, match="not published"):
        verify_pictures(tmp_path / "copy")


def test_a_report_is_not_made_anew_beside_the_study_itself(results):
    publish_study("smoke")
    with pytest.raises(GroundsynthError, match=r"results/smoke: the study is on this machine.*publish smoke"):
        renew_report("smoke")


def test_a_measurement_of_another_generator_or_study_is_not_added(results):
    leave_measurement(results)
    with pytest.raises(GroundsynthError, match="published/smoke: not there"):
        publish_measured("smoke")
    (trained,) = results.glob("02_train_generator/fold0/*")
    (trained / "loss.csv").write_text("step,loss\n0,1.0\n")
    target = publish_study("smoke")
    publish_measured("smoke")
    (trained / "loss.csv").write_text("step,loss\n0,1.1\n")
    with pytest.raises(GroundsynthError, match=r"loss.csv: not the losses of .* publish smoke"):
        publish_measured("smoke")
    manifest = read_json(target / "manifest.json", "")
    settings = manifest["config"]
    settings["label"].pop("kfold")  # as if the key had come since: its default counts
    settings["minutes"]["03_generate"] = 99.0
    write_json(target / "manifest.json", manifest)
    (trained / "loss.csv").write_text("step,loss\n0,1.0\n")
    publish_measured("smoke")
    for key, value in (("steps", settings["label"]["steps"] + 1), ("a_key_that_is_gone", 1)):
        other = manifest | {"config": settings | {"label": settings["label"] | {key: value}}}
        write_json(target / "manifest.json", other)
        with pytest.raises(GroundsynthError, match="made with other settings"):
            publish_measured("smoke")
    before = {key: value for key, value in settings["generate"].items() if key != "pair_guidance"}
    write_json(target / "manifest.json", manifest | {"config": settings | {"generate": before}})
    with pytest.raises(GroundsynthError, match="made with other settings"):  # pairs were not guided then
        publish_measured("smoke")


def test_measurements_stay_when_a_study_of_the_same_generators_is_published_again(results):
    place = leave_measurement(results)
    (trained,) = results.glob("02_train_generator/fold0/*")
    (trained / "loss.csv").write_text("step,loss\n0,1.0\n")
    target = publish_study("smoke")
    manifest = read_json(target / "manifest.json", "")
    manifest["config"]["generate"]["sampling_steps"] += 10  # as if it had been published with more steps
    manifest["git_commit"] = "abc"
    write_json(target / "manifest.json", manifest)
    shutil.rmtree(results / place)
    publish_study("smoke")
    note = (target / place / "earlier.txt").read_text()
    steps = manifest["config"]["generate"]["sampling_steps"]
    assert f"(commit abc); since then generate.sampling_steps ({steps}, now {steps - 10}) changed." in note
    assert tables.pick(read_table(target / "metrics.csv", "metrics"), "sampling_speedup")[
        "value"
    ].tolist() == [50]
    assert note.strip() in (target / "09_report" / "index.html").read_text()
    assert note.strip() in (target.parent / "README.md").read_text()
    publish_study("smoke")
    assert (target / place / "earlier.txt").read_text() == note, "the note of then, not a newer one"
    manifest = read_json(target / "manifest.json", "")
    manifest["config"]["generate"] |= {"sampling_steps": steps - 5, "guidance": 1.5}  # as if changed twice
    write_json(target / "manifest.json", manifest)
    publish_study("smoke")
    twice = (target / place / "earlier.txt").read_text()
    assert twice == note.replace(" changed.", ", generate.guidance (1.5, now 1.0) changed."), (
        "as they were first"
    )
    leave_measurement(results)
    publish_study("smoke")
    assert not (target / place / "earlier.txt").exists(), "measured again, of the study as it is"
    shutil.rmtree(results / place)
    (trained / "loss.csv").write_text("step,loss\n0,1.1\n")
    publish_study("smoke")
    assert not (target / place).exists(), "of another generator"


def test_without_measurements_nothing_is_added(results):
    publish_study("smoke")
    with pytest.raises(GroundsynthError, match="no command has left numbers"):
        publish_measured("smoke")


def test_without_measurements_there_is_no_heading_for_them(results):
    target = publish_study("smoke")
    assert "Further measurements" not in (target / "09_report" / "index.html").read_text()
    assert "Further measurements" not in (target.parent / "README.md").read_text()


def test_a_page_links_to_a_figure_that_is_saved_and_holds_any_other(results):
    folder = tables.folders_of(load_study(find_config("smoke")), results)[0]
    picture = base64.b64decode(
        nbformat.read(folder.path / f"{folder.stage}.ipynb", 4).cells[1].outputs[1]["data"]["image/png"]
    )
    page = results / "09_report" / "pages" / "01_prepare_data-0.html"
    build_pages("smoke")
    assert "data:image/" in page.read_text()
    (folder.path / "scene.png").write_bytes(picture)
    target = publish_study("smoke")
    copy = target / page.relative_to(results)
    assert "data:image/" not in copy.read_text()
    (address,) = re.findall(r'<img[^>]* src="([^"]+)"', copy.read_text())
    assert (copy.parent / address).resolve() == (target / "01_prepare_data" / "fold0" / "scene.png").resolve()
    assert (copy.parent / address).is_file()


def test_only_the_laptop_study_is_quoted_in_the_readme(results, tmp_path, monkeypatch):
    from groundsynth.report import publish

    publish_study("smoke")
    assert "old" in (tmp_path / "README.md").read_text()
    monkeypatch.setattr(publish, "README_STUDY", "smoke")
    target = publish_study("smoke")
    text = (tmp_path / "README.md").read_text()
    assert readme.between_markers(text) == readme.front_block(target.parent, "smoke")
    assert text.startswith("# t")
    assert text.endswith("after\n")


def test_a_path_of_this_machine_is_cut_from_pages(results, tmp_path):
    study = load_study(find_config("smoke"))
    folder = tables.folders_of(study, results)[0]
    kernel = f"{gettempdir()}/ipykernel_31552/2611137769.py:10: UserWarning: no class is rare"
    make_run(folder, text=f"saved {tmp_path}/results/smoke/a.csv\n{kernel}")
    target = publish_study("smoke")
    page = (target / "09_report" / "pages" / "01_prepare_data-0.html").read_text()
    assert "saved ./results/smoke/a.csv" in page
    assert str(tmp_path) not in page
    assert ">cell:10: UserWarning: no class is rare" in page.replace("\n", ">")
    assert f"{gettempdir()}/" in private_words()


def test_what_names_a_machine_stops_publication(tmp_path):
    (tmp_path / "a.csv").write_text("x\n/data/someone/study/a\n")
    verify_private(tmp_path, ["/data/other/"])
    with pytest.raises(GroundsynthError, match=r"a\.csv: holds '/data/someone/'"):
        verify_private(tmp_path, ["/data/someone/"])


def test_a_study_too_large_is_refused_and_the_old_copy_stays(results, monkeypatch):
    from groundsynth.report import publish

    target = publish_study("smoke")
    monkeypatch.setattr(publish, "STUDY_BYTES", 1000)
    with pytest.raises(GroundsynthError, match="the largest file is"):
        publish_study("smoke")
    assert (target / "manifest.json").is_file()
    assert not list(target.parent.glob(".*"))  # no half of a copy
    assert len([path for path in target.parent.iterdir() if path.is_dir()]) == 1


def test_scrub_leaves_addresses_and_longer_names_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("GROUNDSYNTH_ROOT", str(tmp_path))
    assert scrub(f'"{tmp_path}/src" {tmp_path}2/x') == f'"./src" {tmp_path}2/x'


def test_progress_bars_and_widgets_are_reduced_to_their_last_state():
    outputs = [
        nbformat.v4.new_output("stream", name="stderr", text=" 10%|#\r 99%|##\r100%|###\nend\n"),
        nbformat.v4.new_output(
            "display_data", {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "HBox"}
        ),
    ]
    body = notebook_body(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=outputs)]))
    assert "100%" in body
    assert "99%" not in body
    assert "HBox" not in body


@pytest.mark.parametrize(
    ("sizes", "wide"),
    [
        ([(900, 600), (900, 600)], [False, False]),
        ([(900, 600)], [True]),
        ([(1201, 1700), (900, 600), (900, 300), (900, 600)], [True, True, True, True]),
        ([(900, 600), (900, 600), (900, 600), (1300, 900)], [False, False, True, True]),
    ],
)
def test_large_figures_and_lone_ones_take_the_whole_width(tmp_path, sizes, wide):
    for name, size in zip(FIGURES, sizes, strict=False):
        Image.new("RGB", size).save(tmp_path / f"{name}.png")
    assert [figure["wide"] for figure in list_figures(tmp_path)] == wide


def test_a_progress_bar_in_many_pieces_is_one_line():
    pieces = [
        ("stderr", "  0%|\r"),
        ("stderr", " 50%|#\r"),
        ("stderr", "100%|##\n"),
        ("stdout", "said\n"),
        ("stderr", "warn"),
    ]
    outputs = [nbformat.v4.new_output("stream", name=name, text=text) for name, text in pieces]
    body = notebook_body(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=outputs)]))
    assert body.count("<pre>") - body.count("<pre><span") == 3
    assert "50%" not in body
    assert body.index("100%") < body.index("said") < body.index("warn")


def test_pictures_shrink_and_keep_their_shape(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (900, 1800, 3)).astype(np.uint8)
    (tmp_path / "a.png").write_bytes(encode_png(noise))
    shrink_picture(tmp_path / "a.png", tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as picture:
        assert picture.size == (1200, 600)
    assert (tmp_path / "b.png").stat().st_size < (tmp_path / "a.png").stat().st_size / 2
    once = (tmp_path / "b.png").read_bytes()
    shrink_picture(tmp_path / "b.png", tmp_path / "b.png")
    assert (tmp_path / "b.png").read_bytes() == once, "what is narrow enough stays as it is"


def test_tall_pictures_stay_readable(tmp_path):
    """Twenty lines of text below each other are twenty lines: only the width is limited."""
    (tmp_path / "a.png").write_bytes(encode_png(np.zeros((2700, 900, 3), np.uint8)))
    shrink_picture(tmp_path / "a.png", tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as picture:
        assert picture.size == (900, 2700)


def test_enlarged_chips_are_not_blurred_and_made_larger(tmp_path):
    """Two hundred squares of ten pixels: as they are, a few kilobytes; resampled, many times that."""
    squares = np.random.default_rng(0).integers(0, 255, (200, 200, 3)).astype(np.uint8) // 64 * 64
    (tmp_path / "a.png").write_bytes(encode_png(squares.repeat(10, 0).repeat(10, 1)))
    shrink_picture(tmp_path / "a.png", tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as picture:
        assert picture.size == (2000, 2000)
        assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) <= 64


def test_rare_class_colours_survive_in_published_pictures(tmp_path):
    """A few cropland pixels among thousands of greens and greys must not come out as grassland."""
    draw = np.random.default_rng(0)
    noise = (draw.integers(0, 230, (800, 800, 1)) + draw.integers(0, 25, (800, 800, 3))).astype(np.uint8)
    for k, colour in enumerate(COLOURS):
        noise[10 * k : 10 * k + 4, :12] = colour
    Image.fromarray(noise).save(tmp_path / "a.png")
    shrink_picture(tmp_path / "a.png", tmp_path / "b.png")
    found = np.asarray(Image.open(tmp_path / "b.png").convert("RGB")).astype(int)
    for k, colour in enumerate(COLOURS):
        assert np.abs(found[10 * k, 0] - colour).max() < 45
