# A description of every chip.
rule caption:
    input:
        CAPTION.code,
        real=PREPARE.path("chips.parquet"),
        synthetic=GENERATE.of_fold("chips.parquet"),
        labels=LABEL.path("labels.parquet"),
    output:
        captions=CAPTION.path("captions.csv"),
        unwritten=CAPTION.path("unwritten.csv"),
        metrics=CAPTION.path("metrics.csv"),
        run=CAPTION.path("run.json"),
        notebook=CAPTION.notebook,
    log:
        CAPTION.log,
    conda:
        "../../environment.yml"
    threads: 2
    resources:
        mem_mb=2000,
        gpu=int(STUDY.caption.vlm is not None),
    params:
        stage=CAPTION.name,
        notebook=CAPTION.parameters,
        code=CAPTION.code_hash,
    message:
        MESSAGE
    shell:
        RUN
