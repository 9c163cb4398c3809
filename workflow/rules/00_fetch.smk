# Everything the study reads, downloaded once, verified, read-only: on a machine with a network,
# `snakemake fetch --cores 1 --configfile config/<study>.yaml`; compute nodes need none then.
# Code is no input, so nothing is downloaded twice.
rule fetch:
    output:
        note=f"{RAW}/fetched/{STUDY.study}.json",
    log:
        f"logs/{STUDY.study}/fetch.log",
    localrule: True
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=1000,
        gpu=0,
    params:
        study=f"config/{STUDY.study}.yaml",
        wanted=STUDY.data.model_dump_json(
            include={"source", "scenes", "bbox", "folder", "layout", "resolution"}
        ),
    message:
        f"fetch {', '.join(STUDY.data.sources)}"
    shell:
        "python -m groundsynth fetch --study {params.study:q} --note {output.note:q} 2>&1 | tee {log:q}"
