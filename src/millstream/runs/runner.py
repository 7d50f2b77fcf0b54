"""One run of one stream: `execute` lists its stages in order.

Each run has a working folder of its own; cursors and schema come from the destination, so that it
may start on any machine. A package that a killed run had extracted is finished first, and its rows
are part of the report.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millstream import destinations, engine, schema_changes, sources
from millstream.common.metadata_tables import own_pipeline
from millstream.config import MongoDBConfig, PipelineConfig, TargetConfig
from millstream.engine import maps
from millstream.errors import ConfigError, MillstreamError, RunInterrupted, SchemaTooLargeError
from millstream.formats import duplicate_keys
from millstream.model import Partition, RunReport
from millstream.runs import (
    load_packages,
    quarantine_replay,
    replayed_rows,
    stages,
    step_errors,
    workdir,
)
from millstream.runs.context import Progress, RunContext
from millstream.runs.handed_data import LoadHints, as_extractable
from millstream.runs.recorder import RunRecorder, StaleCursorError
from millstream.runs.recovery import finish_abandoned
from millstream.runs.scope import Baseline, scope_of
from millstream.runs.stream_names import require_named, require_stream
from millstream.runs.turn import Turn
from millstream.sources import findings

if TYPE_CHECKING:
    import dlt

logger = logging.getLogger(__name__)

Rows = Callable[[RunContext, RunRecorder, "dlt.Pipeline", Any], Any]
"""From what a source opened, what is extracted instead."""


def run(
    config: PipelineConfig,
    stream: str,
    *,
    partition: str | None = None,
    full_refresh: bool = False,
    progress: Progress = "none",
) -> RunReport:
    """Load one stream of a pipeline, from its cursor on, or one partition of it.

    Args:
        stream: a stream of `config.source`.
        partition: the key of a partition, of a stream that `config.partitions` covers: all of it is
            read, and replaces what an earlier run of it loaded.
        full_refresh: forget cursors, read all, and replace what the tables hold.

    Raises:
        ConfigError: the pipeline has no such stream, or the stream no such partition.
        DestinationError: it can't be reached or written to; nothing was extracted.
        SourceError: it can't be read; nothing was loaded and no cursor moved.
        SchemaHeldError: the policy holds a change; nothing was sent and no cursor moved.
        RunError: any other failure, with the step that failed.
    """
    source = sources.of_pipeline(config)
    _require_streams(config, source, stream)
    part = config.partition_of(stream, partition)
    if part is not None and full_refresh:
        raise ConfigError(
            f"{config.name}.{stream}: a partition is always read whole, and replaces its rows",
            hint="leave out the full refresh",
        )
    return execute(
        RunContext(
            config,
            stream,
            progress=progress,
            partition=part,
            accepted_store=destinations.accepted_store(config),
        ),
        lambda: with_maps(
            source.open(stream, full_refresh=full_refresh, partition=part), config, stream
        ),
        full_refresh=full_refresh,
    )


def run_data(
    data: Any,
    target: TargetConfig,
    *,
    stream: str | None = None,
    hints: LoadHints | None = None,
    credentials: str | None = None,
    full_refresh: bool = False,
    progress: Progress = "none",
) -> RunReport:
    """Load what Python code hands over: a dlt source, resources, or any iterable of rows.

    Args:
        stream: the name of the run, and the table's where `data` has no name of its own.
        hints: how the rows are loaded, where `data` does not say so itself.
        credentials: for the destination; looked up where dlt documents it when left out.

    Raises:
        ConfigError: `data` has no name and no `stream` was given, or `hints` do not fit it.
    """
    name, data = as_extractable(data, stream, hints or LoadHints())
    return execute(
        RunContext(
            target,
            name,
            credentials,
            progress,
            accepted_store=destinations.accepted_store(target, credentials),
        ),
        lambda: data,
        full_refresh=full_refresh,
    )


def replay(
    config: PipelineConfig,
    stream: str,
    *,
    ids: Collection[str] = (),
    corrected: str | None = None,
    progress: Progress = "none",
) -> tuple[RunReport, quarantine_replay.Plan]:
    """Load rows of a stream that wait in quarantine, each once; no cursor moves.

    A row lands as the stream's own rows do. One that still can't be loaded goes on waiting, with a
    new reason; one of which the table has a newer version is noted as superseded.

    Args:
        ids: the entries to replay; all that wait where left out.
        corrected: a JSON text to load in place of the row of the one entry in `ids`.

    Returns:
        The report, and what was planned, with what had to be left and why.

    Raises:
        ConfigError: no such stream, or no entry waits under one of these ids.
        MillstreamError: as `run`.
    """
    if corrected is not None and (key := duplicate_keys.twice(corrected)) is not None:
        raise ConfigError(
            f"the corrected row: {duplicate_keys.describe(key)}", hint="take one of them out"
        )
    if corrected is not None:
        corrected = " ".join(corrected.split("\n")).strip()  # rows are kept one a line
    source = sources.of_pipeline(config)
    _require_streams(config, source, stream)
    read_again = None
    if isinstance(source, sources.ReadingAgain):
        read_again = partial(source.read_again, stream)
    planned = quarantine_replay.Plan()

    def rows(
        context: RunContext, recorder: RunRecorder, pipeline: dlt.Pipeline, opened: Any
    ) -> Any:
        nonlocal planned
        found = quarantine_replay.entries(context, pipeline)
        # or it waited until this run finished a replay that had been interrupted
        known = {e.id for e in found if e.status == "waiting" or e.loads & {*recorder.load_ids}}
        missing = {*ids} - known
        if missing:
            raise ConfigError(
                f"no entry waits under {', '.join(sorted(missing))}",
                hint=f"`millstream quarantine list --stream {stream}` names what waits",
            )
        if not found:
            return replayed_rows.nothing()
        with context.writer():
            place = schema_changes.history.place_of(pipeline)
            planned = quarantine_replay.plan(
                pipeline,
                context.name,
                opened,
                found,
                ids=ids,
                corrected=corrected,
                configured=config,
                partitions=quarantine_replay.loaded_partitions(config, stream, place),
                read_again=read_again,
            )
        return replayed_rows.extractable(opened, pipeline.schemas[context.name], planned)

    report = execute(
        RunContext(
            config, stream, progress=progress, accepted_store=destinations.accepted_store(config)
        ),
        lambda: with_maps(
            source.open(stream, partition=_any_partition(config, stream)), config, stream
        ),
        instead=rows,
    )
    return report, planned


def with_maps(opened: Any, config: PipelineConfig, stream: str) -> Any:
    """A stream's rows with the objects that its configuration names as maps as lists."""
    import dlt

    if isinstance(config.source, MongoDBConfig):
        return opened  # it reads them as lists itself
    found = config.maps_of(stream)
    if isinstance(opened, dlt.sources.DltSource):
        opened = opened.clone()  # what a module holds is opened again by the next run
        for name, resource in opened.selected_resources.items():
            maps.apply(resource, (*found, *(config.maps.get(name, ()) if name != stream else ())))
        return opened
    return maps.apply(opened.with_name(opened.name), found) if found else opened


def _any_partition(config: PipelineConfig, stream: str) -> Partition | None:
    """Some partition of a stream, for its hints, which are those of all; None where it has none.

    A source may have no way to open all of them: files of a path with a place for the key.
    """
    partitions = config.partitions
    if partitions is None or not partitions.covers(stream):
        return None
    return partitions.partition(stream, partitions.first_key)


def _require_streams(config: PipelineConfig, source: sources.Source, stream: str) -> None:
    streams = source.streams()
    require_stream(config, streams, stream)
    require_named(config, streams)


@destinations.built_once()
def execute(
    context: RunContext,
    open_source: Callable[[], Any],
    *,
    full_refresh: bool = False,
    instead: Rows | None = None,
) -> RunReport:
    """One run of one stream or partition: all of its stages, in order.

    `approved` are changes that people accepted for packages of a partition, which is read again.

    Args:
        open_source: opens what is extracted; a source may read as it is opened.
        instead: what is extracted in its place.
    """
    recorder, scope = RunRecorder(context), scope_of(context)
    try:
        with recorder.step("prepare"):
            if context.accepted_store is not None:
                context.accepted_store.check()
            with context.writer():
                place = destinations.ensure_ready(context.target, context.credentials)
        with Turn(context) as turn, own_pipeline():
            # not before: what is read later must load later
            with recorder.step("prepare"):
                opened = open_source()
            approved = finish_abandoned(context, recorder, turn, place, drop=full_refresh)
            while True:
                with _working_folder(context, recorder, turn, place, approved) as run:
                    pipeline = context.pipeline(run)
                    if instead:
                        schema_changes.held_packages.note_replay(run)
                    with recorder.step("restore"), context.writer():
                        baseline = stages.restore(
                            context,
                            scope,
                            recorder,
                            pipeline,
                            run,
                            opened,
                            full_refresh=full_refresh,
                        )
                    with recorder.step("extract"), engine.warming():
                        rows = instead(context, recorder, pipeline, opened) if instead else opened
                        extracted = stages.extract(
                            context,
                            scope,
                            baseline,
                            pipeline,
                            rows,
                            full_refresh=full_refresh,
                            is_replay=instead is not None,
                            receipts=context.target.receipts,
                        )
                    # normalize, govern, load; a change that is held raises
                    stages.normalize_and_load(
                        context, scope, recorder, turn, baseline, pipeline, run, extracted
                    )
                    report = _reported(
                        context, recorder, pipeline, baseline, extracted.findings.stop
                    )
                    if report is not None:
                        return report
                # a part is loaded and the next one is read; or the cursor was stale: read again
                with recorder.step("prepare"):
                    opened = open_source()
    except RunInterrupted:
        raise
    except KeyboardInterrupt:
        raise recorder.interruption() from None
    except MillstreamError as error:
        recorder.failed(error)
        raise
    except Exception as error:
        # DuckDB writes its file when it is closed, behind the steps
        full = step_errors.full_disk(error, context.what, context.stream, "load")
        recorder.failed(full or error)
        if full:
            raise full from None
        raise


@contextmanager
def _working_folder(
    context: RunContext, recorder: RunRecorder, turn: Turn, place: str, approved: Collection[str]
) -> Iterator[Path]:
    """A new folder for a run's package, which stays only while the package waits.

    The block may end with `StaleCursorError`, which goes no further: its rows are to be read again.
    """
    with workdir.create(context.target.name, context.key, place) as folder:
        recorder.folder = folder.path
        schema_changes.held_packages.approve(folder.path, approved)
        try:
            yield folder.path
        except SchemaTooLargeError:
            folder.remove()  # the source has it: the next run may be told `maps`
            raise
        except StaleCursorError:
            folder.remove()
            # a partition keeps its stream now, or it might never come to an end beside many others
            turn.keep_stream()
            logger.info("%s: another run loaded this stream: again", context.stream)
        finally:
            if not load_packages.pending(folder.path):
                folder.remove()


def _reported(
    context: RunContext,
    recorder: RunRecorder,
    pipeline: dlt.Pipeline,
    baseline: Baseline,
    stop: findings.Stop | None,
) -> RunReport | None:
    """The report of a run whose rows are in, written to the history and sent to the alerts.

    None where they are a part of the rows, and the others are still to be read.

    Raises:
        MillstreamError: what kept the source from being read to its end.
    """
    if stop is not None and stop.error is None and not recorder.stopped:
        recorder.before = recorder.before or baseline.version
        with context.writer():
            recorder.finished(pipeline, baseline.version)
        return None
    with context.writer():
        with recorder.step("report"):
            report = recorder.report(pipeline, baseline.version)
        report = recorder.record(pipeline, report)
    unsent = recorder.send_alerts(report.decisions, recorder.rows)
    report = replace(report, warnings=(*report.warnings, *unsent))
    if recorder.stopped:
        raise recorder.interruption(report)
    if stop is not None and stop.error is not None:
        stop.error.loaded = report
        raise stop.error
    return report
