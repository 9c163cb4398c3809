# The one table of numbers and every figure, from what the stages left; then the pages.
EARLIER = [PREPARE, TRAIN, GENERATE, LABEL, CAPTION, GROUND, BENCHMARK, CAPTIONING]


rule report:
    input:
        REPORT.code,
        claims="config/claims.yaml",
        metrics=[path for stage in EARLIER for path in stage.of_study("metrics.csv")],
        measured=measured_tables(STUDY.study),
        counts=BENCHMARK.of_study("counts.csv"),
        trained=BENCHMARK.of_study("runs.csv") + BENCHMARK.of_study("history.csv"),
        runs=[path for stage in EARLIER for path in stage.of_study("run.json")],
        real=PREPARE.of_study("chips.parquet"),
        synthetic=GENERATE.of_study("chips.parquet"),
        labels=LABEL.of_study("labels.parquet"),
        certificates=GROUND.of_study("certificate.csv"),
    output:
        metrics=f"results/{STUDY.study}/metrics.csv",
        run=REPORT.path("run.json"),
        notebook=REPORT.notebook,
    log:
        REPORT.log,
    conda:
        "../../environment.yml"
    threads: 2
    resources:
        mem_mb=2000,
        gpu=0,
    params:
        stage=REPORT.name,
        notebook=REPORT.parameters,
        code=REPORT.code_hash,
    message:
        MESSAGE
    shell:
        RUN
