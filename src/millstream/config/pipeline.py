"""A pipeline: one source, one destination, and how it is governed and shown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from millstream.config import cron, validation_messages
from millstream.config.assets import AssetAttributes, Translation
from millstream.config.base import Model, check_paths, invalid
from millstream.config.checks import ProfileCheckConfig, SchemaCheckConfig
from millstream.config.files import FilesConfig
from millstream.config.governance import AlertConfig, Policy, PolicyConfig, QuarantineConfig
from millstream.config.partitions import PartitionsConfig
from millstream.config.sources import MongoDBConfig, SourceConfig
from millstream.errors import ConfigError
from millstream.model import Partition

PIPELINE_NAME = r"[a-z][a-z0-9_]*"


class DestinationConfig(Model):
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
    table_format: Literal["delta", "iceberg"] | None = Field(
        default=None,
        description="What the tables of files, of `type: filesystem`, are: Delta or Iceberg "
        "tables, which can be merged; plain files when left out. A resource of a dlt source that "
        "names a `table_format` keeps it.",
    )

    @model_validator(mode="after")
    def _no_secrets(self) -> DestinationConfig:
        if "credentials" in self.options:
            raise ValueError(
                "credentials do not belong into a file that is committed: set "
                f"DESTINATION__{self.type.upper()}__CREDENTIALS in the environment or in .env"
            )
        return self


class TargetConfig(Model):
    """A pipeline's name and where its tables go."""

    name: str = Field(
        pattern=f"^{PIPELINE_NAME}$", max_length=48, description="Lower case, snake_case."
    )
    destination: DestinationConfig = DestinationConfig()
    accept_existing: bool = Field(
        default=False,
        description="Load into tables that are in the dataset and that this pipeline did not make, "
        "with the columns that dlt's schema there says; refused where false.",
    )
    schema_policy: Policy = Field(
        default=PolicyConfig(),
        description="What happens when the schema changes: a preset's name, or preset and rules.",
    )
    accepted_schema: Literal["file", "destination"] = Field(
        default="file",
        description="Where the accepted schema is kept: `file`, `schema.yaml` beside this one, or "
        "`destination`, the table `_millstream_accepted_schemas`, whichever machine runs.",
    )
    alerts: tuple[AlertConfig, ...] = Field(
        default=(),
        description="Who is told of schema changes, one message for each stream of a run.",
    )
    quarantine: QuarantineConfig = Field(
        default=QuarantineConfig(),
        description="What happens to rows that can't be loaded.",
    )
    coercion: Literal["exact", "dlt"] = Field(
        default="exact",
        description="What happens to a value whose type is not its column's. `exact`: the column "
        "takes it only if it gives the same value back, else it goes to a variant column "
        "(`zip__v_text`). `dlt`: dlt converts it where it can, so that `02139` becomes 2139.",
    )
    detect_timestamps: bool = Field(
        default=True,
        description="Texts such as `2024-01-01T00:00:00Z` make a column of timestamps; if false, "
        "texts stay texts.",
    )
    history: bool = Field(
        default=True,
        description="Keep the schema's history in `_millstream_*` tables beside the data.",
    )
    receipts: Literal["none", "sample", "all"] = Field(
        default="none",
        description="Whether each load is read back and compared with what the source gave, for "
        "`millstream audit` and Dagster's check `delivered`. `sample`: each row of loads of up to "
        "2,000 rows and 2 MB, up to 250 rows of larger ones; `all`: each row, which holds a "
        "load in memory.",
    )
    profile_check: ProfileCheckConfig = Field(
        default=ProfileCheckConfig(),
        description="When a load's columns count as unlike those of recent loads.",
    )
    project: Path = Field(
        default_factory=Path.cwd,
        exclude=True,
        description="The folder that relative paths start from; set by whoever read the file.",
    )

    @property
    def names_keys(self) -> bool:
        """Whether Millstream names the columns, or dlt, as for what a dlt source yields."""
        return False

    @model_validator(mode="after")
    def _somewhere_to_go(self) -> TargetConfig:
        if self.quarantine.enabled:
            return self
        if any(rule.action == "quarantine" for rule in self.schema_policy.rules):
            raise ValueError(
                "a rule of `schema_policy` quarantines rows, and `quarantine.enabled` is false"
            )
        return self

    @property
    def dataset(self) -> str:
        return self.destination.dataset or self.name


class PipelineConfig(TargetConfig):
    """One source, one destination: the `attributes` of a `defs.yaml`."""

    source: SourceConfig
    dedup_sort: Mapping[str, str] = Field(
        default_factory=dict,
        description="By stream, the column that orders versions of a row within one load, such as "
        "`{orders: updated_at}` or `{orders: meta.version}`: the highest value is loaded. Without "
        "it the last one read is.",
    )
    maps: Mapping[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="By stream, objects whose keys are data, by path, such as "
        "`{customers: [tier_and_details, a.b]}`: each makes a child table with a row for each key, "
        "in the column `key`, instead of columns for each.",
    )
    group: str | None = Field(
        default=None,
        description="Dagster's asset group; the pipeline's name when left out, and for MongoDB "
        "each database's.",
    )
    owners: tuple[str, ...] = Field(default=(), description="E-mail addresses or `team:NAME`.")
    tags: Mapping[str, str] = Field(
        default_factory=dict, description="Dagster's tags, on every asset."
    )
    translation: Translation | None = Field(
        default=None,
        description="What Dagster shows of each asset, over what Millstream says of it: "
        '`{key_prefix: raw, description: "{{ table.name }} of the shop"}`.',
    )
    assets: Mapping[str, AssetAttributes] = Field(
        default_factory=dict,
        description="By stream, the same of its own asset alone, such as "
        "`{orders: {deps: [crm/export], kinds: [api]}}`. Its child tables take group, kinds, "
        "owners and tags too; where it has a `key`, theirs begin with it.",
    )
    source_asset: bool = Field(
        default=False,
        description="Show the source in Dagster as the asset `sources/NAME`, upstream of all "
        "streams. Nobody materializes it, so that conditions which wait for all upstream assets, "
        "such as `AutomationCondition.on_cron`, need `.ignore(...)` then.",
    )
    schedule: str | None = Field(
        default=None,
        description="A cron expression for the job. Dagster starts it once it is switched on in "
        "the UI, or by `dagster schedule start`, unless `schedule_status` is `running`.",
        json_schema_extra={"pattern": cron.pattern()},
    )
    schedule_status: Literal["stopped", "running"] = Field(
        default="stopped",
        description="Whether the schedule is switched on wherever the definitions are deployed, "
        "`dagster dev` included, until someone switches it off.",
    )
    steps: Literal["stream", "pipeline"] | Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="What one step of a Dagster run loads: a `stream` with its child tables, which "
        "then fails, is retried and is given to a worker alone; so many streams (a number), where "
        "a step takes longer to start than a stream to load; or all of the `pipeline`. When left "
        "out, a stream, and of more than 16 streams as many as make 16 steps.",
    )
    max_concurrent_streams: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description="Streams of several that `millstream run`, or one step of a Dagster run, loads "
        "at once; 1 when left out, 4 for MongoDB.",
    )
    stream_jobs: bool | None = Field(
        default=None,
        description="A job for each stream beside the pipeline's own; only for MongoDB when left "
        "out.",
    )
    pool: str | None = Field(
        default=None,
        min_length=1,
        description="Dagster's concurrency pool; `millstream_DESTINATION` when left out. It limits "
        "nothing until Dagster is told a limit.",
    )
    partitions: PartitionsConfig | None = Field(
        default=None,
        description="Load in partitions: windows of time, or static keys. Each replaces its own "
        "rows alone, in any order and side by side.",
    )
    schema_check: SchemaCheckConfig = Field(
        default=SchemaCheckConfig(), description="Dagster's check of the accepted schema."
    )
    folder: Path | None = Field(
        default=None,
        exclude=True,
        description="The folder of `defs.yaml`, where the accepted schema lies beside it.",
    )
    component: str | None = Field(
        default=None,
        exclude=True,
        description="The subclass of `millstream.Pipeline` that names the assets, where the file "
        "is of one.",
    )

    @field_validator("maps")
    @classmethod
    def _map_paths(cls, value: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
        check_paths(path for paths in value.values() for path in paths)
        return value

    @field_validator("steps", mode="before")
    @classmethod
    def _steps(cls, value: Any) -> Any:
        if isinstance(value, str) and value.isdecimal():  # a template's
            value = int(value)
        if value in (None, "stream", "pipeline"):
            return value
        if type(value) is int and value >= 1:
            return value
        raise invalid(
            f"{value!r} is not `stream`, `pipeline` or an integer >= 1",
            hint="`steps: 25` lets 25 streams share a step",
        )

    @field_validator("schedule")
    @classmethod
    def _cron(cls, value: str | None) -> str | None:
        if value is not None and (wrong := cron.problem(value)):
            raise invalid(f"{value!r} is not a cron expression ({wrong})", hint=cron.HINT)
        return value

    @property
    def names_keys(self) -> bool:
        """Whether columns are named by our rule, which no two keys share; else by dlt's."""
        return self.source.type not in ("dlt", "rest_api")

    def maps_of(self, stream: str) -> tuple[str, ...]:
        """The objects of a stream whose keys are data, wherever the file names them."""
        own: tuple[str, ...] = ()
        if isinstance(self.source, FilesConfig) and stream in self.source.streams:
            own = self.source.streams[stream].maps
        return tuple(dict.fromkeys((*own, *self.maps.get(stream, ()))))

    @property
    def streams_abreast(self) -> int:
        """How many streams are loaded at once where several are to be loaded."""
        return self.max_concurrent_streams or (4 if isinstance(self.source, MongoDBConfig) else 1)

    @property
    def has_stream_jobs(self) -> bool:
        if self.stream_jobs is None:
            return isinstance(self.source, MongoDBConfig)
        return self.stream_jobs

    def is_partitioned(self, stream: str) -> bool:
        """Whether a stream is loaded a partition at a time."""
        return self.partitions is not None and self.partitions.covers(stream)

    def partition_of(self, stream: str, key: str | None) -> Partition | None:
        """The partition of a stream that a key names; None for a stream without partitions.

        Raises:
            ConfigError: no such key, no key where there must be one, or one where there is none.
        """
        if not self.is_partitioned(stream):
            if key is None:
                return None
            raise ConfigError(
                f"{self.name}.{stream} is not partitioned: there is no partition {key!r}",
                hint="omit --partition, or partition the stream: `partitions` in defs.yaml",
            )
        assert self.partitions is not None
        if key is None:
            last = self.partitions.keys()[-1:]
            raise ConfigError(
                f"{self.name}.{stream} is loaded in partitions: which one?",
                hint=f"--partition {last[0]}" if last else "no window has ended yet",
            )
        return self.partitions.partition(stream, key)


def parse_pipeline(
    attributes: Mapping[str, Any],
    *,
    where: str,
    project: Path,
    folder: Path | None = None,
    component: str | None = None,
) -> PipelineConfig:
    """Check the attributes of a pipeline.

    Raises:
        ConfigError: naming each wrong field, with its path and what was expected.
    """
    for name in ("project", "folder", "component"):  # ours to set, from where the file lies
        if name in attributes:
            raise ConfigError(f"{where}: {name}: there is no such attribute")
    try:
        return PipelineConfig.model_validate(
            {**attributes, "project": project, "folder": folder, "component": component}
        )
    except ValidationError as error:
        found = validation_messages.of(error, PipelineConfig, attributes)
        raise ConfigError(f"{where}: {found.message}", hint=found.hint) from None
