"""What the history in the destination knows of a pipeline, stream by stream."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from millstream import destinations, sources
from millstream.common.metadata_tables import own_pipeline
from millstream.config import PipelineConfig
from millstream.errors import MillstreamError
from millstream.model import SchemaVersion
from millstream.runs import pending_decisions
from millstream.runs.context import RunContext
from millstream.runs.pending_packages import PendingPackage
from millstream.schema_changes import attach, history, snapshot

LOADS = 60
"""Loads of a stream that are shown, the newest."""


@dataclass(frozen=True, slots=True)
class StreamHistory:
    """One stream.

    Attributes:
        schema: its tables by now, each column with what the newest load saw in it.
        changes: rows of `_millstream_schema_changes`, oldest first.
        loads: its last loads, oldest first.
        rows: in each of its tables now; None where that could not be counted.
        pending: packages on this machine that are not loaded, oldest first.
        presence: of the last loads, oldest first: table, column, share of rows with the field.
    """

    name: str
    schema: SchemaVersion
    changes: Sequence[Mapping[str, Any]]
    loads: Sequence[history.Load]
    presence: Sequence[Mapping[tuple[str, str], float]]
    rows: Mapping[str, int | None] = field(default_factory=dict)
    pending: Sequence[PendingPackage] = ()


def gather(config: PipelineConfig) -> tuple[StreamHistory, ...]:
    """Each stream that a run has recorded, or left a package of, by name.

    None where no history is kept, or not yet.

    Raises:
        DestinationError: the destination can't be asked.
    """
    with destinations.reader(config) as destination:
        place = history.Place(destination, config.dataset)
        unsettled = history.unsettled_loads(place, config.name)
        versions = history.versions(place, config.name, unsettled=unsettled)
        changes = history.changes(place, config.name, unsettled=unsettled)
        loads = history.loads(place, config.name)
        recorded = {row["stream"] for row in versions} | {load.stream for load in loads}
        pending = _pending(config, recorded)
        names = sorted(recorded | {name for name, packages in pending.items() if packages})
        profiles = {
            name: history.profiles(place, config.name, name, unsettled=unsettled) for name in names
        }
        counted = {name: _count_rows(config, name) for name in names}
    found = []
    for name in names:
        rows = [row for row in versions if row["stream"] == name]
        schema = history.version_from(rows[-1]) if rows else SchemaVersion()
        seen = [profile for _, profile in profiles[name]]
        found.append(
            StreamHistory(
                name=name,
                schema=attach(schema, seen[-1]) if seen else schema,
                changes=[row for row in changes if row["stream"] == name],
                loads=[load for load in loads if load.stream == name][-LOADS:],
                presence=[
                    {
                        (table, column): profile.presence
                        for table, columns in load.items()
                        for column, profile in columns.items()
                    }
                    for load in seen
                ],
                rows=counted[name],
                pending=pending[name],
            )
        )
    return tuple(found)


def _pending(
    config: PipelineConfig, recorded: Collection[str]
) -> Mapping[str, Sequence[PendingPackage]]:
    """What was read on this machine and not loaded, of streams that were never loaded, too."""
    try:
        known = {stream.name for stream in sources.of_pipeline(config).streams()}
    except MillstreamError:  # what is recorded needs no source
        known = set()
    return {name: pending_decisions.list_pending(config, name) for name in known | {*recorded}}


def _count_rows(config: PipelineConfig, stream: str) -> Mapping[str, int | None]:
    """The rows that the tables of a stream hold now; nothing where they can't be counted."""
    context = RunContext(config, stream)
    with TemporaryDirectory(prefix="millstream-report-") as folder, own_pipeline():
        pipeline = context.pipeline(Path(folder))
        schema = destinations.stored_schema(pipeline, context.schema)
        if schema is None:
            return {}
        pipeline.schemas.save_schema(schema)
        tables = [table.name for table in snapshot(schema).tables]
        return destinations.row_counts(pipeline, schema, tables)
