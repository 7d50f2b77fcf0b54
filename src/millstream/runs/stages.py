"""The stages of a run, each a function of what it needs.

`runner.execute` puts them in order; `deliver` has the second half of it, from extracted rows to
loaded ones, which a run also does for the package that an interrupted one left.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any, Literal

from millstream import destinations, engine, schema_changes
from millstream.common import retry
from millstream.common.metadata_tables import is_own
from millstream.common.redact import redact_foreign
from millstream.config import PipelineConfig
from millstream.errors import ConfigError
from millstream.formats.key_names import name_primary_key
from millstream.model import Decision, SchemaVersion
from millstream.quarantine import limits
from millstream.quarantine.rules import QuarantineRules
from millstream.runs import (
    deduplication,
    load_ids,
    load_packages,
    manifests,
    pending_packages,
    quarantine_replay,
)
from millstream.runs.context import RunContext, resources_of
from millstream.runs.recorder import RunRecorder, StaleCursorError
from millstream.runs.scope import Baseline, OnePartition, Scope
from millstream.runs.turn import Turn
from millstream.sources import corrected_lines, findings
from millstream.sources.findings import Findings
from millstream.sources.pages import limit_pages

if TYPE_CHECKING:
    import dlt
    from dlt.common.metrics import NormalizeMetrics


@dataclass(frozen=True, slots=True)
class Extracted:
    """What the source reported beside its rows.

    Attributes:
        warnings: what is to be said of the way it was read.
    """

    findings: Findings
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Normalized:
    """What a package would load.

    Attributes:
        seen: what the engine did and counted.
        outdated: rows by table of which the package has a later version.
        schema: the tables, with the profile of the package's rows.
    """

    counted: tuple[load_packages.Count, ...]
    seen: engine.EngineReport
    outdated: Mapping[str, int]
    schema: SchemaVersion
    warnings: Sequence[str] = ()

    @property
    def rows(self) -> Counter[str]:
        """Rows by table."""
        rows: Counter[str] = Counter()
        for count in self.counted:
            rows[count.table] += count.rows
        return rows

    @property
    def is_profiled(self) -> bool:
        """Whether all rows were counted; files that a source imports as they are were not."""
        rows = {
            table: max((each.rows for each in columns.values()), default=0)
            for table, columns in self.seen.profile.items()
        }
        loaded = {table: count for table, count in self.rows.items() if count}
        return all(rows.get(table) == count for table, count in loaded.items())


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a load did beside loading.

    Attributes:
        stopped: Ctrl-C or SIGTERM came while it was coming to its end.
    """

    warnings: Sequence[str]
    stopped: bool


def restore(
    context: RunContext,
    scope: Scope,
    recorder: RunRecorder,
    pipeline: dlt.Pipeline,
    run: Path,
    opened: Any,
) -> Baseline:
    """Take cursors and schema from the destination, and the tables that it has already.

    Raises:
        ConfigError: there are tables that the stream is to load into, and did not make.
    """
    found = scope.restore(pipeline, run, recorder.history)
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
    schema_changes.held_packages.remember(run, context.stream, found.version)
    return found


def extract(
    context: RunContext,
    scope: Scope,
    baseline: Baseline,
    pipeline: dlt.Pipeline,
    opened: Any,
    *,
    full_refresh: bool,
) -> Extracted:
    """Read the source, into a package of the working folder."""
    import dlt

    target = context.target
    resources = resources_of(opened)
    known = pipeline.schemas.has_schema(context.schema)
    schema: Any = pipeline.schemas[context.schema] if known else dlt.Schema(context.schema)
    if target.names_keys:
        dialect = pipeline.destination.capabilities().sqlglot_dialect
        for resource in resources:
            name_primary_key(schema, resource, dialect)
    scope.prepare(pipeline, schema, opened, full_refresh=full_refresh)
    if isinstance(target, PipelineConfig) and context.stream in target.dedup_sort:
        column = target.dedup_sort[context.stream]
        for resource in resources:
            resource.apply_hints(columns={column: {"dedup_sort": "desc"}})
    if context.pages is not None:
        for resource in resources:
            limit_pages(resource, context.pages)
    if isinstance(opened, dlt.sources.DltSource):  # brings a schema, and its hints, along
        opened = opened.clone(with_name=context.schema)
        schema = None
    # rows that only the engine reads back: with another dlt, a later run with the right one does
    for_engine = target.quarantine.on_unsupported_dlt == "fail" or engine.fits()
    # a dlt source, or what Python code hands over
    if for_engine and not context.has_unique_keys:
        engine.check_arrow_items(
            resources_of(opened),
            pipeline.schemas[context.schema] if known else dlt.Schema(context.schema),
            pipeline.destination.capabilities(),
            is_exact=target.coercion == "exact",
        )
    newest = baseline.loads.newest if baseline.loads else None
    refresh: Literal["drop_data"] | None = None
    if full_refresh:
        quarantine_replay.remember_refresh(pipeline, context.name, newest)
        refresh = _prepare_refresh(context, pipeline, opened)
    # the engine is on so that sources know what it reads itself
    with (
        engine.enabled() as fits,
        engine.unambiguous() if for_engine else nullcontext(),
        load_ids.above(newest, stream=context.stream),
        raising_signals(),
        findings.collecting(Path(pipeline.pipelines_dir)) as found,
        corrected_lines.from_quarantine(lambda: quarantine_replay.put_aside(context, pipeline)),
    ):
        extracted = pipeline.extract(
            opened,
            schema=schema,
            loader_file_format=destinations.loader_file_format(
                target, pipeline.destination, engine_fits=fits
            ),
            refresh=refresh,
        )
    deduplication.remember_order(Path(pipeline.pipelines_dir), extracted)
    return Extracted(found, _told_of_source_state(context, pipeline, opened))


def deliver(
    context: RunContext,
    scope: Scope,
    recorder: RunRecorder,
    turn: Turn,
    baseline: Baseline,
    pipeline: dlt.Pipeline,
    run: Path,
    extracted: Extracted,
) -> None:
    """Normalize, govern and load what was extracted.

    Raises:
        SchemaHeldError: the policy holds a change; the package waits.
        StaleCursorError: its rows are older than what the destination has by now.
    """
    # partitions share tables and a schema: each in its turn; extracting is done by then
    with turn.of_stream():
        if isinstance(scope, OnePartition):
            with recorder.step("restore"), context.writer():
                recorder.history.settle(pipeline)
                now = scope.catch_up(pipeline, recorder.history)
                baseline = replace(now, load_ids=baseline.load_ids)
                recorder.before = baseline.version
                schema_changes.held_packages.remember(run, context.stream, baseline.version)
        accepted = context.accepted()
        with recorder.step("normalize"):
            package = normalize(context, baseline, pipeline, run, accepted)
        with recorder.step("govern"):
            is_sample = package.seen.profile and not package.seen.outcomes
            recent = recorder.recent(pipeline, baseline.loads) if is_sample else ()
            decisions = govern(context, recorder, run, package, recent, accepted)
        with recorder.step("load"), context.writer():
            turn.check()
            loaded = load(
                context, scope, recorder, baseline, pipeline, run, extracted, package, decisions
            )
        recorder.stopped |= loaded.stopped
        recorder.count(package.counted, pipeline.schemas[context.schema])
        recorder.engine_rows.update(package.seen.rows)
        recorder.engine_reasons.update(package.seen.reasons)
        recorder.quarantined += package.seen.quarantined
        recorder.outcomes.update(package.seen.outcomes)
        recorder.outdated.update(package.outdated)
        recorder.warnings += (*extracted.warnings, *package.warnings, *loaded.warnings)
        recorder.warnings += engine.told(package.seen.twins)
        recorder.skipped += extracted.findings.skipped
        recorder.remember(schema_changes.profile_of(package.schema))
        recorder.decisions += (*package.seen.refusals, *decisions)
        recorder.compare(package.schema, recent, decisions)
        recorder.accept(context.version(pipeline))


def normalize(
    context: RunContext,
    baseline: Baseline,
    pipeline: dlt.Pipeline,
    run: Path,
    accepted: SchemaVersion | None,
) -> Normalized:
    """Make tables of what was extracted."""
    target = context.target
    rules = engine.RowRules(
        _quarantine_rules(context, run, accepted), target.names_keys, context.coercion
    )
    with engine.enabled({context.schema: rules}) as is_followed:
        warnings = () if is_followed else _without_engine(context)
        _add_root_ids(context, pipeline)
        extracted = pipeline.list_extracted_load_packages()
        noting = manifests.write_in_background(run, extracted, "extracted")
        with raising_signals():
            normalized = deduplication.normalize(
                run,
                pipeline,
                context.schema,
                counted={count.load_id for count in load_packages.counted(run, ())},
                replaced=context.has_unique_keys,
                stored=baseline.schema,
            )
        noting.join()
        counted = load_packages.counted(run, _counts(normalized))
        deduplication.forget_extracted(run)
        _write_manifests(pipeline, run, counted)
    waiting = {count.load_id for count in counted} | {*load_packages.pending(run)}
    seen = engine.collect(Path(pipeline.working_dir), waiting)
    outdated = deduplication.outdated_rows(pipeline, sorted(waiting))
    schema = _packaged(context, pipeline, run, seen)
    package = Normalized(tuple(counted), seen, outdated, schema, warnings)
    if seen.outcomes or not package.is_profiled:
        return package
    complete = schema_changes.complete(schema, seen.profile)
    return replace(package, schema=schema_changes.attach(schema, complete))


def decide(
    context: RunContext,
    run: Path,
    new: SchemaVersion,
    recent: Sequence[schema_changes.LoadProfile],
    accepted: SchemaVersion | None,
) -> tuple[Decision, ...]:
    """What the policy says of what nobody has accepted yet."""
    decisions = schema_changes.govern(
        schema_changes.held_packages.recall(run, context.stream),
        accepted,
        new,
        context.target.schema_policy,
        stream=context.stream,
        waived=schema_changes.held_packages.waived(run),
        recent=recent,
        maps=context.maps,
    )
    # what should be quarantined, and yet came this far, came in a form that is not rows
    return tuple(
        replace(each, action="hold") if each.action == "quarantine" else each for each in decisions
    )


def govern(
    context: RunContext,
    recorder: RunRecorder,
    run: Path,
    package: Normalized,
    recent: Sequence[schema_changes.LoadProfile],
    accepted: SchemaVersion | None,
) -> tuple[Decision, ...]:
    """Let the limits of quarantine and the policy decide before anything is sent.

    Raises:
        QuarantineLimitError: too many rows are bad.
        SchemaHeldError: the policy holds a change; the package waits.
    """
    target, stream, seen = context.target, context.stream, package.seen
    # rows that are replayed are expected to be bad
    if not seen.outcomes.keys() & {"replayed", "waiting"}:
        limits.check(
            target.quarantine,
            seen.quarantined,
            sum(seen.rows.values()) + sum(package.outdated.values()),
            pipeline=target.name,
            stream=stream,
        )
    decisions = decide(context, run, package.schema, recent, accepted)
    if any(decision.action == "hold" for decision in decisions):
        rows = package.rows
        error = schema_changes.held_packages.hold(
            run, target.name, stream, decisions, package.schema, rows
        )
        # with what was loaded first of an interrupted run: one message a run
        recorder.tell((*recorder.decisions, *decisions), {**recorder.rows, **rows})
        raise error
    return decisions


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
    profile = package.seen.profile if package.is_profiled else {}
    if scope.is_overtaken(pipeline, baseline, profile):
        raise StaleCursorError
    warnings: list[str] = []
    coming, stored = _package_schema(run), baseline.schema
    is_sent = (run / "kept").exists()
    try:
        # what was sent once has made its tables, whoever knows of them
        if coming and not context.target.accept_existing and not is_sent:
            destinations.refuse_existing(
                pipeline, context.schema, coming, stored, what=context.what
            )
        if stored is not None and coming:
            warnings += destinations.migrate(pipeline, stored, coming)
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
        schema_changes.held_packages.recall(run, context.stream),
        package.schema,
        (*package.seen.refusals, *decisions),
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
            _send(pipeline)
        except Exception:
            recorder.history.retract(pipeline)
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


@contextmanager
def raising_signals() -> Iterator[None]:
    """Let dlt finish what it is doing on Ctrl-C or SIGTERM, then stop, done or not.

    dlt forgets a signal that arrives while its step ends.
    """
    from dlt.common.runtime import signals

    with signals.intercepted_signals():
        yield
        signals.raise_if_signalled()


def _send(pipeline: dlt.Pipeline) -> None:
    """Load, and try again where two runs that make the same table or dataset collide."""
    retry.call(
        pipeline.load,
        retry.Retries(4, first=0.5, jitter=True, sleep=sleep),
        lambda _, seconds: seconds if load_packages.untouched(pipeline) else None,
    )


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
    destinations.prepare(pipeline, context.schema, resources)
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


def _quarantine_rules(
    context: RunContext, run: Path, accepted: SchemaVersion | None
) -> QuarantineRules | None:
    """Which rows of this run's packages go to quarantine while dlt normalizes them."""
    target = context.target
    if not target.quarantine.enabled:
        return None
    gate = schema_changes.gate(
        schema_changes.held_packages.recall(run, context.stream),
        accepted,
        target.schema_policy,
        stream=context.stream,
        waived=schema_changes.held_packages.waived(run),
    )
    dispositions = {*load_packages.refreshed(run).values()}
    disposition = dispositions.pop() if len(dispositions) == 1 else None
    return QuarantineRules(target.name, context.stream, target.quarantine, gate, disposition)


def _without_engine(context: RunContext) -> tuple[str, ...]:
    """Stop where what a run promises does not fit the installed dlt, or say what it lacks.

    Raises:
        ConfigError: saying what, and how to go on without it.
    """
    target = context.target
    if target.coercion == "exact":
        raise ConfigError(
            "exact coercion does not fit the installed dlt",
            hint="install the dlt that Millstream requires, or set `coercion: dlt`",
        )
    if target.names_keys:
        raise ConfigError(
            "the names of columns do not fit the installed dlt",
            hint="install the dlt that Millstream requires",
        )
    if not target.quarantine.enabled:
        return ()
    if target.quarantine.on_unsupported_dlt == "warn":
        return (
            "quarantine does not fit the installed dlt and is off: a row that can't be loaded "
            "fails the run, and what contracts discard is lost",
        )
    raise ConfigError(
        "quarantine does not fit the installed dlt",
        hint="install the dlt that Millstream requires, or set "
        "`quarantine: {on_unsupported_dlt: warn}`, and lose what contracts discard",
    )


def _add_root_ids(context: RunContext, pipeline: dlt.Pipeline) -> None:
    if pipeline.schemas.has_schema(context.schema):
        schema = pipeline.schemas[context.schema]
        if destinations.add_root_ids(schema):
            pipeline.schemas.save_schema(schema)


def _write_manifests(
    pipeline: dlt.Pipeline, run: Path, counted: Sequence[load_packages.Count]
) -> None:
    for load_id in pipeline.list_normalized_load_packages():
        rows: Counter[str] = Counter()
        for count in counted:
            if count.load_id == load_id:
                rows[count.table] += count.rows
        manifests.write(run, load_id, "normalized", rows)


def _packaged(
    context: RunContext, pipeline: dlt.Pipeline, run: Path, seen: engine.EngineReport
) -> SchemaVersion:
    """The schema that the newest package would load.

    A run that was killed right after normalize left it in the package alone.
    """
    found = _package_schema(run)
    # rows that are replayed are no sample of the source: of a load's columns they tell nothing
    profile = {} if seen.outcomes else seen.profile
    if found is None:
        return schema_changes.attach(context.version(pipeline), profile)
    return schema_changes.snapshot(found, profile)


def _package_schema(run: Path) -> dlt.Schema | None:
    import dlt

    found = sorted(run.glob("*/load/normalized/*/schema.json"))
    return dlt.Schema.from_dict(json.loads(found[-1].read_bytes())) if found else None


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


def _counts(normalized: Mapping[str, Sequence[NormalizeMetrics]]) -> list[load_packages.Count]:
    """What was normalized, by load and table; dlt's own tables left out."""
    return [
        load_packages.Count(load_id, table, counted.items_count, counted.file_size)
        for load_id, metrics in normalized.items()
        for metric in metrics
        for table, counted in metric["table_metrics"].items()
        if not is_own(table) and not table.lower().startswith("_dlt")
    ]
