"""What all configuration models share."""

from __future__ import annotations

from pydantic import (
    BaseModel,
    ConfigDict,
)


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
