"""The versions of what decides the study's numbers."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from groundsynth import __version__

PACKAGES = (
    "torch", "diffusers", "transformers", "segmentation-models-pytorch", "numpy", "pandas", "rasterio",
    "scikit-learn", "snakemake", "papermill",
)  # fmt: skip


def package_versions() -> dict[str, str]:
    """Return the versions of groundsynth, Python and the packages that decide numbers (no import of them)."""
    found = {"groundsynth": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
