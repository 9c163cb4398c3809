"""The documents name only what exists, quote only published numbers, and know no machine."""

import re
import subprocess

import pytest
import yaml

from groundsynth.config import STAGES
from groundsynth.paths import project_root
from groundsynth.report.publish import verify_pictures
from groundsynth.report.readme import between_markers, front_block

ROOT = project_root()
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "results/README.md", "results/verification.md"]
PUBLISHED = ROOT / "results" / "published" / "laptop"
# made by a run, so not in a fresh copy
MADE = re.compile(r"^results/(?!README|published)|<|…|NN_")
TOP = "notebooks|src|config|data|results|tests|workflow|profiles"


def tracked_texts():
    """Return every file git would publish, as (path, text); pictures are left out."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    for name in listed:
        path = ROOT / name
        if path.is_file() and path.suffix not in {".png", ".webp", ".tif", ".parquet"}:
            yield name, path.read_text(encoding="utf-8")


def named_files(text):
    """Return the project's files a document names in code, links and pictures."""
    spans = [span for span in re.findall(r"`([^`\n]+)`", text) if "…" not in span]
    words = [word for span in spans for word in span.split()]
    words += re.findall(r"\]\(([^)#:]+)\)", text)
    top = [
        w for w in words if re.match(rf"^({TOP})/", w) or re.match(r"^[\w.-]+\.(md|yml|toml|lock|cff)$", w)
    ]
    return [word for word in top if not MADE.search(word)]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_named_files_exist(document):
    names = named_files((ROOT / document).read_text())
    if not PUBLISHED.is_dir():
        names = [name for name in names if not name.startswith("results/published")]
    folder = (ROOT / document).parent
    missing = [name for name in names if not ((ROOT / name).exists() or (folder / name).exists())]
    assert not missing


def test_the_finder_of_names_finds_a_wrong_one():
    assert named_files("see `config/nowhere.yaml` and [x](data/gone.md)") == [
        "config/nowhere.yaml",
        "data/gone.md",
    ]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_named_make_targets_exist(document):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = re.findall(r"\bmake (\w+)(?=`|\s+#|$)", (ROOT / document).read_text(), flags=re.MULTILINE)
    assert set(named) <= targets


@pytest.mark.parametrize("document", DOCUMENTS)
def test_named_commands_exist(document):
    from groundsynth.__main__ import build_parser

    text = (ROOT / document).read_text()
    for command in re.findall(r"python -m groundsynth (\w[\w-]*)", text):
        with pytest.raises(SystemExit) as stop:
            build_parser().parse_args([command, "--help"])
        assert stop.value.code == 0
    rules = "\n".join(path.read_text() for path in [ROOT / "Snakefile", *ROOT.glob("workflow/rules/*.smk")])
    for target in re.findall(r"`snakemake (\w+)`", text):
        assert f"rule {target}:" in rules


def test_the_readme_lists_every_notebook():
    text = (ROOT / "README.md").read_text()
    for stage in STAGES:
        assert f"`{stage}`" in text
    others = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")} - set(STAGES)
    assert all(f"`notebooks/{name}.ipynb`" in text for name in others)


def test_the_readme_quotes_the_published_laptop_study():
    block = between_markers((ROOT / "README.md").read_text())
    if PUBLISHED.is_dir():
        assert block == front_block(PUBLISHED.parent, "laptop").strip()
    else:
        assert not re.search(r"\d\.\d", block)


@pytest.mark.parametrize(
    "study", sorted(path.parent.name for path in PUBLISHED.parent.glob("*/manifest.json"))
)
def test_the_pages_of_a_published_study_show_their_pictures(study):
    verify_pictures(PUBLISHED.parent / study)


def test_no_machine_is_named():
    places = [
        r"/ho" + r"me/\w",
        r"/ro" + r"ot/",
        r"/Us" + r"ers/\w",
        r"(?<![\w.$/])/wo" + r"rk/",
        r"(?<![\w/])/tm" + r"p/",
    ]
    places += [r"\blocalhost:\d", r"--(extra-)?index-" + r"url", re.escape(str(ROOT)) + r"(?=/)"]
    pattern = re.compile("|".join(places))
    found = {}
    for name, text in tracked_texts():
        hit = pattern.search(re.sub(r"base64,[A-Za-z0-9+/=\s]+", "", text))
        if hit:
            found[name] = hit.group(0)
    assert not found


def test_the_citation_is_valid():
    from groundsynth import __version__

    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    assert cited["version"] == __version__
    assert cited["authors"] == [{"name": "The groundsynth authors"}]
    assert cited["license"] == "MIT"
    assert "MIT License" in (ROOT / "LICENSE").read_text()
