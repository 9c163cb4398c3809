# A segmenter trained on real chips labels every synthetic and held-out chip.
rule label:
    input:
        LABEL.code,
        real=PREPARE.path("chips.parquet"),
        data=PREPARE.path("data.json"),
        synthetic=GENERATE.of_fold("chips.parquet"),
        asked=GENERATE.of_fold("asked.csv"),
    output:
        labeller=directory(LABEL.path("labeller")),
        labels=LABEL.path("labels.parquet"),
        filtered=LABEL.filtered,
        blind=LABEL.blind_labels,
        agreement=LABEL.path("agreement.csv"),
        metrics=LABEL.path("metrics.csv"),
        run=LABEL.path("run.json"),
        notebook=LABEL.notebook,
    log:
        LABEL.log,
    conda:
        "../../environment.yml"
    threads: 2
    resources:
        mem_mb=3000,
        gpu=1,
    params:
        stage=LABEL.name,
        notebook=LABEL.parameters,
        code=LABEL.code_hash,
    message:
        MESSAGE
    shell:
        RUN
