"""What one run finds out, from its first step on, and the report that is made of it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from millstream import destinations, schema_changes
from millstream.common.redact import redact_foreign
from millstream.errors import MillstreamError, RunInterrupted
from millstream.model import (
    ColumnProfile,
    Decision,
    Drift,
    QuarantinedRows,
    Receipt,
    RunReport,
    SchemaChange,
    SchemaVersion,
    Skipped,
    TableLoad,
)
from millstream.runs import load_packages, pending_packages
from millstream.runs.context import RunContext
from millstream.runs.load_history import LoadHistory
from millstream.runs.step_errors import after_a_load, explain, interruption, is_interruption

if TYPE_CHECKING:
    import dlt

logger = logging.getLogger(__name__)


class StaleCursorError(Exception):
    """Another run of the stream has loaded since this one read the cursor."""


@dataclass
class RunRecorder:
    """Collects what the steps of a run found, and says how they failed.

    Attributes:
        outcomes: of rows that came again from quarantine.
        outdated: rows by table that were not loaded, since the load has a later version of them.
        deletions: rows by table that tell of a deletion.
        before: what the destination had before an interrupted run, whose package this one finished,
            or before a partition was loaded.
        folder: the working folder whose package is being loaded.
        stopped: Ctrl-C or SIGTERM came while the load was coming to its end.
    """

    context: RunContext
    seconds: dict[str, float] = field(default_factory=dict)
    rows: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)
    load_ids: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    engine_rows: Counter[str] = field(default_factory=Counter)
    engine_reasons: Counter[str] = field(default_factory=Counter)
    profile: Mapping[str, Mapping[str, ColumnProfile]] = field(default_factory=dict)
    quarantined: list[QuarantinedRows] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    outdated: Counter[str] = field(default_factory=Counter)
    deletions: Counter[str] = field(default_factory=Counter)
    skipped: list[Skipped] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    jumps: dict[tuple[str, str], Drift] = field(default_factory=dict)
    compared_loads: int = 0
    before: SchemaVersion | None = None
    folder: Path | None = None
    stopped: bool = False
    _step: str | None = None
    _told: bool = False
    _finished: tuple[schema_changes.history.Place | None, RunReport] | None = None
    """Where, and with what result, this run loaded what interrupted ones had left."""

    def __post_init__(self) -> None:
        context = self.context
        self.history = LoadHistory(
            context.target,
            context.stream,
            context.schema,
            context.partition.key if context.partition else None,
        )

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step, and tell which one failed."""
        started = perf_counter()
        self._step = name
        try:
            yield
        except StaleCursorError:
            raise
        except Exception as error:
            if is_interruption(error):
                raise KeyboardInterrupt from None
            # not `from error`: what the driver said may hold a secret, which explain() takes out
            raise explain(error, self.context.what, self.context.stream, name) from None
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + perf_counter() - started

    def count(self, counted: Sequence[load_packages.Count], schema: dlt.Schema) -> None:
        """Add what a package loaded; what it replaced of an earlier package is gone."""
        from dlt.common.schema.utils import get_write_disposition

        if self.load_ids and counted:
            for table in [*self.rows]:
                if (
                    table in schema.tables
                    and get_write_disposition(schema.tables, table) == "replace"
                ):
                    self.rows[table] = self.bytes[table] = 0
        for count in counted:
            if count.load_id not in self.load_ids:
                self.load_ids.append(count.load_id)
            self.rows[count.table] += count.rows
            self.bytes[count.table] += count.bytes

    def add_profile(self, profile: Mapping[str, Mapping[str, ColumnProfile]]) -> None:
        """Note what a package's columns held; a run may load an interrupted one's first."""
        if not any(profile.values()):
            return
        self.profile = schema_changes.pool([self.profile, profile]) if self.profile else profile

    def compare(
        self,
        new: SchemaVersion,
        recent: Sequence[schema_changes.LoadProfile],
        decisions: Sequence[Decision],
    ) -> None:
        """Remember which shares left the range of the loads before."""
        check = self.context.target.profile_check
        found = schema_changes.jumps(
            new,
            schema_changes.comparable(recent),
            threshold=check.threshold,
            min_rows=check.min_rows,
            explained=schema_changes.explained(decisions, schema_changes.profile_of(new)),
        )
        self.jumps.update({(jump.table, jump.column): jump for jump in found})
        self.compared_loads = max(self.compared_loads, len(recent))

    def accept(self, loaded: SchemaVersion) -> None:
        """Write down what the policy let in, for the next pull request to show."""
        context = self.context
        if context.accepted_store is None:
            return
        try:
            context.accepted_store.add(context.stream, loaded)
        except Exception as error:  # the rows are in; a project may be deployed read-only
            self.warnings.append(explain(error, context.what, context.stream, "accept").message)

    def recent(
        self, pipeline: dlt.Pipeline, loads: destinations.Loads | None
    ) -> Sequence[schema_changes.LoadProfile]:
        """What each of the last loads saw; nothing where no history is kept or can be read.

        Args:
            loads: those that the destination has.
        """
        context, part = self.context, self.context.partition
        if not context.target.history or loads is None:
            return ()
        try:
            with context.writer():
                known = schema_changes.history.recent(
                    pipeline,
                    context.target.name,
                    context.stream,
                    is_settled=not context.is_preview,
                    partition=part,
                )
            if not self.profile or self.history.noted:
                return known
            # the package that this run loaded first is in no history yet
            own = schema_changes.LoadProfile(
                self.profile, schema_changes.settled(self.decisions, self.profile)
            )
            return (*known, own)
        except Exception as error:  # a help, and no condition of a load
            text = redact_foreign(str(error))
            logger.warning("%s: the schema's history was not read: %s", context.stream, text)
            return ()

    def send_alerts(
        self, decisions: Sequence[Decision], rows: Mapping[str, int]
    ) -> tuple[str, ...]:
        """Alert whom the configuration names; the alerts that could not be sent."""
        self._told = True
        target = self.context.target
        if not target.alerts:
            return ()
        from millstream import alerts

        part = self.context.partition
        return alerts.send(
            target.alerts,
            target.name,
            self.context.stream,
            decisions,
            rows,
            partition=part.key if part else None,
        )

    def report(self, pipeline: dlt.Pipeline, before: SchemaVersion) -> RunReport:
        """What the run did so far.

        Args:
            before: the tables as they were, unless an interrupted run's package was loaded first.
        """
        target = self.context.target
        schema = schema_changes.attach(self.context.version(pipeline), self.profile)
        tables = [table.name for table in schema.tables]
        totals = self._totals(pipeline, tables)
        names = destinations.full_names(pipeline, target, [*tables, schema_changes.history.CHANGES])
        appended = destinations.fallbacks(pipeline, pipeline.default_schema, self.rows)
        return RunReport(
            pipeline=target.name,
            stream=self.context.stream,
            destination=target.destination.type,
            dataset=destinations.dataset_name(target),
            load_id=self.load_ids[-1] if self.load_ids else None,
            started_at=self.context.started_at,
            seconds=self.seconds,
            tables=tuple(
                TableLoad(
                    name=table.name,
                    parent=table.parent,
                    rows=self.rows[table.name],
                    rows_total=totals.get(table.name),
                    bytes=self.bytes[table.name],
                    full_name=names[table.name],
                )
                for table in schema.tables
            ),
            changes=self._changes(self.before or before, schema),
            schema=schema,
            engine_rows=dict(self.engine_rows),
            warnings=tuple(
                dict.fromkeys([*self.warnings, *appended, *destinations.replaced(pipeline)])
            ),
            decisions=tuple(self.decisions),
            quarantined=tuple(self.quarantined),
            replayed=dict(self.outcomes),
            outdated=dict(self.outdated),
            deletions=dict(self.deletions),
            partition=self.context.partition.key if self.context.partition else None,
            history=names[schema_changes.history.CHANGES] if target.history else None,
            jumps=tuple(self.jumps.values()),
            compared_loads=self.compared_loads,
            skipped=tuple(dict.fromkeys(self.skipped)),
            engine_reasons=dict(self.engine_reasons),
            receipts=tuple(self.receipts),
        )

    def record(self, pipeline: dlt.Pipeline, report: RunReport) -> RunReport:
        """Append to the history of the schema; a load never fails for want of it."""
        if not self.context.target.history:
            return report
        try:
            with self.step("record"):
                if report.load_id in self.history.noted:
                    self.history.complete(pipeline, self.seconds)
                else:
                    schema_changes.history.record(pipeline, report)
        except MillstreamError as error:
            stream = self.context.stream
            logger.warning("%s: the schema's history was not written: %s", stream, error)
            warning = f"the schema's history was not written: {error.message}"
            return replace(report, warnings=(*report.warnings, warning))
        return report

    def finished(self, pipeline: dlt.Pipeline, before: SchemaVersion) -> None:
        """The package of an interrupted run is loaded."""
        place = schema_changes.history.place_of(pipeline)
        # its own seconds: the run goes on
        self._finished = place, replace(self.report(pipeline, before), seconds={**self.seconds})
        with suppress(Exception):  # what stays open is settled by the next run
            self.history.complete(pipeline, self.seconds)

    def interruption(self, report: RunReport | None = None) -> RunInterrupted:
        """What stops this run, with what is saved of it."""
        stop = interruption(
            self.context.what,
            self.context.stream,
            self._step,
            pending=self.folder is not None and bool(load_packages.pending(self.folder)),
            partition=self.context.partition is not None,
            report=report,
        )
        if report is None and self._finished is not None and self._finished[1].rows:
            stop.loaded = self._finished[1]
            stop.message = after_a_load(stop.message, stop.loaded)
        return stop

    def failed(self, error: Exception) -> None:
        """Keep why a package was not loaded, and what was loaded of interrupted runs."""
        if self.folder is not None and isinstance(error, MillstreamError):
            with suppress(OSError):
                pending_packages.note_failure(self.folder, error)
        if self._finished is None:
            return
        place, report = self._finished
        if isinstance(error, MillstreamError) and report.rows and error.loaded is None:
            error.loaded = report
            error.message = after_a_load(error.message, report)
        if not self._told:
            self.send_alerts(report.decisions, self.rows)
        if place is None or not self.context.target.history:
            return
        if report.load_id in self.history.noted:
            return
        try:
            with self.context.writer():
                schema_changes.history.append(place, report)
        except Exception as error:
            text = redact_foreign(str(error))
            stream = self.context.stream
            logger.warning("%s: the schema's history was not written: %s", stream, text)

    def _changes(self, before: SchemaVersion, schema: SchemaVersion) -> tuple[SchemaChange, ...]:
        """What changed in the schema and in the data, but for shares, which come and go."""
        made = schema_changes.describe_maps(
            schema_changes.diff(before, schema), schema, self.context.maps
        )
        changes = {schema_changes.fingerprint(each): each for each in made}
        for decision in self.decisions:
            if decision.action != "quarantine" and not schema_changes.comes_and_goes(decision):
                changes.setdefault(schema_changes.fingerprint(decision.change), decision.change)
        position = {table.name: at for at, table in enumerate(schema.tables)}
        return tuple(sorted(changes.values(), key=lambda each: position.get(each.table, 0)))

    def _totals(self, pipeline: dlt.Pipeline, tables: Sequence[str]) -> dict[str, int | None]:
        try:
            return destinations.row_counts(pipeline, pipeline.default_schema, tables)
        except Exception as error:  # the rows are in; a count that fails must not say otherwise
            self.warnings.append(f"rows were not counted: {redact_foreign(str(error))}")
            return {}
