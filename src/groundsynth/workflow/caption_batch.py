"""A fold's caption requests as batch files, and the answers back into the journal that stage 05 reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from groundsynth.captions.batch import export_batch, import_batch
from groundsynth.captions.endpoint import EndpointWriter
from groundsynth.captions.writers import caption_seeds
from groundsynth.checks.chip_sets import read_described_chips
from groundsynth.config import Study
from groundsynth.errors import GroundsynthError
from groundsynth.paths import caption_journals
from groundsynth.workflow.parameters import generator_names


def export_fold(study: Study, fold: int, writer: str, folder: Path) -> list[Path]:
    """Write the requests of a fold that have no caption yet; return the files.

    Raises:
        GroundsynthError: the study has no such writer, or lacks the chips of stages 01 to 04.
    """
    author = _author(study, fold, writer)
    chips = read_described_chips(
        study.study, fold, generator_names(study), study.generate.systems, study.generate.shards
    )

    def requests() -> Iterator[tuple]:
        for index in range(study.caption.per_chip):
            seeds = caption_seeds(author, chips, index, study.caption.seed)
            yield from zip(chips["image"], chips["mask"], seeds, strict=True)

    return export_batch(author, requests(), folder)


def import_fold(study: Study, fold: int, writer: str, files: Sequence[Path]) -> Counter[str]:
    """Take files of answers into the journal of a fold; return how many lines met which fate."""
    author = _author(study, fold, writer)
    return sum((import_batch(author, path) for path in files), Counter())


def _author(study: Study, fold: int, writer: str) -> EndpointWriter:
    asked = [name for name in study.caption.writers if name.startswith("endpoint:")]
    if writer not in asked:
        raise GroundsynthError(
            f"study '{study.study}': caption.writers holds no '{writer}' (its endpoint writers: "
            f"{', '.join(asked) or 'none'}); name one of them"
        )
    settings = study.caption.endpoint.model_dump(mode="json")
    return EndpointWriter(writer.partition(":")[2], settings, caption_journals(study.study, fold))
