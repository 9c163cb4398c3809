# The whole study: snakemake --cores all
# Another study:   snakemake --cores all --configfile config/smoke.yaml
from groundsynth.report.measurements import measured_tables
from groundsynth.workflow.study_config import check_study
from groundsynth.workflow.rule_stage import RuleStage, closing_words, page_code

from snakemake.utils import min_version

min_version("9.27")


# A --configfile is merged over this one, so the default is read only when none is named.
if "study" not in config and not workflow.overwrite_configfiles:

    configfile: "config/laptop.yaml"


STUDY = check_study(config)


wildcard_constraints:
    fold=r"\d+",
    generator=r"[a-z_]+-s\d+",
    system=r"[a-z_]+",
    shard=r"\d+",


include: "workflow/common.smk"
include: "workflow/rules/00_fetch.smk"
include: "workflow/rules/01_prepare_data.smk"
include: "workflow/rules/02_train_generator.smk"
include: "workflow/rules/03_generate.smk"
include: "workflow/rules/04_label.smk"
include: "workflow/rules/05_caption.smk"
include: "workflow/rules/06_ground.smk"
include: "workflow/rules/07_benchmark_segmentation.smk"
include: "workflow/rules/08_benchmark_captioning.smk"
include: "workflow/rules/09_report.smk"
include: "workflow/rules/09_pages.smk"


rule all:
    default_target: True
    input:
        REPORT.path("index.html"),
        REPORT.notebook,


rule publish:
    input:
        REPORT.path("index.html"),
    log:
        f"logs/{STUDY.study}/publish.log",
    localrule: True
    conda:
        "environment.yml"
    params:
        study=STUDY.study,
    shell:
        "python -m groundsynth publish {params.study} 2>&1 | tee {log:q}"


# Chips as files for others, each synthetic picture marked: snakemake export --cores 1
rule export:
    input:
        PREPARE.path("chips.parquet").format(fold=STUDY.folds[0]),
        GROUND.path("certificate.csv").format(fold=STUDY.folds[0]),
    log:
        f"logs/{STUDY.study}/export.log",
    localrule: True
    conda:
        "environment.yml"
    params:
        study=STUDY.study,
        fold=STUDY.folds[0],
    shell:
        "python -m groundsynth export-chips config/{params.study}.yaml --fold {params.fold} 2>&1 | tee {log:q}"


onsuccess:
    print(closing_words(STUDY))
