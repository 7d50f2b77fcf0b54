"""Where data comes from: one model a source."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timezone
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from millstream.config.base import Model
from millstream.config.extended_json import to_extended_json
from millstream.config.files import FilesConfig
from millstream.config.rest_api import RestApiConfig
from millstream.config.sql_database import SqlDatabaseConfig

GitHubStream = Literal[
    "issues",
    "issue_comments",
    "issue_events",
    "pull_requests",
    "labels",
    "milestones",
    "stargazers",
    "releases",
    "commits",
]


class GitHubConfig(Model):
    """GitHub's REST API. The token comes from `GITHUB_TOKEN` or `SOURCES__GITHUB__ACCESS_TOKEN`."""

    type: Literal["github"] = "github"
    repositories: tuple[str, ...] = Field(
        default=(), description="`owner/name`, one or many; one that can't be read fails the run."
    )
    organization: str | None = Field(
        default=None,
        description="All repositories of this organisation, listed at run time; those that can't "
        "be read are skipped and reported.",
    )
    streams: tuple[GitHubStream, ...] = Field(
        default=("issues",), min_length=1, description="What to load, each into a table."
    )
    base_url: str = Field(
        default="https://api.github.com",
        description="GitHub Enterprise: `https://HOST/api/v3`.",
    )
    since: str | None = Field(
        default=None, description="Load nothing that was last updated before this ISO 8601 time."
    )
    lag_seconds: int = Field(
        default=300, ge=0, description="How far a run reads back behind the last one's cursor."
    )
    per_page: int = Field(default=100, ge=1, le=100, description="Rows a page.")
    parallel: int = Field(default=8, ge=1, le=32, description="Pages fetched at once.")

    @field_validator("repositories")
    @classmethod
    def _owner_and_name(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for repository in value:
            owner, _, name = repository.partition("/")
            if not owner or not name or "/" in name or repository != repository.strip():
                raise ValueError(f"{repository!r} is not of the form owner/name")
        return value

    @field_validator("base_url")
    @classmethod
    def _plain_url(cls, value: str) -> str:
        split = urlsplit(value)
        if split.scheme not in ("http", "https") or not split.hostname:
            raise ValueError("not a URL such as https://HOST/api/v3")
        if split.username or split.query or split.fragment:
            raise ValueError("only the API's address; the token comes from GITHUB_TOKEN")
        return value.rstrip("/")

    @field_validator("since", mode="before")
    @classmethod
    def _utc(cls, value: Any) -> Any:
        if value is None:
            return None
        # YAML turns 2024-01-01 without quotes into a date
        text = value.isoformat() if isinstance(value, date) else str(value).strip()
        try:
            moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=timezone.utc)
            moment = moment.astimezone(timezone.utc)
        except (ValueError, OverflowError):
            raise ValueError(f"{text!r} is not a time such as 2024-01-31T00:00:00Z") from None
        # strftime writes the year 900 as `900`
        return f"{moment.replace(microsecond=0, tzinfo=None).isoformat()}Z"

    @model_validator(mode="after")
    def _something_to_read(self) -> GitHubConfig:
        if not self.repositories and not self.organization:
            raise ValueError("name at least one of `repositories` and `organization`")
        return self


class DltConfig(Model):
    """Any dlt source or resource: a callable that returns it, or the object itself."""

    type: Literal["dlt"] = "dlt"
    path: str = Field(description="`package.module:function`.", pattern=r"^[\w.]+:\w+$")
    arguments: Mapping[str, Any] = Field(
        default_factory=dict, description="Keyword arguments for the function; no secrets."
    )
    streams: tuple[str, ...] = Field(
        default=(),
        description="The resources to load; all when left out, which imports the module to see.",
    )
    stream_groups: Mapping[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="Resources that are loaded together as one stream, by its name, such as "
        "`{crm: [fields, deals]}`: they share a schema and the source's state. Those that load "
        "into one table are, without being named here.",
    )

    @model_validator(mode="after")
    def _in_one_group(self) -> DltConfig:
        members = [name for group in self.stream_groups.values() for name in group]
        for name in members:
            if members.count(name) > 1:
                raise ValueError(f"stream_groups: the resource {name!r} is in two places")
        return self


class MongoDBCollection(Model):
    """How one collection is read; what is left out comes from the source's own settings."""

    filter: Mapping[str, Any] = Field(
        default_factory=dict,
        description="A MongoDB query, evaluated by the server: YAML or Extended JSON. Dates are "
        "written 2024-01-31 or 2024-01-31T12:00:00Z, ObjectIds `{$oid: '...'}`.",
    )
    projection: tuple[str, ...] = Field(
        default=(), description="Read these fields and `_id` alone; all when left out."
    )
    exclude: tuple[str, ...] = Field(default=(), description="Read all fields but these.")
    cursor: str | None = Field(
        default=None,
        min_length=1,
        description="Each run reads what has this field at or above the last run's highest value.",
    )
    lag: float = Field(
        default=0,
        ge=0,
        description="How far a run reads back behind the cursor: seconds, or units of a number.",
    )
    changes: bool | None = Field(
        default=None, description="Follow this collection's change stream, after one full load."
    )

    @field_validator("filter", mode="before")
    @classmethod
    def _extended_json(cls, value: Any) -> Any:
        return to_extended_json(value) if isinstance(value, Mapping) else value

    @model_validator(mode="after")
    def _consistent(self) -> MongoDBCollection:
        if self.projection and self.exclude:
            raise ValueError("name either `projection` or `exclude`, not both")
        if "_id" in self.exclude:
            raise ValueError("`_id` is the primary key and can't be left out")
        if self.cursor and self.changes:
            raise ValueError("name either `cursor` or `changes`: each keeps the table up to date")
        return self


class MongoDBConfig(Model):
    """MongoDB. Its address comes from `MONGODB_URI` or `SOURCES__MONGODB__CONNECTION_URL`."""

    type: Literal["mongodb"] = "mongodb"
    databases: tuple[str, ...] = Field(
        default=(), description="The connection string's database when left out."
    )
    collections: tuple[str, ...] = Field(
        default=("*",),
        min_length=1,
        description="Collections and views, by name or pattern (`*`, `?`); `database.name` where "
        "there are several databases. Patterns need `millstream discover` once.",
    )
    settings: Mapping[str, MongoDBCollection] = Field(
        default_factory=dict, description="Per collection, by its stream's name."
    )
    changes: bool = Field(
        default=False, description="Follow change streams, for all collections but views."
    )
    deletes: Literal["hard", "soft"] = Field(
        default="hard",
        description="Change streams: remove a deleted document's row, or set its `deleted_at`.",
    )
    on_lost_token: Literal["fail", "resnapshot"] = Field(
        default="fail",
        description="Where the server no longer has the changes since the last run.",
    )
    chunk_size: int = Field(default=2000, ge=1, description="Documents asked for at once.")
    parallel: int = Field(
        default=2, ge=1, le=64, description="Ranges of `_id` read at once, by one run."
    )
    resume_hours: float = Field(
        default=24, ge=0, description="How long what a broken full load had read may serve."
    )

    @model_validator(mode="after")
    def _names(self) -> MongoDBConfig:
        for name in (*self.databases, *self.collections):
            if not name.strip() or "\0" in name:
                raise ValueError(f"{name!r} is not a name")
        return self

    def settings_of(self, stream: str) -> MongoDBCollection:
        """The settings of one collection, by the name of its stream."""
        return self.settings.get(stream, MongoDBCollection())


SourceConfig = Annotated[
    GitHubConfig | DltConfig | MongoDBConfig | SqlDatabaseConfig | RestApiConfig | FilesConfig,
    Field(discriminator="type"),
]
