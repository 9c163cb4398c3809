# What synthetic chips are worth to a captioner: every arm and seed.
rule benchmark_captioning:
    input:
        CAPTIONING.code,
        real=PREPARE.path("chips.parquet"),
        synthetic=GENERATE.of_fold("chips.parquet"),
        labels=LABEL.path("labels.parquet"),
    output:
        captions=CAPTIONING.path("test_captions.csv"),
        runs=CAPTIONING.path("runs.csv"),
        history=CAPTIONING.path("history.csv"),
        metrics=CAPTIONING.path("metrics.csv"),
        run=CAPTIONING.path("run.json"),
        notebook=CAPTIONING.notebook,
    log:
        CAPTIONING.log,
    conda:
        "../../environment.yml"
    threads: 2
    resources:
        mem_mb=3000,
        gpu=1,
    params:
        stage=CAPTIONING.name,
        notebook=CAPTIONING.parameters,
        code=CAPTIONING.code_hash,
    message:
        MESSAGE
    shell:
        RUN
