"""One run of one stream, step by step: extract, normalize, govern, load, report.

`_steps` lists the stages in order. Each run has a working folder of its own; cursors
and schema come from the destination, so that it may start on any machine. A package that a killed
run had extracted is finished first, and its rows are part of the report.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from millstream import destinations, engine, schema_changes, sources
from millstream.common.metadata_tables import own_pipeline
from millstream.config import MongoDBConfig, PipelineConfig, TargetConfig
from millstream.engine import maps
from millstream.errors import ConfigError, RunInterrupted, SchemaTooLargeError
from millstream.formats import duplicate_keys
from millstream.model import Partition, RunReport
from millstream.runs import load_packages, pending_packages, quarantine_replay, workdir
from millstream.runs.handed_data import LoadHints, as_extractable
from millstream.runs.stages import Progress, StaleCursorError, Work

if TYPE_CHECKING:
    import dlt

logger = logging.getLogger(__name__)


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
    source = sources.create(config.source)
    _check_stream(config, source, stream)
    part = config.partition_of(stream, partition)
    if part is not None and full_refresh:
        raise ConfigError(
            f"{config.name}.{stream}: a partition is always read whole, and replaces its rows",
            hint="leave out the full refresh",
        )
    return _run(
        lambda: with_maps(
            source.open(stream, full_refresh=full_refresh, partition=part), config, stream
        ),
        config,
        stream,
        partition=part,
        full_refresh=full_refresh,
        progress=progress,
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
    return _run(
        lambda: data,
        target,
        name,
        credentials=credentials,
        full_refresh=full_refresh,
        progress=progress,
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
        ConfigError: no such stream, or nothing waits under one of these ids.
        MillstreamError: as `run`.
    """
    if corrected is not None and (key := duplicate_keys.twice(corrected)) is not None:
        raise ConfigError(
            f"the corrected row: {duplicate_keys.told(key)}", hint="take one of them out"
        )
    if corrected is not None:
        corrected = " ".join(corrected.split("\n")).strip()  # rows are kept one a line
    source = sources.create(config.source)
    _check_stream(config, source, stream)
    planned = quarantine_replay.Plan()

    def rows(work: Work, pipeline: dlt.Pipeline, opened: Any) -> Any:
        nonlocal planned
        found = work.quarantine(pipeline, documents=True)
        # or it waited until this run finished a replay that had been interrupted
        known = {e.id for e in found if e.status == "waiting" or e.loads & {*work.load_ids}}
        missing = {*ids} - known
        if missing:
            raise ConfigError(
                f"nothing waits under {', '.join(sorted(missing))}",
                hint=f"`millstream quarantine list --stream {stream}` names what waits",
            )
        if not found:
            return quarantine_replay.nothing()
        with work.writer():
            planned = quarantine_replay.plan(
                pipeline, work.name, opened, found, ids=ids, corrected=corrected
            )
        return quarantine_replay.extractable(opened, pipeline.schemas[work.name], planned)

    report = _run(
        lambda: with_maps(source.open(stream), config, stream),
        config,
        stream,
        progress=progress,
        instead=rows,
    )
    return report, planned


def accept(
    config: TargetConfig,
    stream: str,
    *,
    changes: Collection[str] = (),
    credentials: str | None = None,
) -> tuple[Mapping[str, Any], ...]:
    """Accept what held runs of a stream wait for on this machine; the next run loads it.

    Args:
        changes: the ids of those to accept, as the held run's error has them; all where left out.
        credentials: for the destination, where the run had any.

    Returns:
        The changes, each as the history has it, with its `id`; none where nothing waits.

    Raises:
        ConfigError: the accepted schema can't be read or written; nothing was accepted then.
    """
    keeper = destinations.keeper(config, credentials)
    return tuple(
        change
        for found in _waiting(config, stream, credentials)
        for change in schema_changes.held_packages.accept(found, keeper, changes)
    )


def waiting(
    config: TargetConfig, stream: str, credentials: str | None = None
) -> list[schema_changes.held_packages.Held]:
    """The packages of a stream that the policy holds on this machine, oldest first.

    Raises:
        ConfigError, DestinationAuthError: nothing says which destination they are for.
    """
    return list(_waiting(config, stream, credentials))


def list_pending(
    config: TargetConfig, stream: str, credentials: str | None = None, *, fully: bool = False
) -> list[pending_packages.PendingPackage]:
    """The packages of a stream that earlier runs left on this machine, oldest first.

    Args:
        fully: read each file for damage; else compare sizes.

    Raises:
        ConfigError, DestinationAuthError: nothing says which destination they are for.
    """
    return [
        package
        for left, part in _left(config, stream, credentials)
        for package in pending_packages.read(left.path, stream, part, fully=fully)
    ]


def drop_pending(
    config: TargetConfig,
    stream: str,
    *,
    ids: Collection[str] = (),
    credentials: str | None = None,
) -> tuple[pending_packages.PendingPackage, ...]:
    """Drop packages of a stream that earlier runs left on this machine; no cursor moves.

    The next run reads their rows again. What an interrupted load has appended of a package is taken
    out of the destination.

    Args:
        ids: the load ids of those to drop; all where left out.

    Returns:
        Those that were dropped; none where none waits.

    Raises:
        MillstreamError: rows of an interrupted load can't be taken out; the package is kept.
    """
    dropped: list[pending_packages.PendingPackage] = []
    if not list_pending(config, stream, credentials):
        return ()
    work = Work(config, stream, credentials, "none")
    with (
        destinations.turn(config, work.name, what=work.what, credentials=credentials),
        own_pipeline(),
    ):
        for left, part in _left(config, stream, credentials):
            found = pending_packages.read(left.path, stream, part, fully=False)
            if not found or (ids and not any(package.id in ids for package in found)):
                continue
            if part is None:  # a partition replaces its rows, whatever is there of them
                work.take_out(left.path)
            left.drop()
            dropped += found
    return tuple(dropped)


def reject(
    config: TargetConfig, stream: str, *, credentials: str | None = None
) -> tuple[pending_packages.PendingPackage, ...]:
    """Refuse the changes that held runs of a stream wait for: their packages are dropped.

    No cursor moves: the next run reads the rows again, and is held again if the source still has
    the changes. What else is pending stays.

    Returns:
        The packages that were dropped; none where none is held.
    """
    held = [
        package.id
        for package in list_pending(config, stream, credentials)
        if package.status == "held"
    ]
    if not held:
        return ()
    return drop_pending(config, stream, ids=held, credentials=credentials)


def _waiting(
    config: TargetConfig, stream: str, credentials: str | None
) -> Iterator[schema_changes.held_packages.Held]:
    for left, _ in _left(config, stream, credentials):
        try:
            held = schema_changes.held_packages.read(left.path)
        except ValueError:  # damaged: the next run decides anew what it holds
            continue
        if held is not None:
            yield held


def _left(
    config: TargetConfig, stream: str, credentials: str | None
) -> Iterator[tuple[workdir.WorkDir, str | None]]:
    """The working folders that runs left, with the partition of each; locked while looked at."""
    key = Work(config, stream, None, "none").key
    keys = [
        name
        for name in (key, *workdir.parts(config.name, key))
        if workdir.has_runs(config.name, name)
    ]
    if not keys:
        return
    place = destinations.address(config, credentials)
    for name in keys:
        part = name.removeprefix(key).removeprefix("@") or None
        for each in workdir.abandoned(config.name, name, place):
            yield each, part


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


def _check_stream(config: PipelineConfig, source: sources.Source, stream: str) -> None:
    streams = source.streams()
    for each in streams:
        if stream in each.members and stream not in {known.name for known in streams}:
            raise ConfigError(
                f"pipeline {config.name!r}: {stream!r} is loaded together with "
                f"{', '.join(name for name in each.members if name != stream)}",
                hint=f"load the stream {each.name!r}",
            )
    names = [each.name for each in streams]
    members = {member for each in streams for member in each.members}
    for name, what in [
        (stream, ""),
        *((name, "dedup_sort: ") for name in config.dedup_sort),
        *((name, "maps: ") for name in config.maps if name not in members),
    ]:
        if name not in names:
            raise ConfigError(
                f"{what}pipeline {config.name!r} has no stream {name!r}",
                hint=f"it has {', '.join(names)}",
            )


def _run(
    open_source: Callable[[], Any],
    target: TargetConfig,
    stream: str,
    *,
    partition: Partition | None = None,
    credentials: str | None = None,
    full_refresh: bool = False,
    progress: Progress = "none",
    instead: Callable[[Work, dlt.Pipeline, Any], Any] | None = None,
) -> RunReport:
    keeper = destinations.keeper(target, credentials)
    work = Work(target, stream, credentials, progress, partition, keeper)
    try:
        return _steps(work, open_source, full_refresh=full_refresh, instead=instead)
    except RunInterrupted:
        raise
    except KeyboardInterrupt:
        raise work.interruption() from None


def _steps(
    work: Work,
    open_source: Callable[[], Any],
    *,
    full_refresh: bool,
    instead: Callable[[Work, dlt.Pipeline, Any], Any] | None,
) -> RunReport:
    target, stream, credentials, keeper = work.target, work.stream, work.credentials, work.keeper
    with work.step("prepare"):
        if keeper is not None:
            keeper.check()
        with work.writer():
            place = destinations.ensure_ready(target, credentials)

    turn = destinations.turn(target, work.name, what=work.what, credentials=credentials)
    with turn as work.holds_turn, own_pipeline(), ExitStack() as alone:
        # not before: a source may read as it is opened, and what is read later must load later
        with work.step("prepare"):
            opened = open_source()
        try:
            for left in workdir.abandoned(target.name, work.key, place):
                work.finish(left, drop=full_refresh)
            while True:
                with workdir.create(target.name, work.key, place) as folder:
                    work.folder = folder.path
                    schema_changes.held_packages.waive(folder.path, work.waived)
                    pipeline = work.pipeline(folder.path)
                    try:
                        with work.step("restore"), work.writer():
                            before = work.restore(pipeline, folder.path, opened)
                            schema_changes.held_packages.remember(folder.path, stream, before)
                        with work.step("extract"), engine.warming():
                            found = instead(work, pipeline, opened) if instead else opened
                            work.extract(pipeline, found, full_refresh=full_refresh)
                        work.process(pipeline, folder.path)
                        with work.writer():
                            with work.step("report"):
                                report = work.report(pipeline, before)
                            report = work.record(pipeline, report)
                        unsent = work.tell(report.decisions, work.rows)
                        report = replace(report, warnings=(*report.warnings, *unsent))
                        if work.stopped:
                            raise work.interruption(report)
                        return report
                    except SchemaTooLargeError:
                        folder.remove()  # the source has it: the next run may be told `maps`
                        raise
                    except StaleCursorError:
                        folder.remove()
                        if work.partition is not None and not work.has_stream:
                            # else it might never come to an end beside many others
                            alone.enter_context(work.stream_turn())
                        logger.info("%s: another run loaded this stream meanwhile: again", stream)
                        with work.step("prepare"):
                            opened = open_source()
                    finally:
                        if not load_packages.pending(folder.path):
                            folder.remove()
        except Exception as error:
            work.note_failure(error)
            work.salvage()
            raise
