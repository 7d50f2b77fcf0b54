"""What all configuration models share."""

from __future__ import annotations

from pydantic import (
    BaseModel,
    ConfigDict,
)
from pydantic_core import PydanticCustomError


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def invalid(message: str, *, hint: str) -> PydanticCustomError:
    """What a validator raises where it can say more than what is wrong: how to mend it."""
    # the message is a template of pydantic's, in which braces would be fields
    context = {"message": message, "hint": hint}
    return PydanticCustomError("invalid", "{message}", context)
