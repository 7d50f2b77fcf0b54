"""What is wrong in a `defs.yaml`, in words for whoever wrote it; pydantic's are for programmers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from millstream.config.base import Model

_Problem = Mapping[str, Any]

_LIST = "must be a list, such as [a, b]"
_MAPPING = "must be names with values, such as {a: b}"
_WORDS = {
    "extra_forbidden": "there is no such attribute",
    "missing": "is missing",
    "list_type": _LIST,
    "tuple_type": _LIST,
    "dict_type": _MAPPING,
    "mapping_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "string_type": "must be text; put quotes around it",
    "union_tag_not_found": "is missing",
}
"""By pydantic's type of error: https://docs.pydantic.dev/latest/errors/validation_errors/"""


def of(error: ValidationError) -> str:
    """Each wrong attribute by its path in the file, and what was expected; never its value."""
    lines = [f"{_path(problem)}: {_words(problem)}" for problem in _problems(error)]
    return lines[0] if len(lines) == 1 else "".join(f"\n  {line}" for line in lines)


def hint(error: ValidationError) -> str | None:
    """The name that was meant, where one is close."""
    for problem in _problems(error):
        if problem["type"] == "extra_forbidden":
            name = str(problem["loc"][-1])
            known: Sequence[str] = [name for model in _below(Model) for name in model.model_fields]
        elif problem["type"] == "union_tag_invalid":
            name, known = problem["ctx"]["tag"], _tags(problem)
        else:
            continue
        if close := get_close_matches(name, known, n=1):
            return f"did you mean `{close[0]}`?"
    return None


def _problems(error: ValidationError) -> Sequence[_Problem]:
    return error.errors(include_url=False, include_input=False)


def _path(problem: _Problem) -> str:
    """Where in the file. Pydantic also names the kind that it took for a source or an alert."""
    parts = [str(part) for part in problem["loc"]]
    if parts[:1] in (["source"], ["partitions"]):
        del parts[1:2]
    elif parts[:1] == ["alerts"]:
        del parts[2:3]
    if problem["type"].startswith("union_tag"):
        parts.append("type")
    return ".".join(parts) or "attributes"


def _words(problem: _Problem) -> str:
    kind = problem["type"]
    if kind == "union_tag_invalid":
        return f"must be one of {', '.join(map(repr, _tags(problem)))}"
    if kind == "string_pattern_mismatch" and (form := _form(problem)):
        return f"must be {form}"
    said = str(problem["msg"]).removeprefix("Value error, ")
    said = re.sub(r"^(Input|String|List|Tuple|Dictionary|Mapping) should ", "must ", said)
    return _WORDS.get(kind, said)


def _tags(problem: _Problem) -> list[str]:
    return [tag.strip("' ") for tag in problem["ctx"]["expected_tags"].split(",")]


def _form(problem: _Problem) -> str | None:
    """How the field's own description tells the form that a pattern asks for."""
    for model in _below(Model):
        field = model.model_fields.get(str(problem["loc"][-1]))
        patterns = [getattr(each, "pattern", None) for each in field.metadata] if field else []
        if field and field.description and problem["ctx"]["pattern"] in patterns:
            return field.description[0].lower() + field.description[1:].rstrip(".")
    return None


def _below(model: type[Model]) -> Iterator[type[Model]]:
    for each in model.__subclasses__():
        yield each
        yield from _below(each)
