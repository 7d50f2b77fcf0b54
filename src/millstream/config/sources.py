"""Where data comes from: one model a source."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timezone
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from millstream.common.redact import keep_secret
from millstream.config.base import Model, OneOrMany, check_paths, invalid
from millstream.config.extended_json import to_extended_json

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


REST_API_CREDENTIALS = "SOURCES__REST_API__CREDENTIALS__"
"""Where dlt looks for what a `client.auth` leaves out, such as `...TOKEN`."""
_SECRET_KEYS = frozenset(
    {"token", "api_key", "password", "client_secret", "access_token", "authorization"}
)


class RestApiConfig(Model):
    """Any REST API, by dlt's declarative `rest_api` configuration, which is taken as it is.

    Credentials come from the environment: what `client.auth` leaves out is looked for by dlt, as in
    `SOURCES__REST_API__CREDENTIALS__TOKEN`, or a template names it: `token: "{{ env.NAME }}"`.
    """

    type: Literal["rest_api"] = "rest_api"
    client: Mapping[str, Any] = Field(
        description="`base_url`, and `auth`, `headers` and `paginator` where they are needed."
    )
    resources: tuple[str | Mapping[str, Any], ...] = Field(
        min_length=1,
        description="What to load, each into a table: a path, or `name`, `endpoint`, "
        "`primary_key`, `write_disposition` and the like. Functions are written as "
        "`package.module:name`.",
    )
    resource_defaults: Mapping[str, Any] | None = Field(
        default=None, description="What holds for all resources that say nothing else."
    )
    parallel: int = Field(
        default=8,
        ge=1,
        le=64,
        description="Requests under way at once: pages of a list that names its last page or its "
        "total, and resources that are read for each row of another.",
    )
    requests_per_second: float | None = Field(
        default=None,
        gt=0,
        description="Requests begun in a second; as many as the API allows when left out.",
    )
    hosts: tuple[str, ...] = Field(
        default=(),
        description="Further hosts that links and redirects may lead to: `https://HOST`. "
        "Credentials travel there.",
    )

    @field_validator("client")
    @classmethod
    def _with_base_url(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        url = value.get("base_url")
        split = urlsplit(url) if isinstance(url, str) else None
        if split is None or split.scheme not in ("http", "https") or not split.hostname:
            raise ValueError("`base_url` must be a URL such as https://api.example.com/v1/")
        if split.username:
            raise ValueError("`base_url` must not hold credentials: they belong in `auth`")
        if "session" in value:
            raise ValueError("`session` is Millstream's own")
        return value

    @field_validator("client", "resources", "resource_defaults")
    @classmethod
    def _without_secrets(cls, value: Any) -> Any:
        for name, secret in _named_texts(value):
            # one of a template has the value of a variable
            if name in _SECRET_KEYS and secret and secret not in os.environ.values():
                raise invalid(
                    f"`{name}`: credentials do not belong in a file that is committed",
                    hint=f'put it into .env, and write `{name}: "{{{{ env.NAME }}}}"` here',
                )
        for secret in _sent(value):
            keep_secret(secret)
        return value

    @model_validator(mode="after")
    def _with_names(self) -> RestApiConfig:
        default = (self.resource_defaults or {}).get("name")
        for index, each in enumerate(self.resources):
            if not isinstance(each, str) and not (each.get("name") or default):
                raise invalid(
                    f"`resources[{index}]` has no `name`", hint="name it: so is its table called"
                )
        if not self.tables():
            raise invalid(
                "each of the `resources` has `selected: false`: none would be loaded",
                hint="take it out where rows are wanted",
            )
        return self

    @property
    def base_url(self) -> str:
        return str(self.client["base_url"])

    def origins(self) -> tuple[str, ...]:
        """Further URLs that are written here, whose hosts may be asked."""
        found = (path for name, path in _named_texts(self.resources) if name in ("path", ""))
        return (*self.hosts, *(path for path in found if "://" in path))

    def tables(self) -> tuple[tuple[str, str], ...]:
        """The resources to load, and the table of each."""
        found = []
        for each in self.resources:
            resource: Mapping[str, Any] = {"name": each} if isinstance(each, str) else each
            name = str(resource.get("name") or (self.resource_defaults or {}).get("name") or "")
            if name and resource.get("selected", True):
                found.append((name, str(resource.get("table_name") or name)))
        return tuple(found)


def _named_texts(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """The texts in a configuration, each with the key that it stands under."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _named_texts(each, str(key).lower())
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _named_texts(each, name)
    elif isinstance(value, str):
        yield name, value


def _sent(value: Any, where: str = "") -> Iterator[str]:
    """The texts in a configuration that may be secret: of `auth`, `headers` and `params`."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            if where == "auth" and key not in _SECRET_KEYS:
                continue  # such as a URL, which is not secret
            yield from _sent(each, where or (key if key in ("auth", "headers", "params") else ""))
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _sent(each, where)
    elif isinstance(value, str) and where:
        yield value


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


class SqlTable(Model):
    """How one table or view is read."""

    cursor: str | None = Field(
        default=None,
        min_length=1,
        description="Each run reads the rows that have this column at or above the last run's "
        "highest value, or null. Needs a primary key.",
    )
    lag: float = Field(
        default=0,
        ge=0,
        description="How far a run reads back behind the cursor: seconds, days of a column of "
        "dates, or units of a number.",
    )
    primary_key: OneOrMany = Field(
        default=(), description="Merge on these columns; the table's own key when left out."
    )
    columns: tuple[str, ...] = Field(
        default=(), description="Read these columns and the key alone; all when left out."
    )
    exclude: tuple[str, ...] = Field(default=(), description="Read all columns but these.")
    types: Mapping[str, Literal["text", "nested", "json"]] = Field(
        default_factory=dict,
        description="By column: `text` is the value as the database writes it, such as a numeric "
        "of any length; `nested` is text with JSON in it, which becomes columns and child tables; "
        "`json` is JSON that stays one column.",
    )
    chunk_size: int | None = Field(
        default=None, ge=1, description="Rows at once, instead of the source's."
    )
    write_disposition: Literal["merge", "replace", "append"] | None = Field(
        default=None,
        description="`merge` with a key and `replace` without one when left out. `replace` also "
        "drops what was deleted in the source; `append` adds what each run reads.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> SqlTable:
        if self.columns and self.exclude:
            raise ValueError("name either `columns` or `exclude`, not both")
        if self.lag and not self.cursor:
            raise ValueError("`lag` is how far a run reads back behind a `cursor`; name one")
        if self.cursor and self.write_disposition == "replace":
            raise ValueError("with a `cursor` a run reads new rows alone: they can't `replace` all")
        return self


class SqlDatabaseConfig(Model):
    """Tables and views of an SQL database. Its URL comes from `DATABASE_URL` or
    `SOURCES__SQL_DATABASE__CREDENTIALS`."""

    model_config = ConfigDict(populate_by_name=True)

    type: Literal["sql_database"] = "sql_database"
    url_from: str | None = Field(
        default=None,
        pattern=r"^[A-Z_][A-Z0-9_]*$",
        description="An environment variable's name, in which the URL is instead.",
    )
    # `schema` is a method of pydantic's models
    database_schema: str | None = Field(
        default=None,
        alias="schema",
        min_length=1,
        description="The schema of the tables; the user's default, such as `public`, when left "
        "out.",
    )
    tables: tuple[str, ...] = Field(
        default=("*",),
        min_length=1,
        description="Tables and views, by name or pattern (`*`, `?`). Patterns need `millstream "
        "discover` once.",
    )
    settings: Mapping[str, SqlTable] = Field(
        default_factory=dict, description="Per table, by its name."
    )
    chunk_size: int = Field(default=50_000, ge=1, description="Rows at once.")

    @model_validator(mode="after")
    def _names(self) -> SqlDatabaseConfig:
        for name in self.tables:
            if not name.strip() or "\0" in name:
                raise ValueError(f"{name!r} is not a name")
        return self

    def settings_of(self, stream: str) -> SqlTable:
        """The settings of one table, by the name of its stream."""
        return self.settings.get(stream, SqlTable())


CSV_TYPE = (
    r"^(text|bigint|double|bool|date|time|timestamp|timestamptz|json|nested"
    r"|decimal(\(\d+, *\d+\))?)$"
)


class FileStream(Model):
    """Files that make one table."""

    path: str = Field(
        description="A file or a pattern (`data/*.jsonl.gz`, `s3://bucket/**/*.json`); relative "
        "paths start from the project. `*`, `?`, `[0-9]` and `**` are patterns; `[[]` stands for a "
        "bracket. gzip and Zstandard are unpacked, whatever the name. `{partition}` stands for a "
        "partition's key, `{partition:%Y/%m/%d}` for the start of its window."
    )
    format: Literal["jsonl", "json", "csv", "parquet"] | None = Field(
        default=None, description="From the file's name when left out."
    )
    delimiter: str | None = Field(
        default=None,
        min_length=1,
        max_length=1,
        description="CSV: what is between two values; a comma when left out, a tab in `.tsv`.",
    )
    quote: str | None = Field(
        default='"',
        max_length=1,
        description="CSV: what is around a value with a delimiter or a newline in it; null for "
        "none.",
    )
    header: bool | None = Field(
        default=None,
        description="CSV: whether the first row has the names of the columns. It is taken to, "
        "unless `columns` are named; a first row with a number in it is refused until this says "
        "so.",
    )
    columns: tuple[str, ...] = Field(
        default=(), description="CSV: the names of the columns, instead of the first row's."
    )
    nulls: tuple[str, ...] = Field(
        default=("",),
        description="CSV: values that are null; in quotes they are texts.",
    )
    types: Mapping[str, Annotated[str, Field(pattern=CSV_TYPE)]] = Field(
        default_factory=dict,
        description="CSV: by column, `bigint`, `double`, `decimal`, `decimal(12, 2)`, `bool`, "
        "`date`, `time`, `timestamp`, `timestamptz` (with an offset or Z), `json` or `nested` "
        "(JSON that becomes columns and child tables). All others are text, as the file has it.",
    )
    encoding: str | None = Field(
        default=None,
        description="The text encoding, as Python names it, such as `windows-1252`. Default: "
        "UTF-8; UTF-16 and UTF-32 are detected.",
    )
    primary_key: OneOrMany = Field(
        default=(),
        description="Merge on these; one or a list. `customer.id` is the key `id` of the object "
        "`customer`. Rows are appended when left out.",
    )
    maps: tuple[str, ...] = Field(
        default=(),
        description="Objects whose keys are data, by path (`users`, `a.b`): a child table with a "
        "row for each key, instead of columns for each.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> FileStream:
        if self.header and self.columns:
            raise ValueError("name `columns` for files without a `header`")
        return self

    @field_validator("maps")
    @classmethod
    def _paths(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        check_paths(value)
        return value

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str | None) -> str | None:
        try:
            "".encode(value or "utf-8")
        except LookupError:
            raise ValueError(
                f"{value!r} is not a text encoding such as windows-1252 or utf-16"
            ) from None
        return value


class FilesConfig(Model):
    """JSON, CSV and Parquet files, local or remote; those that are new or have changed."""

    type: Literal["files"] = "files"
    streams: Mapping[str, FileStream] = Field(min_length=1, description="Files, by table.")
    options: Mapping[str, Any] = Field(
        default_factory=dict, description="fsspec's storage options, such as `anon`; no secrets."
    )
    hosts: tuple[str, ...] = Field(
        default=(),
        description="Where files over HTTP may be redirected to, besides their own host: `host` "
        "or `host:port`. A redirect anywhere else is an error.",
    )
    parallel: int = Field(default=2, ge=1, le=16, description="Chunks checked at once.")

    @field_validator("hosts")
    @classmethod
    def _plain_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            if not host or set(host) & set("/@*? "):
                raise ValueError(f"{host!r} is not a host such as example.com or example.com:8080")
        return tuple(host.lower() for host in value)


SourceConfig = Annotated[
    GitHubConfig | DltConfig | MongoDBConfig | SqlDatabaseConfig | RestApiConfig | FilesConfig,
    Field(discriminator="type"),
]
