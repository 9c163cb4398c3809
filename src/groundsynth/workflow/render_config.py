"""``config/laptop.yaml`` as text: every key with its meaning, what it may be, and its default."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from groundsynth.config import Study, load_study

HEADER = """\
# The laptop study, the default: every stage on the real scene in about 45 minutes on two slow cores.
# Written by `python -m groundsynth config` from src/groundsynth/config.py. Keys with a default hold
# it here: to change one, copy this file to config/<name>.yaml, name the study after it, and run
# `snakemake --cores all --configfile config/<name>.yaml`. A copy may leave out any key that has a
# default, or begin with `extends: laptop` and state only what differs. Keys without a default decide
# how long a study runs; those below are this study's own.
"""
WIDTH = 100
WORDS = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
}


def render_laptop(path: Path) -> str:
    """Return the text of ``config/laptop.yaml``.

    Args:
        path: the present file; it gives the keys that have no default, the source all the others.
    """
    schema = Study.model_json_schema(by_alias=True)
    stated = load_study(path).model_dump(mode="json", by_alias=True)
    return HEADER + "\n" + "\n".join(_lines(schema, schema["$defs"], stated, "")) + "\n"


def _lines(schema: dict, models: dict, stated: dict[str, Any], indent: str) -> Iterator[str]:
    for key, field in schema["properties"].items():
        if "$ref" in field:
            model = models[field["$ref"].rpartition("/")[2]]
            yield ""
            yield from _comment(model["description"], indent)
            yield f"{indent}{key}:"
            yield from _lines(model, models, stated[key], indent + "  ")
        else:
            value = field.get("default", stated[key])
            default = f"default {_flow(field['default'])}" if "default" in field else "stated by each study"
            yield from _comment(f"{field['description']} ({_allowed(field)}; {default})", indent)
            yield f"{indent}{key}: {_flow(value)}"


def _allowed(field: dict[str, Any]) -> str:
    """Return the type and range of one JSON-schema field in words."""
    if "anyOf" in field:
        options = [_allowed(option) for option in field["anyOf"]]
        return " or ".join(options).replace(f"list: {options[0]}", "a list of them")
    if "$ref" in field:
        return "a section of its own"
    if "const" in field:
        return f"only {field['const']}"
    if "enum" in field:
        return f"one of {', '.join(map(str, field['enum']))}"
    if field["type"] == "array":
        if "prefixItems" in field:
            return f"{len(field['prefixItems'])} {_allowed(field['prefixItems'][0])}s"
        return f"list: {_allowed(field['items'])}"
    if field["type"] == "object":
        return "table of texts"
    words = WORDS[field["type"]]
    if "multipleOf" in field:
        words = f"multiple of {field['multipleOf']:g}"
    if {"minimum", "maximum"} <= field.keys():
        return f"{words} from {field['minimum']:g} to {field['maximum']:g}"
    signs = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
    bounds = [f"{sign} {field[name]:g}" for name, sign in signs.items() if name in field]
    return " ".join([words, *bounds])


def _flow(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("...\n").strip()


def _comment(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
