"""A package sent to the destination, with what belongs to its load."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING

from millstream import destinations, schema_changes
from millstream.common import retry
from millstream.common.redact import redact_foreign
from millstream.dlt_compat import load_log
from millstream.errors import ConfigError
from millstream.model import Decision
from millstream.runs import (
    load_packages,
    pending_packages,
)
from millstream.runs.context import RunContext
from millstream.runs.recorder import RunRecorder, StaleCursorError
from millstream.runs.scope import Baseline, Scope
from millstream.runs.stages.extracting import Extracted
from millstream.runs.stages.normalizing import Normalized
from millstream.runs.step_errors import (
    describe_job_error,
    made_narrower,
    refused_by_check,
    removed_by_hand,
)

if TYPE_CHECKING:
    import dlt


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load did beside loading.

    Attributes:
        stopped: Ctrl-C or SIGTERM came while it was coming to its end.
    """

    warnings: Sequence[str]
    stopped: bool


def load(
    context: RunContext,
    scope: Scope,
    recorder: RunRecorder,
    baseline: Baseline,
    pipeline: dlt.Pipeline,
    run: Path,
    extracted: Extracted,
    package: Normalized,
    decisions: Sequence[Decision],
) -> Loaded:
    """Send a package to the destination, and what belongs to its load.

    Raises:
        StaleCursorError: another run may have loaded what it read later.
    """
    from dlt.common.runtime import signals

    pending_packages.check(run, context.what, context.stream, fully=False)
    is_counted = package.is_profiled and not package.seen.deletions
    profile = package.seen.profile if is_counted else {}
    if scope.is_overtaken(pipeline, baseline, profile):
        raise StaleCursorError
    warnings: list[str] = []
    coming, stored = load_packages.schema_of(run), baseline.schema
    is_sent = (run / "kept").exists()
    try:
        # what was sent once has made its tables, whoever knows of them
        if coming and not context.target.accept_existing and not is_sent:
            destinations.refuse_existing(
                pipeline, context.schema, coming, stored, what=context.what
            )
        if stored is not None and coming:
            there = stored
            if load_packages.refreshed(run):
                there = destinations.remake_dropped(pipeline, stored, coming)
            warnings += destinations.migrate(pipeline, there, coming)
            destinations.refuse_altered(pipeline, coming, what=context.what)
    except ConfigError:
        if not is_sent:
            load_packages.discard(run)
        raise
    if not any(package.rows.values()):
        warnings += scope.clear(pipeline)
    corrected = destinations.update_rows(pipeline, context.schema, extracted.findings.updates)
    load_packages.keep(run, pipeline)
    recorder.history.note(
        pipeline,
        package.counted,
        schema_changes.held_packages.read_baseline(run, context.stream),
        package.schema,
        (*package.refusals, *decisions),
        context.started_at,
        recorder.seconds,
    )
    with signals.intercepted_signals():
        if stored is not None and stored.data_tables(seen_data_only=True):
            destinations.replace_through_staging(pipeline, stored)
        elif coming and context.partition is None:
            destinations.drop_staging_tables(pipeline, coming)
        loading = load_packages.pending(run)
        emptied = _emptied(stored, pipeline, run, package.counted)
        try:
            _send(pipeline, context.stream)
        except Exception as error:
            recorder.history.retract(pipeline)
            if check := destinations.violated_check(pipeline, error):
                raise refused_by_check(error, check, context.what, context.stream) from None
            missing, narrow, schema = [], None, pipeline.schemas[context.schema]
            with suppress(Exception):  # a help, where the destination still answers
                narrow = destinations.too_narrow(pipeline, schema, error)
                missing = destinations.remake(pipeline, schema)
            if narrow:
                raise made_narrower(error, narrow, context.what, context.stream) from None
            if missing:
                raise removed_by_hand(error, missing, context.what, context.stream) from error
            raise
        sweep(context, pipeline, run, loading, package.counted)
        warnings += (*emptied, *extracted.findings.warnings, *corrected)
        stopped = signals.was_signal_received()
    load_packages.forget(run)
    return Loaded(warnings, stopped)


def sweep(
    context: RunContext,
    pipeline: dlt.Pipeline,
    run: Path,
    load_ids: Sequence[str],
    counted: Sequence[load_packages.Count],
) -> None:
    """After a full refresh: take out what earlier loads left."""
    if resources := load_packages.refreshed(run):
        schema = pipeline.schemas[context.schema]
        loaded = {count.table for count in counted if count.rows}
        destinations.sweep(pipeline, schema, resources, load_ids, loaded)


def _send(pipeline: dlt.Pipeline, stream: str) -> None:
    """Load, and try again where two runs that make the same table or dataset collide."""
    with load_log.brief(stream, describe_job_error):
        retry.call(
            pipeline.load,
            retry.Retries(4, first=0.5, jitter=True, sleep=sleep),
            lambda _, seconds: seconds if load_packages.nothing_sent(pipeline) else None,
        )


def _emptied(
    stored: dlt.Schema | None,
    pipeline: dlt.Pipeline,
    run: Path,
    counted: Sequence[load_packages.Count],
) -> list[str]:
    """What a full refresh says of tables that it empties: the source may have failed it."""
    resources = load_packages.refreshed(run)
    if not resources or stored is None:
        return []
    loaded = {count.table for count in counted if count.rows}
    roots = [
        str(table["name"])
        for table in stored.data_tables(seen_data_only=True)
        if table.get("resource") in resources and table["name"] not in loaded
    ]
    try:
        known = destinations.row_counts(pipeline, stored, roots) if roots else {}
    except Exception as error:  # a count that fails must not stop the load
        return [f"rows were not counted: {redact_foreign(str(error))}"]
    return [
        f"table {root}: the source has no rows any more; the full refresh deleted {rows:,} rows"
        for root, rows in known.items()
        if rows
    ]
