"""The scenes of an atlas as pictures of 8 bits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from groundsynth.data.atlas import Atlas
from groundsynth.data.scene import Stretch, apply_stretch
from groundsynth.data.store import StoredScene


class Pictures:
    """One picture per scene, (h, w, 3) uint8, in the atlas's store: ``pictures[number]`` reads one.

    Scenes of display values that lie there already are not kept twice.

    Args:
        atlas: whose scenes are shown.
        stretches: one per scene.
    """

    def __init__(self, atlas: Atlas, stretches: Sequence[Stretch]) -> None:
        self._kept = [
            (isinstance(scene, StoredScene) and scene.picture)
            or atlas.store.keep(apply_stretch(scene.bands, stretch.limits))
            for scene, stretch in zip(atlas.scenes, stretches, strict=True)
        ]

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, number: int) -> np.ndarray:
        return self._kept[number]()
