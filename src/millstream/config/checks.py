"""What Dagster's checks of a stream ask for, and whether they stop what is downstream."""

from __future__ import annotations

from pydantic import Field

from millstream.config.base import Model


class SchemaCheckConfig(Model):
    """The check `schema`: fails while a change is held, warns of what the policy warns of."""

    blocking: bool = Field(
        default=True, description="Whether a held change keeps downstream assets from running."
    )


class ProfileCheckConfig(Model):
    """The check `profile`: presence and null share of each column against the last ten loads."""

    blocking: bool = Field(
        default=False,
        description="Whether a share that jumped is an error and keeps downstream assets from "
        "running; else it is a warning.",
    )
    threshold: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="How far outside the range of recent loads a share must be, 0 to 1.",
    )
    min_rows: int = Field(
        default=20,
        ge=1,
        description="Loads with fewer rows of a table are neither judged nor made a measure.",
    )
