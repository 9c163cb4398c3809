"""An export: files others can open, synthetic ones marked, and every fault in them found."""

import hashlib
import io
import json
import re
import shutil
import tarfile
import xml.etree.ElementTree as ElementTree

import c2pa
import numpy as np
import pandas as pd
import pytest
import yaml
from made_up_certificates import make_credential
from PIL import Image
from rasterio.io import MemoryFile
from small_study import make_study

from groundsynth.__main__ import main
from groundsynth.artifacts import read_chips, read_table
from groundsynth.checks.mark_faults import flip_pixel, plant_faults, strip_marks, swap_manifest
from groundsynth.checks.marked_folder import (
    FALSE_MARK,
    GOOD,
    MISSING,
    REAL,
    REPLACED,
    REPLACED_SIGNER,
    SIGNED,
    STRIPPED,
    SWAPPED,
    TAMPERED,
    UNLISTED,
    UNSIGNED,
    check_folder,
    mark_rows,
)
from groundsynth.config import load_study, validate_study
from groundsynth.data.chip_files import tiff_bytes
from groundsynth.data.croissant import CHIP_ID
from groundsynth.data.marks import (
    MIME,
    SYNTHETIC,
    Signing,
    load_credential,
    read_manifest,
    read_xmp,
    source_type,
    xmp_packet,
)
from groundsynth.data.trial_certificate import make_trial_credential
from groundsynth.errors import GroundsynthError
from groundsynth.report.measurements import measured_folders
from groundsynth.workflow.export_chips import export_chips

IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A finished small study, a credential, a signed export and an unsigned one."""
    root = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        make_study(root)
        patch.setenv("GROUNDSYNTH_ROOT", str(root))
        chain, key, anchor = make_credential(root / "secret")
        study = load_study(root / "config" / "smoke.yaml")
        export_chips(study, root / "unsigned")
        signed = study.model_copy(
            update={"export": study.export.model_copy(update={"certificate": str(chain), "key": str(key)})}
        )
        export_chips(signed, root / "signed")
        yield {"root": root, "study": study, "signed": signed, "anchor": anchor.read_text(), "key": key}


@pytest.fixture
def signed(project, tmp_path):
    return shutil.copytree(project["root"] / "signed", tmp_path / "export")


def open_tiff(data: bytes) -> tuple:
    """Return CRS, transform and bands of a GeoTIFF."""
    with MemoryFile(data) as memory, memory.open() as source:
        return source.crs, source.transform, source.read()


def pictures(folder) -> pd.DataFrame:
    listed = read_table(folder / "files.csv", "exported_files")
    return listed[(listed["role"] != "file") & ~listed["path"].str.contains(".tar/", regex=False)]


def test_every_synthetic_file_carries_both_marks_for_readers_that_are_not_ours(project):
    """c2pa-python reads the manifest; Pillow finds the packet, and an XML parser the source type in it."""
    folder = project["root"] / "signed"
    made = pictures(folder).query("synthetic")
    # two formats; joint and text draw maps, mask is given them, image is labelled
    assert len(made) == 2 * 6 * (2 + 1 + 2 + 2)
    for name in made["path"]:
        reader = c2pa.Reader(folder / name)
        assert reader.get_validation_state() == "Valid"
        actions = reader.get_active_manifest()["assertions"][0]["data"]["actions"]
        assert [(a["action"], a["digitalSourceType"]) for a in actions] == [("c2pa.created", SYNTHETIC)]
        with Image.open(folder / name) as picture:
            packet = picture.info.get("xmp") or picture.tag_v2[700]
        tree = ElementTree.fromstring(packet.split(b"?>", 1)[1].rsplit(b"<?xpacket", 1)[0])
        assert [node.attrib[IPTC] for node in tree.iter() if IPTC in node.attrib] == [SYNTHETIC]


def test_real_chips_and_given_maps_are_never_marked(project):
    for which in ("signed", "unsigned"):
        folder = project["root"] / which
        others = pictures(folder).query("not synthetic")
        assert set(others["system"]) == {"real", "mask"}
        assert set(others.loc[others["system"] == "mask", "role"]) == {"map"}
        for name in others["path"]:
            data = (folder / name).read_bytes()
            assert source_type(data) == ""
            assert read_manifest(data, MIME[name[-4:]]) is None


def test_the_manifest_names_generator_hash_seed_and_chip(project):
    folder = project["root"] / "signed"
    manifest = read_manifest((folder / "png/joint/joint3_image.png").read_bytes(), "image/png")
    wanted = {
        "chip_id": "joint3",
        "system": "joint",
        "generator": "unified-s0",
        "model_hash": "h",
        "seed": "0",
    }
    assert manifest.sample.items() >= wanted.items()
    trusted = read_manifest(
        (folder / "png/joint/joint3_image.png").read_bytes(), "image/png", project["anchor"]
    )
    assert (manifest.state, trusted.state) == ("Valid", "Trusted")


def test_georeferencing_pixels_and_colours_survive(project):
    chips = read_chips(project["root"] / "results/smoke/01_prepare_data/fold0/chips.parquet", "real")
    joint = read_chips(
        project["root"] / "results/smoke/03_generate/fold0/unified-s0/joint/0/chips.parquet", "synthetic"
    )
    folder = project["root"] / "signed"
    chip = chips.iloc[0]
    crs, transform, bands = open_tiff((folder / "geotiff/real/r0_image.tif").read_bytes())
    assert (crs.to_string(), tuple(transform)[:6]) == ("EPSG:3358", (1.0,) * 6)
    np.testing.assert_array_equal(np.moveaxis(bands, 0, -1), chip["image"])
    _, _, bands = open_tiff((folder / "geotiff/real/r0_map.tif").read_bytes())
    np.testing.assert_array_equal(bands[0], chip["mask"])
    for suffix in ("geotiff/joint/joint2_image.tif", "png/joint/joint2_image.png"):
        with Image.open(folder / suffix) as picture:
            np.testing.assert_array_equal(np.asarray(picture), joint.iloc[2]["image"])


def test_a_manifest_inside_a_geotiff_keeps_its_place(tmp_path):
    """Synthetic chips lie nowhere, so this is tried where it matters: on a signed file with a place."""
    sample = {"chip_id": "a", "seed": "1"}
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    where = (28.5, 0.0, 630534.0, 0.0, -28.5, 228114.0)
    chain, key, _ = make_credential(tmp_path)
    plain = tiff_bytes(image, "EPSG:32119", where, xmp_packet(sample, True))
    data = Signing(load_credential(chain, key)).sign(plain, "image/tiff", sample)
    assert read_manifest(data, "image/tiff").state == "Valid"
    assert source_type(data) == SYNTHETIC
    crs, transform, bands = open_tiff(data)
    assert (crs.to_epsg(), tuple(transform)[:6]) == (32119, where)
    np.testing.assert_array_equal(np.moveaxis(bands, 0, -1), image)


def test_an_untouched_export_is_intact(project):
    checked = check_folder(project["root"] / "signed", project["anchor"])
    assert set(checked["verdict"]) == {SIGNED, REAL}
    marked = checked[checked["synthetic"]]
    assert (marked["c2pa"] == "Trusted").all()
    rates = pd.DataFrame(mark_rows("smoke", checked)).set_index(["system", "regime"])["value"]
    assert rates.to_dict() == {
        ("synthetic", "reader=c2pa"): 1, ("synthetic", "reader=iptc"): 1,
        ("real", "reader=c2pa"): 0, ("real", "reader=iptc"): 0,
    }  # fmt: skip


def test_without_a_certificate_files_say_that_they_are_unsigned(project):
    folder = project["root"] / "unsigned"
    checked = check_folder(folder)
    assert set(checked["verdict"]) == {UNSIGNED, REAL}
    assert checked.loc[checked["synthetic"], "iptc"].all()
    data = (folder / "geotiff/joint/joint0_map.tif").read_bytes()
    assert read_xmp(data)["signed"] == "no: no certificate was configured"
    assert read_xmp(data)["chip_id"] == "joint0"
    assert set(check_folder(folder, project["anchor"])["verdict"]) == {STRIPPED, REAL}


def damaged(folder, change) -> pd.Series:
    """Return the verdicts of all synthetic single files after ``change(data, name, other_data)`` to each."""
    made = pictures(folder).query("synthetic")
    before = {name: (folder / name).read_bytes() for name in made["path"]}
    neighbour = {}
    for _, part in made.groupby([made["path"].str[-4:], "role"]):
        names = part["path"].to_list()
        neighbour |= dict(zip(names, names[1:] + names[:1], strict=True))
    for name, data in before.items():
        (folder / name).write_bytes(change(data, name, before[neighbour[name]]))
    checked = check_folder(folder).set_index("path")["verdict"]
    rest = checked[~checked.index.isin(made["path"])]
    assert rest.isin(GOOD).all()
    return checked[made["path"]]


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        (lambda data, name, other: flip_pixel(data, name), TAMPERED),
        (lambda data, name, other: strip_marks(data, name), STRIPPED),
        (lambda data, name, other: swap_manifest(data, other, name), SWAPPED),
        (lambda data, name, other: other, REPLACED),
        (lambda data, name, other: data[: len(data) // 2], None),
        (lambda data, name, other: data + b"\0", None),
    ],
    ids=["one pixel", "stripped", "swapped manifest", "swapped file", "cut short", "a byte more"],
)
def test_every_damaged_file_is_reported(signed, change, verdict):
    found = damaged(signed, change)
    assert len(found) == 84
    assert (found == verdict).all() if verdict else not found.isin(GOOD).any()


def test_unsigned_files_are_guarded_by_the_list_alone(project, tmp_path):
    for number, change in enumerate((flip_pixel, strip_marks)):
        folder = shutil.copytree(project["root"] / "unsigned", tmp_path / str(number))
        found = damaged(folder, lambda data, name, other, change=change: change(data, name))
        assert set(found) == {TAMPERED if change is flip_pixel else STRIPPED}


def test_planted_faults_touch_no_file(project):
    """All 84 synthetic pictures lose a pixel and their mark; the 36 real ones have no mark to lose."""
    folder = project["root"] / "unsigned"
    planted = plant_faults(folder)
    counts = planted.groupby(["synthetic", "fault"])["found"].agg(["sum", "size"])
    assert counts.apply(tuple, axis=1).to_dict() == {
        (False, "one_pixel"): (36, 36), (True, "one_pixel"): (84, 84), (True, "stripped"): (84, 84),
    }  # fmt: skip
    assert set(check_folder(folder)["verdict"]) == {UNSIGNED, REAL}


def test_a_picture_inside_a_shard_is_checked_too(signed):
    path = signed / "webdataset" / "joint-000000.tar"
    with tarfile.open(path) as shard:
        members = {m.name: shard.extractfile(m).read() for m in shard}
    members["joint1.image.png"] = flip_pixel(members["joint1.image.png"], "joint1.image.png")
    with tarfile.open(path, "w") as shard:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            shard.addfile(info, io.BytesIO(data))
    checked = check_folder(signed)
    assert set(checked.loc[~checked["verdict"].isin(GOOD), "path"]) == {
        "webdataset/joint-000000.tar", "webdataset/joint-000000.tar/joint1.image.png",
    }  # fmt: skip


def test_a_marked_real_chip_a_lost_file_and_a_foreign_one_are_reported(signed):
    (signed / "png/real/r0_image.png").write_bytes((signed / "png/joint/joint0_image.png").read_bytes())
    (signed / "png/real/r1_image.png").write_bytes(
        flip_pixel((signed / "png/real/r1_image.png").read_bytes(), ".png")
    )
    (signed / "png/joint/joint1_image.png").unlink()
    shutil.copy(signed / "png/joint/joint2_image.png", signed / "png/joint/new.png")
    found = check_folder(signed).set_index("path")["verdict"]
    faults = found[~found.isin(GOOD)].to_dict()
    assert faults == {
        "png/real/r0_image.png": FALSE_MARK, "png/real/r1_image.png": TAMPERED,
        "png/joint/joint1_image.png": MISSING, "png/joint/new.png": UNLISTED,
    }  # fmt: skip


def test_who_rewrites_files_and_list_is_found_by_the_anchor(project, signed, tmp_path):
    """Another export of the same chips, signed by somebody else: intact by itself, but not by the anchor."""
    chain, key, _ = make_credential(tmp_path / "secret", "stranger")
    study = project["signed"]
    other = study.model_copy(update={"export": study.export.model_copy(
        update={"certificate": str(chain), "key": str(key), "formats": ["png"]})})  # fmt: skip
    export_chips(other, tmp_path / "other", ["joint"])
    assert set(check_folder(tmp_path / "other")["verdict"]) == {SIGNED, REAL}
    found = check_folder(tmp_path / "other", project["anchor"])
    assert set(found["verdict"]) == {REPLACED_SIGNER, REAL}
    listed = signed / "files.csv"
    listed.write_text(listed.read_text().replace("joint0", "joint9", 1))
    assert check_folder(signed).iloc[0]["verdict"] == TAMPERED


def test_a_trial_of_marks_joins_the_study_s_measurements_and_leaves_no_key(project, capsys):
    """Signed and unsigned exports of all chips: every fault reported, no real picture marked, nothing else kept."""
    root = project["root"]
    before = set(root.rglob("*"))
    assert main(["try-marks", str(root / "config" / "smoke.yaml")]) == 0
    assert "one_pixel" in capsys.readouterr().out
    (found,) = measured_folders(root / "results" / "smoke")
    assert (found.tag, found.path) == ("command=try-marks", root / "results" / "smoke" / "marks")
    assert set(root.rglob("*")) - before == {
        found.path,
        *(found.path / n for n in ("metrics.csv", "faults.csv")),
    }
    rows = read_table(found.path / "metrics.csv", "metrics").set_index(["system", "arm", "regime"])
    shares = {
        key: (value, int(n)) for key, value, n in zip(rows.index, rows["value"], rows["n"], strict=True)
    }
    # 84 synthetic and 36 real single files; shards hold both again: 126 and 54
    assert shares == {
        ("synthetic", "", "reader=c2pa;export=signed"): (1, 126),
        ("synthetic", "", "reader=iptc;export=signed"): (1, 126),
        ("real", "", "reader=c2pa;export=signed"): (0, 54),
        ("real", "", "reader=iptc;export=signed"): (0, 54),
        ("synthetic", "one_pixel", "reader=check-marks;export=signed"): (1, 84),
        ("synthetic", "stripped", "reader=check-marks;export=signed"): (1, 84),
        ("synthetic", "swapped_manifest", "reader=check-marks;export=signed"): (1, 84),
        ("real", "one_pixel", "reader=check-marks;export=signed"): (1, 36),
        ("synthetic", "", "reader=c2pa;export=unsigned"): (0, 126),
        ("synthetic", "", "reader=iptc;export=unsigned"): (1, 126),
        ("real", "", "reader=c2pa;export=unsigned"): (0, 54),
        ("real", "", "reader=iptc;export=unsigned"): (0, 54),
        ("synthetic", "one_pixel", "reader=check-marks;export=unsigned"): (1, 84),
        ("synthetic", "stripped", "reader=check-marks;export=unsigned"): (1, 84),
        ("real", "one_pixel", "reader=check-marks;export=unsigned"): (1, 36),
        ("synthetic", "", "says=unsigned;export=unsigned"): (1, 84),
    }  # fmt: skip
    assert rows.loc[("synthetic", "stripped", "reader=check-marks;export=signed"), "low"] == pytest.approx(
        84 / (84 + 1.959964**2)  # Wilson's lower end at n of n
    )
    faults = read_table(found.path / "faults.csv", "faults")
    assert not set(faults["verdict"]) & set(GOOD)
    assert faults["files"].sum() == 3 * 84 + 36 + 2 * 84 + 36


def test_a_trial_counts_what_the_check_lets_pass(project, monkeypatch, tmp_path):
    """A checker blind to stripped marks is told from one that is not, and an export that fails its own check stops."""
    from groundsynth.checks import mark_faults
    from groundsynth.workflow import mark_trial

    judge = mark_faults.judge_file

    def blind(name, data, expected, anchors=None):
        row = judge(name, data, expected, anchors)
        return row | {"verdict": SIGNED} if row["verdict"] == STRIPPED else row

    monkeypatch.setattr(mark_faults, "judge_file", blind)
    found = mark_trial.try_marks(project["study"], 0, ["joint"], tmp_path / "out").set_index(
        ["arm", "regime"]
    )
    assert found.loc[("stripped", "reader=check-marks;export=signed"), "value"] == 0
    assert found.loc[("one_pixel", "reader=check-marks;export=signed"), "value"] == 1
    other = make_trial_credential("stranger")[1]
    monkeypatch.setattr(mark_trial, "make_trial_credential", lambda: (make_trial_credential()[0], other))
    with pytest.raises(GroundsynthError, match="are not what they were"):
        mark_trial.try_marks(project["study"], 0, ["joint"], tmp_path / "out")


def test_the_commands_tell_and_fail(project, signed, tmp_path, capsys):
    assert main(["check-marks", str(signed), "--output", str(tmp_path / "out")]) == 0
    assert SIGNED in capsys.readouterr().out
    rates = read_table(tmp_path / "out" / "metrics.csv", "metrics").set_index(["system", "regime"])["value"]
    assert rates.to_dict() == {
        ("synthetic", "reader=c2pa"): 1, ("synthetic", "reader=iptc"): 1,
        ("real", "reader=c2pa"): 0, ("real", "reader=iptc"): 0,
    }  # fmt: skip
    (signed / "png/joint/joint1_image.png").unlink()
    assert main(["check-marks", str(signed)]) == 1
    told = capsys.readouterr()
    assert "png/joint/joint1_image.png missing" in " ".join(told.out.split())
    assert told.err.splitlines()[-1].startswith(f"{signed}: 1 of 189 files are not what they were")
    smoke = str(project["root"] / "config" / "smoke.yaml")
    assert (
        main(["export-chips", smoke, "--system", "joint", "--kept", "--output", str(tmp_path / "kept")]) == 0
    )
    chips = pd.read_csv(tmp_path / "kept" / "chips.csv")
    assert chips["chip_id"].to_list() == [f"joint{k}" for k in range(1, 6)]
    assert set(chips["verdict"]) == {"keep"}


def test_shards_hold_one_sample_per_name(project):
    with tarfile.open(project["root"] / "signed" / "webdataset" / "joint-000000.tar") as shard:
        names = [member.name for member in shard]
        facts = json.load(shard.extractfile("joint0.json"))
    assert names[:3] == ["joint0.image.png", "joint0.map.png", "joint0.json"]
    assert (facts["verdict"], facts["system"]) == ("drop", "joint")


def test_croissant_names_every_file_with_its_hash(project):
    folder = project["root"] / "signed"
    described = json.loads((folder / "croissant.json").read_text())
    objects = {d["@id"]: d for d in described["distribution"] if d["@type"] == "cr:FileObject"}
    assert set(objects) == {
        "chips.csv",
        *(f"webdataset/{s}-000000.tar" for s in ("joint", "mask", "image", "text", "real")),
    }
    for name, about in objects.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == about["sha256"]
    columns = pd.read_csv(folder / "chips.csv").columns
    named = [f["source"]["extract"]["column"] for f in described["recordSet"][0]["field"]]
    assert named == list(columns)
    assert (described["license"], described["citeAs"]) == ("CC BY-SA 3.0", "its makers")
    for name in ("a/joint3.image.png", "joint3.image.png", "nc-64-r0012-c0020.image.png"):
        assert re.match(CHIP_ID, name).group(1) == name.split("/")[-1].split(".")[0]


def test_bad_input_is_one_sentence(project, tmp_path):
    study, root = project["study"], project["root"]
    chain, key, _ = make_credential(tmp_path / "c")
    _, foreign, _ = make_credential(tmp_path / "c", "other")
    poor, poor_key, _ = make_credential(tmp_path / "c", "poor", purpose=False)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()

    def with_(certificate, key):
        files = {"certificate": str(certificate), "key": str(key)}
        return study.model_copy(update={"export": study.export.model_copy(update=files)})

    cases = [
        (lambda: export_chips(study, tmp_path / "o", ["spade"]), "system 'spade' is none of this study's"),
        (lambda: export_chips(study, tmp_path / "full"), "holds other files"),
        (lambda: export_chips(with_(tmp_path / "no.pem", key), tmp_path / "o"), "no such file"),
        (lambda: export_chips(with_(key, key), tmp_path / "o"), "not a PEM certificate chain"),
        (
            lambda: export_chips(with_(chain, foreign), tmp_path / "o"),
            "is not the key of the first certificate",
        ),
        (lambda: export_chips(with_(poor, poor_key), tmp_path / "o"), "cannot sign a C2PA manifest"),
        (lambda: check_folder(tmp_path / "full"), "without the list nobody can say"),
    ]
    for call, words in cases:
        with pytest.raises(GroundsynthError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "o").exists()
    values = yaml.safe_load((root / "config" / "smoke.yaml").read_text())
    with pytest.raises(GroundsynthError, match="name both or neither"):
        validate_study(values | {"export": {"certificate": "a.pem"}})
