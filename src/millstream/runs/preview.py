"""What the next run of a stream would find changed, by its own steps as far as the load.

Nothing is loaded, written to the destination or remembered: cursors stay where they are.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millstream import destinations, schema_changes, sources
from millstream.common.metadata_tables import own_pipeline
from millstream.config import PipelineConfig
from millstream.destinations.duckdb_file import duckdb_file
from millstream.formats.json_path import KEY_PATH, own_keys
from millstream.formats.key_names import UNKNOWN
from millstream.model import Column, Decision, QuarantinedRows, SchemaVersion
from millstream.runs import runner, stages
from millstream.runs.context import RunContext
from millstream.runs.package_rows import TableRows, first_rows
from millstream.runs.recorder import RunRecorder
from millstream.runs.scope import Baseline, scope_of

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
        accepted: the changes that were accepted ahead.
        before: what the destination has.
        read: rows, by table.
        quarantined: rows that would be quarantined.
        tables: the first rows of each table, where they were asked for.
    """

    decisions: tuple[Decision, ...]
    schema: SchemaVersion
    accepted: tuple[Decision, ...] = ()
    before: SchemaVersion = field(default_factory=SchemaVersion)
    read: Mapping[str, int] = field(default_factory=dict)
    quarantined: tuple[QuarantinedRows, ...] = ()
    tables: tuple[TableRows, ...] = ()


def preview(
    config: PipelineConfig,
    stream: str,
    *,
    pages: int | None = PAGES,
    offline: bool = False,
    rows: int = 0,
    keeps_out: bool = True,
) -> Preview:
    """What the next run of a stream would find changed in the source; of partitions, the newest.

    Args:
        rows: how many of the first rows to keep, of each root table with its child tables.
        pages: how many pages to read, from the stream's cursor on; None reads all.
        offline: ask the destination for nothing. The source is read from its beginning then, and
            compared with the accepted schema, as if that were loaded; what only earlier loads tell,
            such as a rename, is not found.
        keeps_out: else no row is quarantined for a change that a rule keeps out, which is held.

    Raises:
        ConfigError: the pipeline or its destination is not configured as it should be.
        DestinationError: it can't be reached.
        SourceError: the source can't be read.
        RunError: what it yields can't be normalized.
    """
    context = RunContext(
        config,
        stream,
        partition=config.partition_of(stream, newest_partition(config, stream)),
        accepted_store=destinations.accepted_store(config),
        is_preview=True,
        pages=pages,
        keeps_out=keeps_out,
    )
    recorder, scope, accepted = RunRecorder(context), scope_of(context), context.accepted()
    with tempfile.TemporaryDirectory(prefix="millstream-preview-") as name, own_pipeline():
        folder = Path(name)
        with recorder.step("prepare"):
            source = sources.of_pipeline(config)
            opened = source.open(stream, partition=context.partition)
            opened = runner.with_maps(opened, config, stream)
        pipeline = context.pipeline(folder)
        baseline = Baseline()
        schema_changes.held_packages.write_baseline(folder, stream, baseline.version)
        if offline:
            if accepted is not None:
                pipeline.schemas.save_schema(_schema(context.schema, accepted))
        elif config.destination.type != "duckdb" or duckdb_file(config).exists():
            with recorder.step("restore"), destinations.reader(config):
                baseline = stages.restore(context, scope, recorder, pipeline, folder, opened)
        with recorder.step("extract"):
            stages.extract(context, scope, baseline, pipeline, opened, full_refresh=False)
        with recorder.step("normalize"):
            package = stages.normalize(context, baseline, pipeline, folder, accepted)
        recent = recorder.recent(pipeline, baseline.loads) if package.seen.profile else ()
        with recorder.step("govern"):
            decisions = stages.decide(context, folder, package.schema, recent, accepted)
        before = schema_changes.held_packages.read_baseline(folder, stream)
        tables = first_rows(pipeline, context.schema, rows) if rows else ()
    decisions = (*package.refusals, *decisions)
    # offline, nothing says what of the accepted schema is loaded
    ahead = (
        ()
        if offline
        else schema_changes.accepted_ahead(before, package.schema, decisions, context.maps)
    )
    return Preview(
        decisions,
        package.schema,
        ahead,
        before,
        package.rows,
        tuple(package.seen.quarantined),
        tables,
    )


def newest_partition(config: PipelineConfig, stream: str) -> str | None:
    """The newest partition of a stream; None of a stream that has none."""
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
