"""What to do about schema changes, and whom to tell."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BeforeValidator,
    Field,
    field_validator,
    model_validator,
)

from millstream.config.base import Model, OneOrMany
from millstream.formats.json_path import keys_of
from millstream.model import Action, ChangeKind, Severity

MADE_BY_ROWS: frozenset[ChangeKind] = frozenset(
    {
        "table_added",
        "column_added",
        "variant_added",
        "became_object",
        "became_list",
        "became_scalar",
    }
)
"""What single rows bring about, so that it can be kept out with them."""


class PolicyRule(Model):
    """What to do about some changes. Patterns take `*` and `?`; what is left out matches all."""

    action: Action = Field(
        description="`allow`, `warn`, `hold`, or `quarantine`, which puts the rows aside that need "
        "the change, and loads the others without it."
    )
    change: OneOrMany = Field(
        default=(), description="Kinds (`variant_added`) or severities (`risky`); one or a list."
    )
    stream: str = Field(default="*", min_length=1, description="A pattern of streams' names.")
    table: str = Field(default="*", min_length=1, description="A pattern of tables' names.")
    column: str = Field(
        default="*", min_length=1, description="Any pattern but `*` leaves out changes of tables."
    )

    @field_validator("change")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        known = (*get_args(Severity), *get_args(ChangeKind))
        for name in value:
            if name not in known:
                close = get_close_matches(name, known, n=1) or [", ".join(known)]
                raise ValueError(f"{name!r} is not a kind of change, did you mean {close[0]}?")
        return value

    @model_validator(mode="after")
    def _rows_to_blame(self) -> PolicyRule:
        for name in self.change if self.action == "quarantine" else ():
            if name in get_args(ChangeKind) and name not in MADE_BY_ROWS:
                raise ValueError(
                    f"no single row makes `{name}`, so none can be quarantined for it: hold it, or "
                    f"quarantine {', '.join(sorted(MADE_BY_ROWS))}"
                )
        return self


Preset = Literal["evolve", "strict", "anything"]


class PolicyConfig(Model):
    """What happens when a schema changes: the first rule that matches, else the preset."""

    preset: Preset = Field(
        default="evolve",
        description="`evolve` allows safe changes, warns of risky ones and holds breaking ones; "
        "`strict` holds every change; `anything` allows all.",
    )
    rules: tuple[PolicyRule, ...] = ()


def _preset_alone(value: Any) -> Any:
    return {"preset": value} if isinstance(value, str) else value


Policy = Annotated[
    PolicyConfig, BeforeValidator(_preset_alone, json_schema_input_type=Preset | PolicyConfig)
]
"""A policy; a preset without rules may be written as its name alone."""


class QuarantineConfig(Model):
    """Rows that can't be loaded go to `_millstream_quarantine` in the destination."""

    enabled: bool = Field(
        default=True,
        description="Quarantine what can't be read, what dlt refuses, and what dlt's contracts "
        "discard. Without it the first two fail the run, and the last is lost, as dlt has it.",
    )
    on_unsupported_dlt: Literal["fail", "warn"] = Field(
        default="fail",
        description="Where quarantine does not fit the installed dlt: fail the run, or warn and "
        "load without quarantine. For dlt sources and rows of Python code, with `coercion: dlt`.",
    )
    redact: tuple[str, ...] = Field(
        default=(),
        description="JSON paths (`user.email`, `tokens[].secret`, `*.password`, "
        '`"user.mail".at`) whose values are not kept; such rows can\'t be replayed.',
    )
    max_row_bytes: int = Field(
        default=65_536,
        ge=100,
        description="A larger row is cut, and its digest kept; it can't be replayed.",
    )
    max_rows: int = Field(
        default=10_000, ge=0, description="A load that would put more rows aside fails, unloaded."
    )
    max_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="The same, as a share of the load's rows: where these are 100 or more, or "
        "where 5 or more would go to quarantine. 0 allows none.",
    )

    @field_validator("redact")
    @classmethod
    def _paths(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for path in value:
            try:
                is_path = all(keys_of(path))
            except ValueError:
                is_path = False
            if not is_path:
                raise ValueError(f"{path!r} is not a path such as user.email or tokens[].secret")
        return value


class _Alert(Model):
    at_least: Severity = Field(
        default="safe",
        description="Send no message for runs whose changes are all milder, unless one is held. "
        "`safe` tells of every new column and table, `risky` of what may break a reader.",
    )


class SlackAlert(_Alert):
    """A Slack incoming webhook."""

    type: Literal["slack"] = "slack"
    url_from: str = Field(
        default="SLACK_WEBHOOK_URL",
        description="The environment variable that holds the webhook's address, which is a secret.",
    )


class WebhookAlert(_Alert):
    """Any address that takes a POST with JSON."""

    type: Literal["webhook"] = "webhook"
    url_from: str = Field(description="The environment variable that holds the address.")


class EmailAlert(_Alert):
    """Mail through an SMTP server."""

    type: Literal["email"] = "email"
    host: str = Field(description="The SMTP server.")
    port: int = Field(default=587, ge=1, le=65535, description="Its port.")
    security: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="How the connection is encrypted."
    )
    sender: str = Field(pattern=r"^[^@\s]+@[^@\s]+$", description="The address it comes from.")
    to: tuple[str, ...] = Field(min_length=1, description="The addresses it goes to.")
    user_from: str | None = Field(
        default=None, description="The environment variable that holds the user's name, if any."
    )
    password_from: str | None = Field(
        default=None, description="The environment variable that holds the password, if any."
    )

    @field_validator("to")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for address in value:
            if not re.fullmatch(r"[^@\s]+@[^@\s]+", address):
                raise ValueError(f"{address!r} is not an e-mail address")
        return value


class AppriseAlert(_Alert):
    """Any service that apprise knows; needs `millstream[apprise]`."""

    type: Literal["apprise"] = "apprise"
    url_from: str = Field(description="The environment variable that holds apprise's address.")


AlertConfig = Annotated[
    SlackAlert | WebhookAlert | EmailAlert | AppriseAlert, Field(discriminator="type")
]
