"""Which stream a run loads, and into what: what stays the same from its start to its end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from hashlib import sha1
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from millstream import destinations, engine, schema_changes
from millstream.config import (
    DltConfig,
    PipelineConfig,
    RestApiConfig,
    SqlDatabaseConfig,
    TargetConfig,
)
from millstream.model import Partition, SchemaVersion

if TYPE_CHECKING:
    import dlt

Progress = Literal["none", "log", "bar"]
"""Show nothing, a log line every few seconds, or a bar in a terminal."""

_SCHEMA_NAME = 64  # dlt allows no more
_PART_OF_NAME = 100  # two of them make the name of a folder, which most systems cut at 255


@dataclass(frozen=True)
class RunContext:
    """One run of one stream, or of one partition of it.

    Attributes:
        accepted_store: has what people accepted; None where nobody can.
        is_preview: nothing is loaded: the destination is read, and nothing is written there.
        pages: so many pages of the source are read; None where all are.
        keeps_out: whether rows are quarantined that need a change which a rule quarantines.
    """

    target: TargetConfig
    stream: str
    credentials: str | None = None
    progress: Progress = "none"
    partition: Partition | None = None
    accepted_store: schema_changes.AcceptedSchemaStore | None = None
    is_preview: bool = False
    pages: int | None = None
    keeps_out: bool = True
    started_at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

    @property
    def schema(self) -> str:
        """The name of the stream's dlt schema; partitions share it, as they share tables."""
        return _shortened(f"{self.target.name}__{plain_name(self.stream)}", _SCHEMA_NAME)

    @property
    def name(self) -> str:
        """The name of the dlt pipeline, which belongs to the stream or partition alone."""
        if self.partition is None:
            return self.schema
        return f"{self.schema}__{plain_name(self.partition.key)}"

    @property
    def key(self) -> str:
        """The name of the folder with the working folders of the stream or partition."""
        plain = plain_name(self.stream)
        return plain if self.partition is None else f"{plain}@{plain_name(self.partition.key)}"

    @property
    def what(self) -> str:
        """What people call the stream or partition."""
        name = f"{self.target.name}.{self.stream}"
        return name if self.partition is None else f"{name} [{self.partition.key}]"

    @property
    def coercion(self) -> engine.Coercion:
        """How rows are typed."""
        is_exact = self.target.coercion == "exact"
        return engine.Coercion(exact=is_exact, detect_timestamps=self.target.detect_timestamps)

    @property
    def has_unique_keys(self) -> bool:
        """Whether keys hold in tables that are replaced, too: in those of our own sources."""
        source = self.target.source if isinstance(self.target, PipelineConfig) else None
        return source is not None and not isinstance(source, (DltConfig, RestApiConfig))

    @property
    def is_reflected(self) -> bool:
        """Whether the source has columns, all of which are in each row."""
        return isinstance(self.target, PipelineConfig) and isinstance(
            self.target.source, SqlDatabaseConfig
        )

    def may_hand_arrow(self, resource: Any) -> bool:
        """Whether rows may come as Arrow tables: our own sources declare their links then."""
        return not self.has_unique_keys or "_dlt_id" in resource.compute_table_schema()["columns"]

    @property
    def maps(self) -> Sequence[str]:
        """The JSON paths that the configuration names as maps."""
        return self.target.maps_of(self.stream) if isinstance(self.target, PipelineConfig) else ()

    def accepted(self) -> SchemaVersion | None:
        """What people accepted of this stream; None where nobody did, or can."""
        return self.accepted_store.load().get(self.stream) if self.accepted_store else None

    def writer(self) -> AbstractContextManager[None]:
        return destinations.writer(self.target, self.credentials)

    def pipeline(self, folder: Path) -> dlt.Pipeline:
        """A dlt pipeline of this stream alone, so that streams share neither state nor schema."""
        import dlt
        from dlt.common.runtime.collector import NULL_COLLECTOR

        from millstream.dlt_compat import schema_files, type_hints
        from millstream.runs.progress import collector

        # compressing what is read back a moment later costs a third of a bulk run; a user's own
        # setting in the environment still comes first
        dlt.config[f"{self.name}.data_writer.disable_compression"] = True
        dlt.config[f"{self.name}.sources.data_writer.buffer_max_items"] = 1000
        # Arrow tables of other types than those before them get a file of their own, unaltered
        options = f"{self.name}.data_writer.arrow_concat_promote_options"
        dlt.config[options] = "default"
        # what was read last is loaded: rows come in the order of the source, not of dlt's turns
        dlt.config[f"{self.name}.extract.next_item_mode"] = "fifo"
        pipeline = dlt.pipeline(
            pipeline_name=self.name,
            pipelines_dir=str(folder),
            destination=destinations.build(self.target, self.credentials),
            dataset_name=self.target.dataset,
            progress=collector(self.progress, self.stream) or NULL_COLLECTOR,
        )
        # it writes all settings that were looked up beside the package: a catalog's password, too
        pipeline.config.enable_runtime_trace = False
        schema_files.read_once(pipeline)
        type_hints.evaluate_once()
        if self.partition is not None:
            # a partition is read whole each time: no cursor may keep a row from coming again
            pipeline.config.restore_from_destination = False
        return pipeline

    def version(self, pipeline: dlt.Pipeline) -> SchemaVersion:
        """The stream's tables as its pipeline knows them."""
        if not pipeline.schemas.has_schema(self.schema):  # the first run
            return SchemaVersion()
        return schema_changes.snapshot(pipeline.schemas[self.schema])


def resources_of(opened: Any) -> list[Any]:
    """The dlt resources that are extracted of what a source opened."""
    import dlt

    if isinstance(opened, dlt.sources.DltSource):
        return list(opened.selected_resources.values())
    return [opened]


def plain_name(name: str) -> str:
    """A name as folders, dlt pipelines and dlt schemas may be called."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    # two streams must never share state: `a.b` and `a_b` are told apart by a digest
    if plain != name:
        plain += "_" + sha1(name.encode(), usedforsecurity=False).hexdigest()[:6]
    return _shortened(plain, _PART_OF_NAME)


def _shortened(name: str, limit: int) -> str:
    """The name; beyond the limit its beginning, with a digest of all of it."""
    if len(name) <= limit:
        return name
    digest = sha1(name.encode(), usedforsecurity=False).hexdigest()[:10]
    return f"{name[: limit - 11].rstrip('_')}_{digest}"
