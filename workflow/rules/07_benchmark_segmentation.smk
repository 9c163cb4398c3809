# What synthetic chips are worth to a segmenter: every arm and seed.
rule benchmark_segmentation:
    input:
        BENCHMARK.code,
        real=PREPARE.path("chips.parquet"),
        data=PREPARE.path("data.json"),
        synthetic=GENERATE.of_fold("chips.parquet"),
        asked=GENERATE.of_fold("asked.csv"),
        labels=LABEL.path("labels.parquet"),
        filtered=LABEL.filtered,
        certificates=GROUND.certificates,
    output:
        counts=BENCHMARK.path("counts.csv"),
        networks=BENCHMARK.network_counts,
        borders=BENCHMARK.path("borders.csv"),
        calibration=BENCHMARK.path("calibration.csv"),
        runs=BENCHMARK.path("runs.csv"),
        history=BENCHMARK.path("history.csv"),
        metrics=BENCHMARK.path("metrics.csv"),
        run=BENCHMARK.path("run.json"),
        notebook=BENCHMARK.notebook,
    log:
        BENCHMARK.log,
    conda:
        "../../environment.yml"
    threads: 2
    resources:
        mem_mb=3000,
        gpu=1,
    params:
        stage=BENCHMARK.name,
        notebook=BENCHMARK.parameters,
        code=BENCHMARK.code_hash,
    message:
        MESSAGE
    shell:
        RUN
