"""Files and environment -> frozen configuration; nothing else in the package reads either.

A pipeline is described once, in `defs.yaml`. Dagster hands its `attributes` to the same models that
`millstream run` reads here. Credentials are never part of it: `credential()` finds them when a run
needs them, in the environment, `.env` or dlt's `secrets.toml`, under the names that dlt documents.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import date, datetime, timezone
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from millstream.errors import ConfigError
from millstream.model import Action, ChangeKind, Severity

COMPONENT_TYPE = "millstream.Pipeline"

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


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GitHubConfig(_Model):
    """GitHub's REST API. The token comes from `GITHUB_TOKEN` or `SOURCES__GITHUB__ACCESS_TOKEN`."""

    type: Literal["github"] = "github"
    repositories: tuple[str, ...] = Field(default=(), description="`owner/name`, one or many.")
    organization: str | None = Field(
        default=None, description="All repositories of this organisation, listed at run time."
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
        except ValueError:
            raise ValueError(f"{text!r} is not a time such as 2024-01-31T00:00:00Z") from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone.utc)
        return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

    @model_validator(mode="after")
    def _something_to_read(self) -> GitHubConfig:
        if not self.repositories and not self.organization:
            raise ValueError("name at least one of `repositories` and `organization`")
        return self


class DltConfig(_Model):
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


class MongoDBCollection(_Model):
    """How one collection is read; what is left out comes from the source's own settings."""

    filter: Mapping[str, Any] = Field(
        default_factory=dict,
        description="A MongoDB query in Extended JSON, evaluated by the server.",
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

    @model_validator(mode="after")
    def _consistent(self) -> MongoDBCollection:
        if self.projection and self.exclude:
            raise ValueError("name either `projection` or `exclude`, not both")
        if "_id" in self.exclude:
            raise ValueError("`_id` is the primary key and can't be left out")
        if self.cursor and self.changes:
            raise ValueError("name either `cursor` or `changes`: each keeps the table up to date")
        return self


class MongoDBConfig(_Model):
    """MongoDB. Its address comes from `MONGODB_URI` or `SOURCES__MONGODB__CONNECTION_URL`."""

    _folder: Path | None = PrivateAttr(default=None)

    type: Literal["mongodb"] = "mongodb"
    databases: tuple[str, ...] = Field(
        default=(), description="The connection string's database when left out."
    )
    collections: tuple[str, ...] = Field(
        default=("*",),
        min_length=1,
        description="Collections and views, by name or pattern (`*`, `?`); `database.name` where there "
        "are several databases. Patterns need `millstream discover` once.",
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

    @property
    def folder(self) -> Path | None:
        """The folder of `defs.yaml`, where `collections.yaml` lies beside it."""
        return self._folder

    def settings_of(self, stream: str) -> MongoDBCollection:
        """The settings of one collection, by the name of its stream."""
        return self.settings.get(stream, MongoDBCollection())


class FileStream(_Model):
    """Files that make one table."""

    path: str = Field(
        description="A file or a pattern (`data/*.jsonl.gz`, `s3://bucket/**/*.json`); relative "
        "paths start from the project. `.gz` and `.zst` are unpacked."
    )
    format: Literal["jsonl", "json"] | None = Field(
        default=None, description="From the file's name when left out."
    )
    primary_key: tuple[str, ...] = Field(
        default=(), description="Merge on these; rows are appended when left out."
    )


class FilesConfig(_Model):
    """JSON lines and JSON files, local or remote; those that are new or have changed."""

    type: Literal["files"] = "files"
    streams: Mapping[str, FileStream] = Field(min_length=1, description="Files, by table.")
    options: Mapping[str, Any] = Field(
        default_factory=dict, description="fsspec's storage options, such as `anon`; no secrets."
    )
    parallel: int = Field(default=2, ge=1, le=16, description="Chunks checked at once.")
    _folder: Path | None = PrivateAttr(default=None)

    @property
    def folder(self) -> Path | None:
        """The folder that relative paths start from; None for the current one."""
        return self._folder


SourceConfig = Annotated[
    GitHubConfig | DltConfig | MongoDBConfig | FilesConfig, Field(discriminator="type")
]


class DestinationConfig(_Model):
    """Where the tables go: any dlt destination, by its name."""

    type: str = Field(default="duckdb", description="`duckdb`, `postgres`, `bigquery`, ...")
    dataset: str | None = Field(
        default=None, description="Schema or dataset; the pipeline's name when left out."
    )
    database: str | None = Field(
        default=None,
        description="DuckDB's file, relative to the project; `NAME_db.duckdb` when left out.",
    )
    options: Mapping[str, Any] = Field(
        default_factory=dict,
        description="Further arguments of the dlt destination, such as `location` or `bucket_url`.",
    )
    loader_file_format: str | None = Field(
        default=None, description="dlt's loader file format; the fastest measured when left out."
    )

    @model_validator(mode="after")
    def _no_secrets(self) -> DestinationConfig:
        if "credentials" in self.options:
            raise ValueError(
                "credentials do not belong into a file that is committed: set "
                f"DESTINATION__{self.type.upper()}__CREDENTIALS in the environment or in .env"
            )
        return self


class PolicyRule(_Model):
    """What to do about some changes. Patterns take `*` and `?`; what is left out matches all."""

    action: Action = Field(description="`allow`, `warn` or `hold`.")
    change: tuple[str, ...] = Field(
        default=(), description="Kinds (`variant_added`) or severities (`risky`); one or a list."
    )
    stream: str = Field(default="*", min_length=1, description="A pattern of streams' names.")
    table: str = Field(default="*", min_length=1, description="A pattern of tables' names.")
    column: str = Field(
        default="*", min_length=1, description="Any pattern but `*` leaves out changes of tables."
    )

    @field_validator("change", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("change")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        known = (*get_args(Severity), *get_args(ChangeKind))
        for name in value:
            if name not in known:
                close = get_close_matches(name, known, n=1) or [", ".join(known)]
                raise ValueError(f"{name!r} is no change, did you mean {close[0]}?")
        return value


class PolicyConfig(_Model):
    """What happens when a schema changes: the first rule that matches, else the preset."""

    preset: Literal["evolve", "strict", "anything"] = Field(
        default="evolve",
        description="`evolve` allows safe changes, warns of risky ones and holds breaking ones; "
        "`strict` holds every change; `anything` allows all.",
    )
    rules: tuple[PolicyRule, ...] = ()


class _Alert(_Model):
    at_least: Severity = Field(
        default="risky", description="Send no message for runs whose changes are all milder."
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
                raise ValueError(f"{address!r} is no e-mail address")
        return value


class AppriseAlert(_Alert):
    """Any service that apprise knows; needs `millstream[apprise]`."""

    type: Literal["apprise"] = "apprise"
    url_from: str = Field(description="The environment variable that holds apprise's address.")


AlertConfig = Annotated[
    SlackAlert | WebhookAlert | EmailAlert | AppriseAlert, Field(discriminator="type")
]


class TargetConfig(_Model):
    """A pipeline's name and where its tables go."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]*$", max_length=48, description="Lower case, snake_case."
    )
    destination: DestinationConfig = DestinationConfig()
    schema_policy: PolicyConfig = Field(
        default=PolicyConfig(),
        description="What happens when the schema changes: a preset's name, or preset and rules.",
    )
    alerts: tuple[AlertConfig, ...] = Field(
        default=(), description="Who is told of schema changes, one message a run."
    )
    history: bool = Field(
        default=True,
        description="Keep the schema's history in `_millstream_*` tables beside the data.",
    )
    project: Path = Field(
        default_factory=Path.cwd,
        exclude=True,
        description="The folder that relative paths start from; set by whoever read the file.",
    )

    @field_validator("schema_policy", mode="before")
    @classmethod
    def _preset_alone(cls, value: Any) -> Any:
        return {"preset": value} if isinstance(value, str) else value

    @property
    def dataset(self) -> str:
        return self.destination.dataset or self.name


class PipelineConfig(TargetConfig):
    """One source, one destination: the `attributes` of a `defs.yaml`."""

    source: SourceConfig
    group: str | None = Field(default=None, description="Dagster's asset group; the name if unset.")
    owners: tuple[str, ...] = Field(default=(), description="E-mail addresses or `team:NAME`.")
    tags: Mapping[str, str] = Field(
        default_factory=dict, description="Dagster's tags, on every asset."
    )
    schedule: str | None = Field(default=None, description="A cron expression for the job.")
    folder: Path | None = Field(
        default=None,
        exclude=True,
        description="The folder of `defs.yaml`, where the accepted schema lies beside it.",
    )

    @model_validator(mode="after")
    def _catalog_beside(self) -> PipelineConfig:
        if isinstance(self.source, MongoDBConfig):
            self.source._folder = self.folder
        if isinstance(self.source, FilesConfig):
            self.source._folder = self.project
        return self


def parse_pipeline(
    attributes: Mapping[str, Any], *, where: str, project: Path, folder: Path | None = None
) -> PipelineConfig:
    """Check the attributes of a pipeline.

    Raises:
        ConfigError: naming each wrong field, with its path and what was expected.
    """
    for name in ("project", "folder"):  # ours to set, from where the file lies
        if name in attributes:
            raise ConfigError(f"{where}: {name}: Extra inputs are not permitted")
    try:
        return PipelineConfig.model_validate({**attributes, "project": project, "folder": folder})
    except ValidationError as error:
        raise ConfigError(f"{where}: {_explain(error)}", hint=_suggest(error)) from None


def read_pipeline(path: Path) -> PipelineConfig:
    """Read one pipeline from a `defs.yaml`, or from the only one below a folder.

    Also loads `.env` from the project's folder, which never overrides the environment.

    Raises:
        ConfigError: no such file, several to choose from, not YAML, not a pipeline.
    """
    import yaml

    path = _find_defs(path)
    project = project_of(path)
    load_dotenv(project)
    os.environ.setdefault("DLT_PROJECT_DIR", str(project))  # where dlt looks for secrets.toml
    try:
        documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {error}") from None
    ours = [
        each for each in documents if isinstance(each, dict) and each.get("type") == COMPONENT_TYPE
    ]
    if len(ours) != 1:
        found = f"{len(ours)} pipelines in one file" if ours else "not a Millstream pipeline"
        raise ConfigError(
            f"{path}: {found}", hint=f"one document with `type: {COMPONENT_TYPE}`, and one only"
        )
    document = _filled(ours[0], str(path))
    attributes = document.get("attributes")
    if not isinstance(attributes, dict):
        raise ConfigError(f"{path}: `attributes` is missing or not a mapping")
    return parse_pipeline(attributes, where=str(path), project=project, folder=path.parent)


def project_of(path: Path) -> Path:
    """The nearest folder at or above `path` with a `pyproject.toml`, else the file's own folder."""
    folder = path.resolve() if path.is_dir() else path.resolve().parent
    for candidate in (folder, *folder.parents):
        if (candidate / "pyproject.toml").is_file():
            return candidate
    return folder


def load_dotenv(project: Path) -> None:
    """Put what the project's `.env` says into the environment, which wins where both speak."""
    import dotenv

    dotenv.load_dotenv(project / ".env", override=False)


def credential(*names: str) -> str | None:
    """The first of these that is set: environment variables, then dlt's `secrets.toml`.

    A name in the environment's form, `SOURCES__GITHUB__ACCESS_TOKEN`, is also looked up as the key
    `sources.github.access_token`.
    """
    for name in names:
        if value := os.environ.get(name, "").strip():
            return value
    import dlt

    for name in names:
        if "__" in name:
            value = dlt.secrets.get(name.lower().replace("__", "."))
            if isinstance(value, str) and value.strip():
                return value.strip()
    return None


def data_dir() -> Path:
    """Where runs keep packages until loaded: `MILLSTREAM_HOME` or `~/.millstream`."""
    return Path(os.environ.get("MILLSTREAM_HOME") or Path.home() / ".millstream")


def _filled(value: Any, where: str) -> Any:
    """The value with `{{ env.NAME }}` filled in, as Dagster does."""
    if isinstance(value, dict):
        return {key: _filled(each, where) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, where) for each in value]
    if not isinstance(value, str) or "{{" not in value:
        return value

    def fill(match: re.Match[str]) -> str:
        name = re.fullmatch(r"env\.(\w+)", match[1].strip())
        if name is None:
            raise ConfigError(
                f"{where}: the template {match[0]!r} is Dagster's alone",
                hint="`{{ env.NAME }}` works everywhere; with others, run the pipeline in Dagster",
            )
        if name[1] not in os.environ:
            raise ConfigError(f"{where}: the environment variable {name[1]} is not set")
        return os.environ[name[1]]

    return re.sub(r"\{\{(.*?)\}\}", fill, value)


def _find_defs(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise ConfigError(f"{path}: no such file", hint="name a defs.yaml, or a folder with one")
    found = [
        file
        for file in sorted(path.rglob("defs.yaml"))
        if ".venv" not in file.parts and COMPONENT_TYPE in file.read_text(encoding="utf-8")
    ]
    if not found:
        raise ConfigError(
            f"{path}: no defs.yaml of type {COMPONENT_TYPE} in this folder",
            hint="`millstream init github_issues duckdb` writes a project with one",
        )
    if len(found) > 1:
        names = ", ".join(str(file.relative_to(path)) for file in found)
        raise ConfigError(f"{path}: more than one pipeline: {names}", hint="name one of them")
    return found[0]


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_url=False, include_input=False):
        where = ".".join(str(part) for part in problem["loc"]) or "attributes"
        lines.append(f"{where}: {problem['msg'].removeprefix('Value error, ')}")
    return lines[0] if len(lines) == 1 else "".join(f"\n  {line}" for line in lines)


def _suggest(error: ValidationError) -> str | None:
    known = {
        name
        for model in (
            PipelineConfig,
            PolicyConfig,
            PolicyRule,
            SlackAlert,
            WebhookAlert,
            EmailAlert,
            AppriseAlert,
            GitHubConfig,
            DltConfig,
            MongoDBConfig,
            MongoDBCollection,
            DestinationConfig,
        )
        for name in model.model_fields
    }
    for problem in error.errors(include_url=False, include_input=False):
        close = get_close_matches(str(problem["loc"][-1]), known, n=1)
        if problem["type"] == "extra_forbidden" and close:
            return f"did you mean `{close[0]}`?"
    return None
