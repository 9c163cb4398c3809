"""Croissant metadata of an exported folder: JSON-LD that data loaders and search engines read.

Vocabulary: Croissant 1.0 (https://docs.mlcommons.org/croissant/docs/croissant-spec.html).
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from groundsynth import __version__
from groundsynth.legend import CLASSES

CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
CHIP_ID = r"^(?:.*/)?([\w-]+)(?:\..*)?$"  # from the name of a shard's member


def croissant(
    name: str, about: dict[str, str], chips: pd.DataFrame, files: dict[str, str], shards: dict[str, str]
) -> dict[str, Any]:
    """Return the metadata of an export as a JSON-LD object.

    Args:
        name: of the data set.
        about: ``title``, ``licence``, ``citation`` of the scene it comes from.
        chips: the flat table of chips.
        files: SHA-256 of ``chips.csv``; shards: SHA-256 of each WebDataset shard, by path.
    """
    systems = ", ".join(chips["system"].unique())
    made = int((chips["origin"] == "synthetic").sum())
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": name,
        "description": (
            f"{len(chips)} chips of land-cover imagery with maps, of which {made} are synthetic ({systems}), made by "
            f"groundsynth {__version__} from: {about['title']}. Classes: "
            f"{', '.join(f'{k} {label}' for k, label in enumerate(CLASSES))}; 255 is no label. Every synthetic "
            "picture carries the IPTC digital source type trainedAlgorithmicMedia."
        ),
        "license": about["licence"],
        "citeAs": about["citation"],
        "version": __version__,
        "url": f"urn:groundsynth:{name}",
        "distribution": _distribution(files, shards),
        "recordSet": [_chips(chips), *([_pictures()] if shards else [])],
    }


def _distribution(files: dict[str, str], shards: dict[str, str]) -> list[dict]:
    def one(path: str, kind: str, digest: str) -> dict:
        return {
            "@type": "cr:FileObject", "@id": path, "name": path, "contentUrl": path, "encodingFormat": kind,
            "sha256": digest,
        }  # fmt: skip

    found = [one(path, "text/csv", digest) for path, digest in files.items()]
    found += [one(path, "application/x-tar", digest) for path, digest in shards.items()]
    if shards:
        inside = [{"@id": path} for path in shards]
        found += [
            {"@type": "cr:FileSet", "@id": f"{role}s", "name": f"{role}s", "containedIn": inside,
             "encodingFormat": "image/png", "includes": f"*.{role}.png"} for role in ("image", "map")
        ]  # fmt: skip
    return found


def _chips(chips: pd.DataFrame) -> dict:
    fields = [
        {
            "@type": "cr:Field", "@id": f"chips/{column}", "name": column,
            "dataType": "sc:Float" if kind.kind == "f" else "sc:Text",
            "source": {"fileObject": {"@id": "chips.csv"}, "extract": {"column": column}},
        }
        for column, kind in chips.dtypes.items()
    ]  # fmt: skip
    return {
        "@type": "cr:RecordSet", "@id": "chips", "name": "chips", "key": {"@id": "chips/chip_id"},
        "description": "One row per chip: how it was made, its caption, verdict, class shares and place.",
        "field": fields,
    }  # fmt: skip


def _pictures() -> dict:
    def content(role: str) -> dict:
        return {
            "@type": "cr:Field", "@id": f"images/{role}", "name": role, "dataType": "sc:ImageObject",
            "source": {"fileSet": {"@id": "images"}, "extract": {"fileProperty": "content"}},
        }  # fmt: skip

    chip = {
        "@type": "cr:Field", "@id": "images/chip_id", "name": "chip_id", "dataType": "sc:Text",
        "source": {"fileSet": {"@id": "images"}, "extract": {"fileProperty": "filename"},
                   "transform": {"regex": CHIP_ID}},
        "references": {"field": {"@id": "chips/chip_id"}},
    }  # fmt: skip
    return {
        "@type": "cr:RecordSet", "@id": "pictures", "name": "pictures",
        "description": "The images in the shards, by chip.", "field": [chip, content("image")],
    }  # fmt: skip
