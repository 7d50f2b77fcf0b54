"""What is wrong in a `defs.yaml`, in words for whoever wrote it; pydantic's are for programmers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, get_args, get_origin

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

_NOT_A_MODEL = ("model_type", "model_attributes_type")
_SECRET = re.compile(
    r"(.+_)?(token|secret|password|passwd|credentials?|uri|dsn|url|api_?key|auth|connection(_string)?)"
)
_CREDENTIALS = {
    "github": "credentials belong in .env: GITHUB_TOKEN",
    "mongodb": "credentials belong in .env: MONGODB_URI",
    "sql_database": "credentials belong in .env: DATABASE_URL",
    "dlt": "credentials belong in .env or in dlt's secrets.toml: SOURCES__MODULE__NAME, where dlt "
    "looks for the function's argument NAME",
    "rest_api": "credentials belong in .env: SOURCES__REST_API__CREDENTIALS__TOKEN, for "
    "`client: {auth: {type: bearer}}`",
    "files": "credentials belong in .env or in the cloud's own settings, where fsspec looks: "
    "AWS_ACCESS_KEY_ID, GOOGLE_APPLICATION_CREDENTIALS",
}
"""By type of source, where its credentials are looked for."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """All that is wrong, by path in the file, never with its value; and how to mend it."""

    message: str
    hint: str | None


def of(
    error: ValidationError, root: type[Model], attributes: Mapping[str, Any] | None = None
) -> Complaint:
    """Each wrong attribute, and what was expected.

    Args:
        root: the model that was to be validated.
        attributes: what it was to be made of, from which the destination's type is taken.
    """
    target = (attributes or {}).get("destination")
    destination = str(target.get("type", "duckdb")) if isinstance(target, Mapping) else "NAME"
    problems = list(_problems(error))
    lines = [
        (f"{_path(each)}: {_words(each)}", _remedy(each, root, destination)) for each in problems
    ]
    if len(lines) == 1:
        return Complaint(*lines[0])
    # of several, each says its own remedy: one at the end would be taken for that of all
    return Complaint(
        "".join(f"\n  {text}" + (f" ({remedy})" if remedy else "") for text, remedy in lines), None
    )


def _problems(error: ValidationError) -> Iterator[_Problem]:
    # the input alone tells what a name resembles; it is in no message, since it may be a secret
    found: Sequence[_Problem] = error.errors(include_url=False, include_input=True)
    for problem in found:
        place = problem["loc"]
        # a list of which each item is wrong counts as too short, too
        inner = any(each["loc"][: len(place)] == place != each["loc"] for each in found)
        if problem["type"] != "too_short" or not inner:
            yield problem


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
    if _is_credential(problem):
        return "credentials do not belong in a file that is committed"
    said = str(problem["msg"]).removeprefix("Value error, ")
    said = re.sub(r"^(Input|String|List|Tuple|Dictionary|Mapping) should ", "must ", said)
    return _WORDS.get(kind, said)


def _remedy(problem: _Problem, root: type[Model], destination: str) -> str | None:
    """How to mend it, such as the name that was meant; None where nobody can tell."""
    kind, context = problem["type"], problem.get("ctx", {})
    if "hint" in context:
        return str(context["hint"])
    *place, name = problem["loc"] or ("",)  # what is wrong with the whole has no place
    if kind == "extra_forbidden":
        if _is_credential(problem):
            return _where_credentials_belong(place, destination)
        return _misplaced(str(name), _model_at(root, place), root)
    if kind in _NOT_A_MODEL and (model := _model_at(root, problem["loc"])):
        needed = [each for each, field in model.model_fields.items() if field.is_required()]
        if "enabled" in model.model_fields and isinstance(problem["input"], bool):
            return f"write {{enabled: {str(problem['input']).lower()}}}"
        return "write {" + ", ".join(f"{each}: ..." for each in needed) + "}" if needed else None
    if kind == "union_tag_invalid":
        return _did_you_mean(str(context["tag"]), _tags(problem))
    if kind == "literal_error":
        return _did_you_mean(str(problem["input"]), re.findall(r"'([^']*)'", context["expected"]))
    return None


def _is_credential(problem: _Problem) -> bool:
    name = str(problem["loc"][-1]).lower() if problem["loc"] else ""
    at = problem["loc"][0] if problem["loc"] else ""
    return (
        problem["type"] == "extra_forbidden"
        and at in ("source", "destination", "alerts")
        and _SECRET.fullmatch(name) is not None
    )


def _where_credentials_belong(place: Sequence[Any], destination: str) -> str:
    if place[0] == "source":
        return _CREDENTIALS[str(place[1])]
    if place[0] == "alerts":
        return "addresses and passwords belong in .env; `url_from: NAME` names the variable"
    kind = destination.rsplit(".", 1)[-1].upper()
    return f"credentials belong in .env: DESTINATION__{kind}__CREDENTIALS"


def _misplaced(name: str, model: type[Model] | None, root: type[Model]) -> str | None:
    """What an attribute that the model lacks was meant to be, or where it belongs."""
    if model is None:
        return None
    own = [each for each, field in model.model_fields.items() if not field.exclude]
    if get_close_matches(name, own, n=1, cutoff=0.9):  # such as a missing s
        return _did_you_mean(name, own)
    for each in own:  # of each of what it names, such as a stream
        held = model.model_fields[each].annotation
        if get_origin(held) is Mapping and any(name in at.model_fields for at in _within(held)):
            return f"write `{each}: {{NAME: {{{name}: ...}}}}`"
    places = [at for at, other in _models(root) if name in other.model_fields]
    if len(places) > 1:  # of several sources, whichever it is
        places = [places[0].partition(" of type ")[0]]
    return f"`{name}` belongs {places[0]}" if places else _did_you_mean(name, own)


def _did_you_mean(name: str, known: Sequence[str]) -> str | None:
    close = get_close_matches(name, known, n=1)
    return f"did you mean `{close[0]}`?" if close and close[0] != name else None


def _model_at(root: type[Model], place: Sequence[Any]) -> type[Model] | None:
    """The model at a path of an error, which also names the kinds that a `type` chose."""
    at: Any = root
    for part in place:
        at = _alone(at)
        if isinstance(at, type) and issubclass(at, Model):
            field = at.model_fields.get(str(part))
            at = field.annotation if field else None
        elif item := _item(at):
            at = item
        else:
            at = next((each for each in _within(at) if _tag(each) == part), None)
    at = _alone(at)
    return at if isinstance(at, type) and issubclass(at, Model) else None


def _alone(annotation: Any) -> Any:
    """The one model that an annotation allows, besides None; else the annotation."""
    models = list(_within(annotation))
    return models[0] if len(models) == 1 and not _item(annotation) else annotation


def _item(annotation: Any) -> Any:
    """What a list or a mapping holds; None of anything else."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if not isinstance(origin, type):
        return None
    if issubclass(origin, Mapping):
        return inside[1]
    return inside[0] if issubclass(origin, (tuple, list)) else None


def _within(annotation: Any) -> Iterator[type[Model]]:
    """The models that an annotation names, whatever is around them."""
    if isinstance(annotation, type) and not get_args(annotation):
        if issubclass(annotation, Model):
            yield annotation
        return
    if get_origin(annotation) is not Literal:
        for each in get_args(annotation):
            yield from _within(each)


def _tag(model: type[Model]) -> str | None:
    field = model.model_fields.get("type")
    return str(field.default) if field and get_origin(field.annotation) is Literal else None


def _models(root: type[Model]) -> Iterator[tuple[str, type[Model]]]:
    """The models at the top of a file, with the words for their place."""
    yield "at the top, beside `name`", root
    for name, field in root.model_fields.items():
        for model in _within(field.annotation):
            tag = f" of type {_tag(model)}" if name == "source" else ""
            yield f"under `{name}`{tag}", model


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
