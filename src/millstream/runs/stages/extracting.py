"""What comes before a run has rows of its own: cursors and schema restored, the source read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from millstream import destinations, engine, schema_changes
from millstream.config import PipelineConfig
from millstream.errors import ConfigError
from millstream.formats.key_names import name_primary_key, sort_column
from millstream.runs import (
    deduplication,
    given_columns,
    load_ids,
    load_packages,
    lost_state,
    quarantine_replay,
)
from millstream.runs.context import RunContext, resources_of
from millstream.runs.recorder import RunRecorder
from millstream.runs.scope import Baseline, Scope
from millstream.runs.signals import raising_signals
from millstream.sources import corrected_lines, findings, loaded_keys
from millstream.sources.findings import Findings
from millstream.sources.pages import limit_pages

if TYPE_CHECKING:
    import dlt


@dataclass(frozen=True, slots=True)
class Extracted:
    """What the source reported beside its rows.

    Attributes:
        warnings: what is to be said of the way it was read.
    """

    findings: Findings
    warnings: Sequence[str] = ()


def restore(
    context: RunContext,
    scope: Scope,
    recorder: RunRecorder,
    pipeline: dlt.Pipeline,
    run: Path,
    opened: Any,
    *,
    full_refresh: bool = False,
) -> Baseline:
    """Take cursors and schema from the destination, and the tables that it has already.

    Raises:
        ConfigError: there are tables that the stream is to load into, and did not make; or it did,
            and nothing tells any more what of the source they hold.
    """
    found = scope.restore(pipeline, run, recorder.history)
    if found.schema is not None and not found.has_state and not full_refresh:
        warnings = lost_state.check(context, pipeline, found.schema, resources_of(opened))
        found = replace(found, warnings=warnings)
    taken = destinations.take_over(
        pipeline,
        context.schema,
        resources_of(opened),
        accept=context.target.accept_existing,
        what=context.what,
    )
    if taken is not None:
        if context.partition is not None:
            destinations.refuse_unpartitioned(taken, context.what)
        pipeline.schemas.save_schema(taken)
        found = replace(found, version=context.version(pipeline), schema=taken.clone())
    schema_changes.held_packages.write_baseline(run, context.stream, found.version)
    return found


def extract(
    context: RunContext,
    scope: Scope,
    baseline: Baseline,
    pipeline: dlt.Pipeline,
    opened: Any,
    *,
    full_refresh: bool,
    is_replay: bool = False,
    receipts: Literal["none", "sample", "all"] = "none",
) -> Extracted:
    """Read the source, into a package of the working folder.

    Args:
        receipts: which rows to keep as they came, for their receipts.
    """
    import dlt

    target = context.target
    resources = resources_of(opened)
    known = pipeline.schemas.has_schema(context.schema)
    schema: Any = pipeline.schemas[context.schema] if known else dlt.Schema(context.schema)
    if full_refresh and known and destinations.is_swept(pipeline, resources):
        destinations.forget_dropped(pipeline, schema)
    kept = {} if full_refresh or not known else _columns(schema)
    if target.names_keys:
        dialect = pipeline.destination.capabilities().sqlglot_dialect
        for resource in resources:
            name_primary_key(schema, resource, dialect)
    for resource in resources:
        destinations.choose_format(target, pipeline, schema, resource, context.what)
    if context.is_reflected:  # before digits of former types are forgotten: columns may keep them
        for resource in resources:
            destinations.keep_types(
                schema,
                resource,
                pipeline.destination.capabilities(),
                # partitions share tables, and take each other's types over
                may_widen=context.partition is None
                and not destinations.is_open(pipeline, resource),
            )
    scope.prepare(pipeline, schema, opened, full_refresh=full_refresh, is_replay=is_replay)
    if isinstance(target, PipelineConfig) and context.stream in target.dedup_sort:
        column = target.dedup_sort[context.stream]
        for resource in resources:
            if target.names_keys:
                column = sort_column(schema, resource, column)
            resource.apply_hints(columns={column: {"dedup_sort": "desc"}})
    if context.pages is not None:
        for resource in resources:
            limit_pages(resource, context.pages)
    if isinstance(opened, dlt.sources.DltSource):  # brings a schema, and its hints, along
        opened = opened.clone(with_name=context.schema)
        schema = None
    # rows that only the engine reads back: with another dlt, a later run with the right one does
    for_engine = target.quarantine.on_unsupported_dlt == "fail" or engine.fits()
    checks = []
    if for_engine:
        checks = engine.check_arrow_items(
            [each for each in resources_of(opened) if context.may_hand_arrow(each)],
            pipeline.schemas[context.schema] if known else dlt.Schema(context.schema),
            pipeline.destination.capabilities(),
            is_exact=target.coercion == "exact",
            makes_variants=context.has_unique_keys,
        )
    capture = None
    if receipts != "none":
        from millstream.receipts.capture import Capture

        capture = Capture(receipts, Path(pipeline.pipelines_dir) / "receipts")
        for resource in resources_of(opened):
            capture.watch(resource, hands_parts=not context.may_hand_arrow(resource))
    newest = baseline.loads.newest if baseline.loads else None
    refresh: Literal["drop_data"] | None = None
    if full_refresh:
        quarantine_replay.remember_refresh(pipeline, context.name, newest)
        refresh = _prepare_refresh(context, pipeline, opened)
    # the engine is on so that sources know what it reads itself
    with (
        capture.open() if capture else nullcontext(),
        engine.enabled() as fits,
        engine.unambiguous() if for_engine else nullcontext(),
        load_ids.above(newest, stream=context.stream),
        raising_signals(),
        findings.collecting(
            Path(pipeline.pipelines_dir),
            may_stop=not (full_refresh or is_replay or context.is_preview or context.partition),
        ) as found,
        loaded_keys.from_destination(partial(_keys, context, pipeline, kept)),
        corrected_lines.from_quarantine(
            lambda: (
                quarantine_replay.current_entries(context, pipeline)
                if target.quarantine.enabled
                else []
            )
        ),
    ):
        extracted = pipeline.extract(
            opened,
            schema=schema,
            loader_file_format=destinations.loader_file_format(
                target, pipeline.destination, engine_fits=fits
            ),
            refresh=refresh,
        )
        for check in checks:
            for text in engine.describe_collisions(check.lost):
                findings.warn(text)
    deduplication.remember_order(Path(pipeline.pipelines_dir), extracted)
    given_columns.remember(Path(pipeline.pipelines_dir), [check.given for check in checks])
    return Extracted(found, (*baseline.warnings, *_told_of_source_state(context, pipeline, opened)))


def _columns(schema: dlt.Schema) -> dict[str, set[str]]:
    """By table, the columns that there are."""
    return {
        name: {column for column, hints in table["columns"].items() if hints.get("data_type")}
        for name, table in schema.tables.items()
    }


def _keys(
    context: RunContext,
    pipeline: dlt.Pipeline,
    kept: Mapping[str, set[str]],
    table: str,
    columns: Sequence[str],
) -> Sequence[tuple[Any, ...]]:
    """The keys of the rows that are there, to which rows are added that take others out.

    None where a column of the key is new: no row has it yet.

    Args:
        kept: by table, the columns of rows that stay; none in a full refresh.

    Raises:
        ConfigError: the destination can't merge.
    """
    if not destinations.can_merge(pipeline, {"name": table, "write_disposition": "merge"}):
        raise ConfigError(
            f"rows that are gone can't be taken out of {context.target.destination.type}",
            hint="leave out `deletes: snapshot`, or load into a destination that merges",
        )
    if not kept:
        return ()
    naming = pipeline.schemas[context.schema].naming
    there = kept.get(naming.normalize_tables_path(table), set())
    if not {*map(naming.normalize_path, columns)} <= there:
        return ()
    with context.writer():
        return destinations.key_values(pipeline, context.schema, table, columns)


def _prepare_refresh(
    context: RunContext, pipeline: dlt.Pipeline, opened: Any
) -> Literal["drop_data"] | None:
    """Let all be read anew; dlt's way to empty tables first, where there is no other."""
    resources = resources_of(opened)
    if not destinations.is_swept(pipeline, resources):
        return "drop_data"
    dispositions = {}
    for resource in resources:
        how = resource.write_disposition
        dispositions[resource.name] = how["disposition"] if isinstance(how, dict) else how
    load_packages.remember_refresh(Path(pipeline.pipelines_dir), dispositions)
    destinations.prepare(
        pipeline, context.schema, resources, has_unique_keys=context.has_unique_keys
    )
    return None


def _told_of_source_state(
    context: RunContext, pipeline: dlt.Pipeline, opened: Any
) -> tuple[str, ...]:
    """Say that other streams do not see what resources keep in their source's state."""
    import dlt

    if not isinstance(opened, dlt.sources.DltSource):
        return ()
    others = opened.resources.keys() - opened.selected_resources.keys()
    state: Any = pipeline.state.get("sources", {})
    keys = state.get(context.schema, {}).keys() - {"resources", quarantine_replay.STATE}
    if not (others and keys):
        return ()
    names = ", ".join(f"`{key}`" for key in sorted(keys))
    return (
        f"other streams do not see what this one keeps in dlt.current.source_state(): "
        f"{names}. Load those that need it as one stream: `stream_groups` under `source`",
    )
