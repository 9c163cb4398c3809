# What the rule files share: the stages, the command every stage runs, and its interpreter.
import os
import sys
from pathlib import Path

PREPARE = RuleStage(STUDY, "01_prepare_data")
TRAIN = RuleStage(STUDY, "02_train_generator")
GENERATE = RuleStage(STUDY, "03_generate")
LABEL = RuleStage(STUDY, "04_label")
CAPTION = RuleStage(STUDY, "05_caption")
GROUND = RuleStage(STUDY, "06_ground")
BENCHMARK = RuleStage(STUDY, "07_benchmark_segmentation")
CAPTIONING = RuleStage(STUDY, "08_benchmark_captioning")
REPORT = RuleStage(STUDY, "09_report")

# Downloads lie in data/raw, unless GROUNDSYNTH_DATA names another folder.
RAW = os.environ.get("GROUNDSYNTH_DATA", "data/raw")

# `python` is the interpreter that runs Snakemake, unless --sdm conda activates another.
shell.prefix(
    f"set -euo pipefail; export PATH='{Path(sys.executable).parent}':\"$PATH\"; "
)

# exec: no shell stays between Snakemake and the runner, which dies with its parent.
RUN = (
    "exec python -m groundsynth run-notebook notebooks/{params.stage}.ipynb"
    " --parameters {params.notebook:q} --output {output.notebook:q} --log {log:q} --threads {threads}"
)
MESSAGE = "{params.stage} ({wildcards})  log: {log}"
