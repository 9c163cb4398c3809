"""The report of a published study made anew from its published tables, where the study itself is not on this machine.

What stages computed stays as it is. What the report computes from their counts, such as pooled intervals, follows the
code: when a statistic has been corrected, a study of hours need not run again.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from groundsynth.config import load_study
from groundsynth.errors import GroundsynthError
from groundsynth.paths import project_root, published_dir, results_dir
from groundsynth.report.provenance import find_config
from groundsynth.report.publish import publish_report, require_same_settings
from groundsynth.report.tables import REPORT, report_dir
from groundsynth.workflow.parameters import notebook_parameters
from groundsynth.workflow.runner import run_notebook


def renew_report(name: str) -> Path:
    """Run the report's notebook over a published study, and publish what it shows; return the published folder.

    Raises:
        GroundsynthError: no published study, one of other settings, or results here that can be published whole.
    """
    study, published = load_study(find_config(name)), published_dir(name)
    if report_dir(name) != published:
        raise GroundsynthError(
            f"results/{name}: the study is on this machine, so publish it whole: python -m groundsynth publish {name}"
        )
    require_same_settings(study, published)
    place = results_dir(f"renewed-{name}")
    folder = place / REPORT
    parameters = notebook_parameters(study, REPORT, None)
    parameters["out"] = str(folder.relative_to(project_root()))
    notebook = project_root() / "notebooks" / f"{REPORT}.ipynb"
    run_notebook(notebook, parameters, folder / notebook.name, place / "report.log", threads=1)
    target = publish_report(name, folder)
    shutil.rmtree(place)
    return target
