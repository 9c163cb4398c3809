# Every executed notebook as a page, the report's first page, and the manifest.
rule pages:
    input:
        page_code(),
        metrics=f"results/{STUDY.study}/metrics.csv",
        run=REPORT.path("run.json"),
        data=PREPARE.of_study("data.json"),
        notebooks=[
            path
            for stage in [*EARLIER, REPORT]
            for path in stage.of_study(stage.notebook_name)
        ],
    output:
        pages=directory(REPORT.path("pages")),
        index=REPORT.path("index.html"),
        manifest=REPORT.path("manifest.json"),
    log:
        f"logs/{STUDY.study}/09_report/pages.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1500,
        gpu=0,
    params:
        study=STUDY.study,
    message:
        "pages of the report"
    shell:
        "python -m groundsynth pages {params.study} 2>&1 | tee {log:q}"
