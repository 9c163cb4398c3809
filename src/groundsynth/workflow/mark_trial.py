"""The command ``try-marks``: are marks of origin found, and is every fault reported? Tried on all chips of a study.

The chips are exported twice into a temporary folder: signed with a certificate made for this trial, whose key is
never written anywhere, and unsigned, as an export without a certificate is. Faults are planted in copies.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from groundsynth.artifacts import read_table, write_metrics, write_table
from groundsynth.checks.mark_faults import fault_rows, plant_faults
from groundsynth.checks.marked_folder import check_folder, mark_rows, rate_row
from groundsynth.config import Study
from groundsynth.data.chip_export import LIST
from groundsynth.data.marks import UNSIGNED, Credential, read_xmp
from groundsynth.data.trial_certificate import make_trial_credential
from groundsynth.workflow.export_chips import export_chips, refuse_faults

SIGNED_EXPORT, PLAIN_EXPORT = "signed", "unsigned"


def try_marks(study: Study, fold: int, systems: list[str] | None, folder: Path) -> pd.DataFrame:
    """Export, check, plant faults; write ``metrics.csv`` and ``faults.csv`` to ``folder`` and return the rows.

    Rows are ``mark_detection_rate``: by reader, of synthetic and of real pictures (where it has to be 0), and by
    fault (arm). The regime names the export.

    Args:
        systems: of the study, or ``real``; None takes all of them.

    Raises:
        GroundsynthError: stages that have not run, or an untouched export that does not pass its own check.
    """
    credential, anchor = make_trial_credential()
    rows, faults = [], []
    with tempfile.TemporaryDirectory(prefix="marks-") as temporary:
        for name, signer, trusted in ((SIGNED_EXPORT, credential, anchor), (PLAIN_EXPORT, None, None)):
            export = _export(study, fold, systems, Path(temporary) / name, signer)
            checked = check_folder(export, trusted, partial(tqdm, desc=name, mininterval=5, unit="file"))
            refuse_faults(export, checked)
            planted = plant_faults(export, trusted, partial(tqdm, desc=f"faults, {name}", mininterval=5))
            rows += mark_rows(study.study, checked, name) + fault_rows(study.study, planted, name)
            faults.append(planted.assign(export=name))
        rows.append(_admits(study.study, export))
    counted = pd.concat(faults).value_counts(["export", "synthetic", "fault", "verdict"], sort=False)
    write_table(counted.rename("files").reset_index(), folder / "faults.csv", "faults")
    return write_metrics(rows, folder / "metrics.csv")


def _export(
    study: Study, fold: int, systems: list[str] | None, folder: Path, signer: Credential | None
) -> Path:
    """Write an export that is signed by ``signer`` or by nobody, whatever certificate the study names."""
    plain = study.model_copy(
        update={"export": study.export.model_copy(update={"certificate": None, "key": None})}
    )
    export_chips(plain, folder, systems, fold, credential=signer)
    return folder


def _admits(study: str, export: Path) -> dict:
    """Return how many synthetic pictures of an unsigned export say themselves that they are unsigned."""
    listed = read_table(export / LIST, "exported_files")
    made = listed.loc[listed["synthetic"] & ~listed["path"].str.contains(".tar/", regex=False), "path"]
    said = [read_xmp((export / name).read_bytes()).get("signed") == UNSIGNED for name in made]
    return rate_row(study, "synthetic", "", f"says=unsigned;export={PLAIN_EXPORT}", sum(said), len(said))
