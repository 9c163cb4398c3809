# Claims checked against maps; a certificate per synthetic chip. Scenes and labeller are folders, which
# have no checksum: ancient, and their chips and the record of the training decide whether they changed.
rule ground:
    input:
        GROUND.code,
        real=PREPARE.path("chips.parquet"),
        data=PREPARE.path("data.json"),
        scenes=ancient(PREPARE.path("scenes")),
        labeller=ancient(LABEL.path("labeller")),
        labelled=LABEL.path("run.json"),
        synthetic=GENERATE.of_fold("chips.parquet"),
        labels=LABEL.path("labels.parquet"),
        agreement=LABEL.path("agreement.csv"),
        captions=CAPTION.path("captions.csv"),
        sentences=expand(
            "src/groundsynth/captions/parser_sentences/{part}.yaml",
            part=("development", "once_held_back", "held_back"),
        ),
    output:
        claims=GROUND.path("claims.csv"),
        certificate=GROUND.path("certificate.csv"),
        thresholds=GROUND.path("thresholds.json"),
        contrastive=GROUND.path("contrastive.csv"),
        metrics=GROUND.path("metrics.csv"),
        run=GROUND.path("run.json"),
        notebook=GROUND.notebook,
    log:
        GROUND.log,
    conda:
        "../../environment.yml"
    threads: 2
    resources:
        mem_mb=3000,
        gpu=1,
    params:
        stage=GROUND.name,
        notebook=GROUND.parameters,
        code=GROUND.code_hash,
    message:
        MESSAGE
    shell:
        RUN
