# Scenes to chips: one grid, stretch, spatial split, classes, georeference.
rule prepare_data:
    input:
        PREPARE.code,
        fetched=rules.fetch.output.note,
    output:
        chips=PREPARE.path("chips.parquet"),
        blocks=PREPARE.path("blocks.csv"),
        scenes=directory(PREPARE.path("scenes")),
        data=PREPARE.path("data.json"),
        metrics=PREPARE.path("metrics.csv"),
        run=PREPARE.path("run.json"),
        notebook=PREPARE.notebook,
    log:
        PREPARE.log,
    conda:
        "../../environment.yml"
    threads: 2
    resources:
        mem_mb=2000,
        gpu=0,
    params:
        stage=PREPARE.name,
        notebook=PREPARE.parameters,
        code=PREPARE.code_hash,
    message:
        MESSAGE
    shell:
        RUN
