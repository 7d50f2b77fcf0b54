"""Tables made of what was extracted, with all that is known of them before anything is sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from millstream import destinations, engine, schema_changes
from millstream.common.metadata_tables import is_own
from millstream.errors import ConfigError
from millstream.model import Decision, SchemaVersion
from millstream.quarantine.rules import QuarantineRules
from millstream.runs import (
    deduplication,
    given_columns,
    load_packages,
    manifests,
)
from millstream.runs.context import RunContext
from millstream.runs.scope import Baseline
from millstream.runs.signals import raising_signals

if TYPE_CHECKING:
    import dlt
    from dlt.common.metrics import NormalizeMetrics


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
    def refusals(self) -> tuple[Decision, ...]:
        """What the policy keeps out; of rows that were quarantined before it was told then."""
        return () if self.seen.is_replay else self.seen.refusals

    @property
    def is_profiled(self) -> bool:
        """Whether all rows were counted; files that a source imports as they are were not."""
        rows = {
            table: max((each.rows for each in columns.values()), default=0)
            for table, columns in self.seen.profile.items()
        }
        loaded = {table: count for table, count in self.rows.items() if count}
        deletions = self.seen.deletions
        return all(
            rows.get(table, 0) + deletions.get(table, 0) == count for table, count in loaded.items()
        )


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
        counted = load_packages.counted(run, _counts(run, pipeline, normalized))
        deduplication.forget_extracted(run)
        _write_manifests(pipeline, run, counted)
    waiting = {count.load_id for count in counted} | {*load_packages.pending(run)}
    seen = given_columns.without_added(engine.collect(Path(pipeline.working_dir), waiting), run)
    outdated = deduplication.outdated_rows(pipeline, sorted(waiting))
    schema = _packaged(context, pipeline, run, seen)
    package = Normalized(tuple(counted), seen, outdated, schema, warnings)
    if seen.is_replay or not package.is_profiled:
        return package
    complete = schema_changes.complete(schema, seen.profile)
    return replace(package, schema=schema_changes.attach(schema, complete))


def _quarantine_rules(
    context: RunContext, run: Path, accepted: SchemaVersion | None
) -> QuarantineRules | None:
    """Which rows of this run's packages go to quarantine while dlt normalizes them."""
    target = context.target
    if not target.quarantine.enabled:
        return None
    gate = None
    if context.keeps_out:
        gate = schema_changes.gate(
            schema_changes.held_packages.read_baseline(run, context.stream),
            accepted,
            target.schema_policy,
            stream=context.stream,
            approved=schema_changes.held_packages.approved(run),
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
    found = load_packages.schema_of(run)
    # rows that are replayed are no sample of the source: of a load's columns they tell nothing
    profile = {} if seen.is_replay else seen.profile
    if found is None:
        return schema_changes.attach(context.version(pipeline), profile)
    return schema_changes.snapshot(found, profile)


def _counts(
    run: Path, pipeline: dlt.Pipeline, normalized: Mapping[str, Sequence[NormalizeMetrics]]
) -> list[load_packages.Count]:
    """What was normalized, by load and table; dlt's own tables left out."""
    rows: Counter[tuple[str, str]] = Counter()
    size: Counter[tuple[str, str]] = Counter()
    for load_id, metrics in normalized.items():
        for job, counted in (each for metric in metrics for each in metric["job_metrics"].items()):
            table, file_id = job.split(".")[:2]
            if is_own(table) or table.lower().startswith("_dlt"):
                continue
            found = counted.items_count, counted.file_size
            if found == (0, 0):  # a file that is loaded as it is: dlt counts nothing
                found = load_packages.size_of_job(run, pipeline, load_id, f"{table}.{file_id}")
            rows[load_id, table] += found[0]
            size[load_id, table] += found[1]
    return [load_packages.Count(*each, rows[each], size[each]) for each in rows]
