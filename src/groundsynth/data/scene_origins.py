"""Where a chip is from: the sensor, the season and the place of its scene, in words.

A generator that learns from several scenes can be told which one a chip is from, and be asked for one of them later.
What the scenes of a study share says nothing and is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from groundsynth.artifacts import ORIGIN
from groundsynth.data.source_kinds import Source
from groundsynth.errors import GroundsynthError

Names = tuple[tuple[str, ...], ...]  # known sensors, seasons and places; () where scenes do not differ


def describe_origin(source: Source | None, scene: str) -> dict[str, str]:
    """Return sensor, season and place of a scene; '' where its source, or nobody, does not say."""
    if source is None:
        return dict.fromkeys(ORIGIN, "")
    season = next((s.season for s in getattr(source, "scenes", ()) if s.name == scene), "")
    return {"sensor": source.sensor, "season": season or source.season, "place": source.place}


def chip_origins(data: Mapping, chips: pd.DataFrame) -> pd.DataFrame:
    """Return columns ``sensor, season, place`` for real chips, in their order.

    Args:
        data: ``data.json`` of stage 01; chips: real chips, of which ``scene`` is read.
    """
    known = {scene["scene"]: [scene.get(name, "") for name in ORIGIN] for scene in data["scenes"]}
    return pd.DataFrame([known[name] for name in chips["scene"]], columns=list(ORIGIN), index=chips.index)


def known_names(origins: pd.DataFrame) -> Names:
    """Return the sensors, seasons and places that tell chips apart; () where nothing does.

    >>> known_names(pd.DataFrame({"sensor": ["A", "A"], "season": ["May", "July"], "place": ["", ""]}))
    ((), ('July', 'May'), ())
    """
    found = [tuple(sorted(set(origins[name]) - {""})) for name in ORIGIN]
    told = [names if len(set(origins[name])) > 1 else () for name, names in zip(ORIGIN, found, strict=True)]
    return tuple(told) if any(told) else ()


def origin_codes(origins: pd.DataFrame | Sequence[Mapping[str, str]], names: Names) -> np.ndarray:
    """Return (n, 3) int64: 0 where nothing is said or the name is not known, else 1 + its place in ``names``."""
    table = pd.DataFrame(origins, columns=list(ORIGIN))
    codes = np.zeros((len(table), len(ORIGIN)), np.int64)
    for k, known in enumerate(names):
        place = {name: number for number, name in enumerate(known, start=1)}
        codes[:, k] = [place.get(name, 0) for name in table[ORIGIN[k]]]
    return codes


def check_origin(origin: Mapping[str, str] | None, names: Names) -> np.ndarray:
    """Return the codes (1, 3) of an origin given by name; what is left out is not asked for.

    Raises:
        GroundsynthError: something else than sensor, season or place, or a name that the generator was not told.
    """
    for field, name in (origin or {}).items():
        if field not in ORIGIN:
            raise GroundsynthError(f"origin names '{field}'; an origin has {', '.join(ORIGIN)}")
        known = dict(zip(ORIGIN, names or [()] * len(ORIGIN), strict=True))[field]
        if name not in known:
            cure = f"choose from {', '.join(known)}" if known else "leave it out"
            raise GroundsynthError(f"{field} '{name}' is not known to this generator; {cure}")
    return origin_codes([dict(origin or {})], names)
