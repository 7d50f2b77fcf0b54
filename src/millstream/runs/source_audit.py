"""What the destination holds of a stream, compared with its source as it is now.

The source is read from its beginning, as a first run would read it, into a folder that is thrown
away. A stream with a cursor is read once more, from there on: of what differs, the next run brings
what that read has, and no run brings the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from millstream import destinations, schema_changes, sources
from millstream.common.metadata_tables import own_pipeline
from millstream.common.sql_client import sql_client
from millstream.config import MongoDBConfig, PipelineConfig
from millstream.errors import ConfigError
from millstream.quarantine import store as quarantined
from millstream.receipts.canonical import UnknownValueError
from millstream.receipts.capture import Captured, Counted, captured
from millstream.receipts.figures import tree_of
from millstream.receipts.layout import Column, Layout
from millstream.receipts.row_forms import Form
from millstream.receipts.source_now import (
    Difference,
    Keys,
    SourceComparison,
    compare,
    due_keys,
)
from millstream.receipts.source_rows import SourceRows
from millstream.runs import runner, stages
from millstream.runs.audited_tables import (
    delivered_rows,
    keys_of,
    objects_kept,
    primary_key,
    roots,
    times_held,
    which_of,
)
from millstream.runs.context import RunContext
from millstream.runs.preview import newest_partition
from millstream.runs.quarantine_replay import loaded_partitions
from millstream.runs.recorder import RunRecorder
from millstream.runs.scope import Baseline, scope_of
from millstream.runs.stages.verifying import altered_by_settings

if TYPE_CHECKING:
    import dlt


@dataclass(frozen=True, slots=True)
class SourceAudit:
    """A stream, or one partition of it.

    Attributes:
        waiting: rows of it in quarantine.
        reads_all: whether each run reads the source from its beginning.
        is_overtaken: whether a run loaded it meanwhile, so that rows of that run may differ.
    """

    stream: str
    partition: str | None
    tables: tuple[SourceComparison, ...]
    waiting: int
    reads_all: bool
    is_overtaken: bool

    @property
    def is_settled(self) -> bool:
        """Whether nothing differs but what the next run brings."""
        return all(each.is_settled for each in self.tables)


def audit_source(
    config: PipelineConfig, stream: str, *, partition: str | None = None
) -> SourceAudit:
    """Read the source of a stream from its beginning, and compare what it has with the tables.

    Args:
        partition: of a stream with partitions; the newest where left out.

    Raises:
        ConfigError: the destination's tables can't be queried, or the stream has none.
        DestinationError: it can't be read.
        SourceError: nor the source.
    """
    key = partition or newest_partition(config, stream)
    context = RunContext(
        config,
        stream,
        partition=config.partition_of(stream, key),
        accepted_store=destinations.accepted_store(config),
        is_preview=True,
    )
    recorder = RunRecorder(context)
    with TemporaryDirectory(prefix="millstream-audit-") as name, own_pipeline():
        opened = _opened(context, recorder)
        first, next_run = (context.pipeline(Path(name) / each) for each in ("first", "next"))
        with destinations.reader(config):
            schema = destinations.stored_schema(first, context.schema)
            if schema is None:
                raise ConfigError(
                    f"{context.what}: nothing of it is in the destination",
                    hint="`millstream run` loads it",
                )
            loads = destinations.loads(first, context.schema)
            with recorder.step("restore"):
                folder = Path(next_run.pipelines_dir)
                scope = scope_of(context)
                baseline = stages.restore(context, scope, recorder, next_run, folder, opened)
        first.schemas.save_schema(schema.clone())  # a source declares columns that come with a run
        reads_all = not _has_cursor(context, next_run, opened)
        read = _read(context, recorder, first, Baseline(), opened)
        due = None
        if not reads_all:
            due = _read(context, recorder, next_run, baseline, _opened(context, recorder))
        with destinations.reader(config) as destination:
            place = schema_changes.history.Place(destination, config.dataset)
            entries = quarantined.settle_replaced(
                destination,
                config.dataset,
                quarantined.entries(
                    destination, config.dataset, config.name, stream, documents=True
                ),
                {stream: context.schema},
                {stream: loaded_partitions(config, stream, place)},
            )
            waiting = [each for each in entries if each.status == "waiting"]
            plan = (next_run if due is not None else first).schemas[context.schema]
            tables = tuple(_compared(context, first, schema, read, due, plan, waiting))
            is_overtaken = destinations.loads(first, context.schema) != loads
    return SourceAudit(stream, key, tables, len(waiting), reads_all, is_overtaken)


def _has_cursor(context: RunContext, pipeline: dlt.Pipeline, opened: Any) -> bool:
    """Whether a place to read on from is kept: by a resource, or by the source as MongoDB's is."""
    state: Any = pipeline.state.get("sources", {}).get(context.schema, {})
    kept: Any = state.get("resources", {})
    if any(found for name, found in kept.items() if not name.startswith("_millstream")):
        return True
    resources = getattr(opened, "selected_resources", {context.stream: opened}).values()
    merges = any(each.write_disposition != "replace" for each in resources)
    return merges and bool(state.keys() - {"resources"})


def _opened(context: RunContext, recorder: RunRecorder) -> Any:
    assert isinstance(context.target, PipelineConfig)
    with recorder.step("prepare"):
        source = sources.of_pipeline(context.target)
        opened = source.open(context.stream, partition=context.partition)
        return runner.with_maps(opened, context.target, context.stream)


def _read(
    context: RunContext,
    recorder: RunRecorder,
    pipeline: dlt.Pipeline,
    baseline: Baseline,
    opened: Any,
) -> Mapping[str, Captured]:
    """What the source gives to this pipeline, by root table."""
    scope = scope_of(context)
    with recorder.step("extract"):
        stages.extract(
            context, scope, baseline, pipeline, opened, full_refresh=False, receipts="all"
        )
    naming = pipeline.schemas[context.schema].naming
    return captured(Path(pipeline.pipelines_dir) / "receipts", naming.normalize_tables_path)


def _compared(
    context: RunContext,
    pipeline: dlt.Pipeline,
    schema: dlt.Schema,
    read: Mapping[str, Captured],
    due: Mapping[str, Captured] | None,
    plan: dlt.Schema,
    waiting: Sequence[quarantined.Entry],
) -> Iterator[SourceComparison]:
    """Each root table with what was read, and what the next run reads; None where it reads all.

    Args:
        plan: how the next run writes the tables that it reads.
        waiting: what is in quarantine.

    Raises:
        ConfigError: the tables can't be queried.
    """
    opened = sql_client(pipeline, context.schema)
    if opened is None:
        raise ConfigError(f"{context.what}: the tables of this destination can't be queried")
    dialect = pipeline.destination.capabilities().sqlglot_dialect
    nothing = Captured(Counted(), Path())
    with opened as client:
        for root in roots(schema):
            table: Any = schema.tables[root]
            layout = Layout(schema, root, names_keys=context.target.names_keys, dialect=dialect)
            rows, keys = read.get(root, nothing), keys_of(table)
            which = which_of(table, context.partition)
            delivered_of = delivered_rows(pipeline, client, layout, which)
            try:
                unchecked = rows.counted.unchecked or _unchecked(context, schema, table)
                if unchecked := unchecked or _other_key(table, plan.tables.get(root, table)):
                    raise UnknownValueError(unchecked)
                yield compare(
                    partial(SourceRows, rows, layout),
                    layout,
                    delivered_of,
                    keys,
                    None
                    if due is None
                    else due_keys(SourceRows(due.get(root, nothing), layout), keys),
                    skipped=_read_times(context, root, table) | objects_kept(pipeline, root, table),
                    replaces=_replaces(context, plan, root, due),
                    held_of=partial(_held, waiting, layout, keys),
                )
            except UnknownValueError as error:
                count, held = rows.counted.rows, delivered_of(frozenset()).count(root)
                yield SourceComparison(root, count, held, unchecked=str(error))
    # tables that no load has made yet
    for root in sorted(read.keys() - {*roots(schema)}):
        count = read[root].counted.rows
        ahead = read if due is None else due
        brought = min(count, ahead[root].counted.rows) if root in ahead else 0
        if count:
            yield SourceComparison(root, count, missing=Difference(count, brought))


@dataclass(frozen=True, slots=True)
class _Document:
    """A row in quarantine."""

    text: str

    def rows(self) -> Iterator[tuple[Form, bytes]]:
        yield "typed", self.text.encode("utf-8", "surrogatepass")


def _held(
    waiting: Sequence[quarantined.Entry],
    layout: Layout,
    keys: Keys,
    skipped: frozenset[Column],
) -> set[int]:
    """The numbers of rows in quarantine: a run that reads one again, unchanged, puts it there."""
    found = set()
    for entry in waiting:
        document = entry.fields["document"]
        if entry.fields["table_name"] == layout.root and document:
            # one that was cut, or is no row, is like none of the source
            with suppress(UnknownValueError):
                rows = SourceRows(_Document(str(document)), layout, skipped)
                found |= {tree_of(nodes, keys.key).total for _, nodes in rows.each()}
    return found


def _read_times(context: RunContext, root: str, table: Any) -> frozenset[Column]:
    """The columns that say when a row was read, or from when to when it held."""
    found = times_held(root, table)
    if not (
        isinstance(context.target, PipelineConfig)
        and isinstance(context.target.source, MongoDBConfig)
    ):
        return found
    from millstream.sources.mongodb.loads.change_stream import CLUSTER_TIME

    return found | {(root, CLUSTER_TIME)}


def _replaces(
    context: RunContext, plan: dlt.Schema, root: str, due: Mapping[str, Captured] | None
) -> bool:
    """Whether the next run takes out what it does not read; a table that it leaves alone stays."""
    if context.partition is not None:
        return True
    reads = due is None or root in due
    table: Any = plan.tables[root]
    # without a merge key, rows that a load does not have hold no more
    is_history = table.get("x-merge-strategy") == "scd2" and not any(
        column.get("merge_key") for column in table["columns"].values()
    )
    return reads and (is_history or table.get("write_disposition") == "replace")


def _other_key(table: Any, planned: Any) -> str:
    """Why rows can't be told apart by the key of their table; empty where they can."""
    was, now = ({*primary_key(each)} for each in (table, planned))
    if not was or was == now:
        return ""
    names = [", ".join(f"`{name}`" for name in sorted(each)) or "none" for each in (was, now)]
    return f"the key of the table is {names[0]}, and that of the source {names[1]}"


def _unchecked(context: RunContext, schema: dlt.Schema, table: Any) -> str:
    row_id = schema.naming.normalize_identifier("_dlt_id")
    if not table["columns"].get(row_id, {}).get("data_type"):
        return "rows of Arrow tables have no id that their child rows could hang on"
    if context.target.coercion == "dlt":
        return "`coercion: dlt` changes values"
    return altered_by_settings(context, schema, table)
