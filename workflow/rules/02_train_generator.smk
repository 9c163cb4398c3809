# One generator per policy and seed. Checkpoints lie in results/<study>/checkpoints, outside these outputs,
# which Snakemake deletes before a rerun.
rule train_generator:
    input:
        TRAIN.code,
        real=PREPARE.path("chips.parquet"),
        data=PREPARE.path("data.json"),
        given=TRAIN.given,
        scenes=ancient(PREPARE.path("scenes")),
    output:
        model=directory(TRAIN.path("model")),
        loss=TRAIN.path("loss.csv"),
        card=TRAIN.path("model_card.md"),
        metrics=TRAIN.path("metrics.csv"),
        run=TRAIN.path("run.json"),
        notebook=TRAIN.notebook,
    log:
        TRAIN.log,
    conda:
        "../../environment.yml"
    threads: 2
    resources:
        mem_mb=3000,
        gpu=1,
    params:
        stage=TRAIN.name,
        notebook=TRAIN.parameters,
        code=TRAIN.code_hash,
    message:
        MESSAGE
    shell:
        RUN
