"""What all configuration models share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic_core import PydanticCustomError


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _one_or_many(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


OneOrMany = Annotated[
    tuple[str, ...],
    BeforeValidator(_one_or_many, json_schema_input_type=str | tuple[str, ...]),
]
"""Texts; one may be written without a list around it."""


def check_paths(paths: Iterable[str]) -> None:
    """
    Raises:
        ValueError: one of them is not a path of fields, dots between levels.
    """
    for path in paths:
        if not all(path.split(".")):
            raise ValueError(f"{path!r} is not a path such as users or a.b")


def invalid(message: str, *, hint: str) -> PydanticCustomError:
    """What a validator raises where it can say more than what is wrong: how to mend it."""
    # the message is a template of pydantic's, in which braces would be fields
    context = {"message": message, "hint": hint}
    return PydanticCustomError("invalid", "{message}", context)
