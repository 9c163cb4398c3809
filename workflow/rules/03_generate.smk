# Synthetic chips, one job per generator, system and shard. Folders have no checksum, so the model is
# ancient and the record of its training decides whether it changed.
rule generate:
    input:
        GENERATE.code,
        real=PREPARE.path("chips.parquet"),
        data=PREPARE.path("data.json"),
        model=ancient(TRAIN.path("model")),
        trained=TRAIN.path("run.json"),
    output:
        chips=GENERATE.path("chips.parquet"),
        asked=GENERATE.path("asked.csv"),
        metrics=GENERATE.path("metrics.csv"),
        run=GENERATE.path("run.json"),
        notebook=GENERATE.notebook,
    log:
        GENERATE.log,
    conda:
        "../../environment.yml"
    threads: 2
    resources:
        mem_mb=3000,
        gpu=1,
    params:
        stage=GENERATE.name,
        notebook=GENERATE.parameters,
        code=GENERATE.code_hash,
    message:
        MESSAGE
    shell:
        RUN
