"""Scenes of one or several sources, whatever their kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import ModuleType

from groundsynth.config import Data
from groundsynth.data import archives, folder, layers, worldcover
from groundsynth.data.fetch import fetch_source
from groundsynth.data.scene import Scene
from groundsynth.data.scene_names import is_chosen
from groundsynth.data.source_kinds import ArchiveSource, AreaSource, FilesSource, FolderSource, PackageSource
from groundsynth.data.sources import get_source
from groundsynth.data.store import MEMORY, Store, StoredScene
from groundsynth.errors import GroundsynthError

KINDS: dict[type, ModuleType] = {
    PackageSource: layers,
    FilesSource: layers,
    ArchiveSource: archives,
    AreaSource: worldcover,
    FolderSource: folder,
}


def iterate_scenes(options: Data, names: Iterable[str]) -> Iterator[Scene]:
    """Yield the chosen scenes of the sources one at a time, in a fixed order; fetch what is missing."""
    for name in names:
        spec = get_source(name)
        yield from KINDS[type(spec)].read(options, spec, fetch_source(options, name))


def read_scenes(
    options: Data, names: Iterable[str], store: Store = MEMORY
) -> list[Scene] | list[StoredScene]:
    """Return the chosen scenes of the sources, in a fixed order, each put into the store as it is read.

    Raises:
        GroundsynthError: a pattern of ``data.scenes`` that no scene fits; whatever makes a scene unreadable.
    """
    names = list(names)
    scenes = [store.put(scene) for scene in iterate_scenes(options, names)]
    for pattern in options.scenes:
        if not any(is_chosen(scene.name, [pattern]) for scene in scenes):
            raise GroundsynthError(
                f"data.scenes: '{pattern}' fits no scene of {', '.join(names)}; correct it, or leave data.scenes "
                "empty to use all"
            )
    return scenes
