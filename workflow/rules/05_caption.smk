# A description of every chip. The labeller is a folder, which has no checksum: ancient, and the record of
# its training decides whether it changed.
rule caption:
    input:
        CAPTION.code,
        real=PREPARE.path("chips.parquet"),
        synthetic=GENERATE.of_fold("chips.parquet"),
        labels=LABEL.path("labels.parquet"),
        labeller=ancient(LABEL.path("labeller")),
        labelled=LABEL.path("run.json"),
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
        gpu=1,
    params:
        stage=CAPTION.name,
        notebook=CAPTION.parameters,
        code=CAPTION.code_hash,
    message:
        MESSAGE
    shell:
        RUN
