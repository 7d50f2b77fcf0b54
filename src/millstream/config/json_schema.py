"""The JSON Schema of `defs.yaml`: for `dg check yaml`, and for editors.

python -m millstream.config.json_schema > defs.schema.json      as `millstream init` writes it
"""

from __future__ import annotations

import json
from typing import Any

from millstream.config.pipeline import PipelineConfig

FILE_NAME = "defs.schema.json"
LINE = f"# yaml-language-server: $schema={FILE_NAME}\n"
"""First in a `defs.yaml`: editors that know YAML complete and check it by the file beside it."""


def attributes_schema(*args: Any, **kwargs: Any) -> dict[str, Any]:
    """Of a pipeline's attributes, with room for templates."""
    schema = PipelineConfig.model_json_schema(*args, **kwargs)
    for internal in ("project", "folder", "component"):  # set by whoever reads the file
        schema["properties"].pop(internal)
    for model in (schema, *schema["$defs"].values()):
        for name, field in model.get("properties", {}).items():
            model["properties"][name] = _for_yaml(field)
    return schema


def file_schema() -> str:
    """Of a whole file, as text."""
    attributes = attributes_schema()
    definitions = attributes.pop("$defs")
    whole = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A pipeline of Millstream",
        "type": "object",
        "required": ["type", "attributes"],
        "properties": {
            "type": {"type": "string", "description": "`millstream.Pipeline`, or your subclass."},
            "attributes": attributes,
            "post_processing": {"type": "object"},
            "requirements": {"type": "object"},
            "template_vars_module": {"type": "string"},
        },
        "additionalProperties": False,
        "$defs": definitions,
    }
    return json.dumps(whole, indent=1) + "\n"


def _for_yaml(field: dict[str, Any]) -> dict[str, Any]:
    """The schema of one field, as `dg check yaml` and editors can explain it best."""
    if field.keys() & {"const", "$ref"} or field.get("type") == "string":
        return field
    if "discriminator" in field:
        return _by_discriminator(field)
    # a template such as `{{ env.REPOSITORY }}` may stand for a value of any type
    kept: dict[str, Any] = {
        name: field.pop(name) for name in ("title", "description", "default") if name in field
    }
    return {**kept, "anyOf": [field, {"type": "string", "pattern": r"\{\{.*\}\}"}]}


def _by_discriminator(field: dict[str, Any]) -> dict[str, Any]:
    """Of several models the one that the field names, so that only its own errors are shown.

    With `oneOf`, all that a reader learns is "not valid under any of the given schemas".
    """
    name, models = field["discriminator"]["propertyName"], field["discriminator"]["mapping"]
    return {
        "title": field["title"],
        "type": "object",
        "required": [name],
        "properties": {name: {"type": "string", "enum": list(models)}},
        "allOf": [
            {"if": {"properties": {name: {"const": value}}}, "then": {"$ref": reference}}
            for value, reference in models.items()
        ],
    }


if __name__ == "__main__":
    print(file_schema(), end="")
