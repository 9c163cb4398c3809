"""The glue between Snakemake and the notebooks."""
