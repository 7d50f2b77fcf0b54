"""What the next run of a stream would find changed, by its own steps as far as the load.

Nothing is loaded, written to the destination or remembered: cursors stay where they are.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millstream import destinations, schema_changes, sources
from millstream.common.metadata_tables import own_pipeline
from millstream.config import PipelineConfig
from millstream.destinations.duckdb_file import duckdb_file
from millstream.formats.json_path import KEY_PATH, own_keys
from millstream.formats.key_names import UNKNOWN
from millstream.model import Column, Decision, SchemaVersion
from millstream.runs import runner
from millstream.runs.stages import Work

if TYPE_CHECKING:
    import dlt

PAGES = 10
"""Pages of a source that are read unless someone says otherwise."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a run would find.

    Attributes:
        decisions: what the policy says of each change.
        schema: what would be loaded.
    """

    decisions: tuple[Decision, ...]
    schema: SchemaVersion


def preview(
    config: PipelineConfig, stream: str, *, pages: int | None = PAGES, offline: bool = False
) -> Preview:
    """What the next run of a stream would find changed in the source; of partitions, the newest.

    Args:
        pages: how many pages to read, from the stream's cursor on; None reads all.
        offline: ask the destination for nothing. The source is read from its beginning then, and
            compared with the accepted schema, as if that were loaded; what only earlier loads tell,
            such as a rename, is not found.

    Raises:
        ConfigError: the pipeline or its destination is not configured as it should be.
        DestinationError: it can't be reached.
        SourceError: the source can't be read.
        RunError: what it yields can't be normalized.
    """
    keeper = destinations.keeper(config)
    accepted = keeper.load().get(stream) if keeper else None
    partition = config.partition_of(stream, _newest_partition(config, stream))
    work = Work(config, stream, None, "none", partition, keeper, is_preview=True, pages=pages)
    with tempfile.TemporaryDirectory(prefix="millstream-preview-") as name, own_pipeline():
        folder = Path(name)
        with work.step("prepare"):
            source = sources.create(config.source)
            opened = runner.with_maps(source.open(stream, partition=partition), config, stream)
        pipeline = work.pipeline(folder)
        before = SchemaVersion()
        if offline:
            if accepted is not None:
                pipeline.schemas.save_schema(_schema(work.schema, accepted))
        elif config.destination.type != "duckdb" or duckdb_file(config).exists():
            with work.step("restore"), destinations.reader(config):
                before = work.restore(pipeline, folder, opened)
        schema_changes.held_packages.remember(folder, stream, before)
        with work.step("extract"):
            work.extract(pipeline, opened, full_refresh=False)
        normalized = work.normalize(pipeline, folder, accepted)
        recent = work.recent(pipeline) if normalized.seen.profile else ()
        with work.step("govern"):
            decisions = work.decide(folder, normalized.schema, recent, accepted)
    return Preview((*normalized.seen.refusals, *decisions), normalized.schema)


def _newest_partition(config: PipelineConfig, stream: str) -> str | None:
    if config.partitions is None or not config.partitions.covers(stream):
        return None
    return next(iter(config.partitions.keys()[-1:]), None)


def _schema(name: str, accepted: SchemaVersion) -> dlt.Schema:
    """A dlt schema that has these tables; their keys are for the source to say."""
    import dlt

    schema = dlt.Schema(name)
    for table in accepted.tables:
        columns: Any = {column.name: _column(column) for column in table.columns}
        described: Any = {"name": table.name, "columns": columns}
        if table.parent is not None:
            described["parent"] = table.parent
        else:
            described[UNKNOWN] = True
        schema.update_table(described)
    return schema


def _column(column: Column) -> dict[str, Any]:
    keys = own_keys(column.path, column.name)
    traits = {
        "precision": column.precision,
        "scale": column.scale,
        "timezone": column.timezone,
        "variant": column.variant_of is not None or None,
        KEY_PATH: keys.split(".") if keys else None,
    }
    return {
        "name": column.name,
        "data_type": column.data_type,
        "nullable": column.nullable,
        **{name: value for name, value in traits.items() if value is not None},
    }
