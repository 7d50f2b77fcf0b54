"""The history of a run's loads: written before each load, settled after it, by whoever comes next.

See `schema_changes.open_loads`: dlt's own row of a load decides whether what was noted before it
holds.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from millstream import destinations, schema_changes
from millstream.common.redact import redact_foreign
from millstream.config import PipelineConfig, TargetConfig
from millstream.model import Decision, RunReport, SchemaVersion, TableLoad
from millstream.runs import load_packages
from millstream.schema_changes import open_loads

if TYPE_CHECKING:
    import dlt

logger = logging.getLogger(__name__)


@dataclass
class LoadHistory:
    """What one run writes of its loads, and does for those of runs that died.

    Attributes:
        schema_name: of the stream's dlt schema.
        dead: load ids of packages that interrupted runs left on this machine.
        noted: load ids that this run noted; True once the history says that they are complete.
    """

    target: TargetConfig
    stream: str
    schema_name: str
    partition: str | None = None
    dead: set[str] = field(default_factory=set)
    noted: dict[str, bool] = field(default_factory=dict)

    @property
    def _maps(self) -> Sequence[str]:
        target = self.target
        return target.maps_of(self.stream) if isinstance(target, PipelineConfig) else ()

    def is_kept(self, pipeline: dlt.Pipeline) -> bool:
        """Whether loads are noted at all; elsewhere the history is written after the load."""
        return self.target.history and open_loads.can_note(pipeline)

    def note(
        self,
        pipeline: dlt.Pipeline,
        counted: Sequence[load_packages.Count],
        before: SchemaVersion,
        new: SchemaVersion,
        decisions: Sequence[Decision],
        started_at: datetime,
        seconds: Mapping[str, float],
    ) -> None:
        """Write the history of a load that is about to be sent; no load fails for want of it."""
        if not counted or not self.is_kept(pipeline):
            return
        rows: Counter[str] = Counter()
        size: Counter[str] = Counter()
        for count in counted:
            rows[count.table] += count.rows
            size[count.table] += count.bytes
        report = RunReport(
            pipeline=self.target.name,
            stream=self.stream,
            destination=self.target.destination.type,
            dataset=pipeline.dataset_name,
            load_id=counted[-1].load_id,
            started_at=started_at,
            seconds=dict(seconds),
            tables=tuple(
                TableLoad(
                    name=table.name,
                    parent=table.parent,
                    rows=rows[table.name],
                    rows_total=None,
                    bytes=size[table.name],
                    full_name=table.name,
                )
                for table in new.tables
            ),
            changes=schema_changes.describe_maps(schema_changes.diff(before, new), new, self._maps),
            schema=new,
            decisions=tuple(decisions),
            partition=self.partition,
        )
        place = schema_changes.history.place_of(pipeline)
        try:
            beside = None
            if self.target.receipts != "none":
                from millstream.receipts import store

                # the receipts of the load are a row more then, and no load package of their own
                beside = {store.TABLE: store.COLUMNS}
            if place is not None and schema_changes.history.append(
                place, report, is_open=True, beside=beside
            ):
                self.noted[counted[-1].load_id] = False
        except Exception as error:  # the history is written after the load then, or says why not
            text = redact_foreign(str(error))
            logger.debug("%s: the load was not noted beforehand: %s", self.stream, text)
            with suppress(Exception):  # where there is no transaction, some tables may have rows
                open_loads.retract(pipeline, counted[-1].load_id, is_over=True)

    def reconcile(self, pipeline: dlt.Pipeline) -> None:
        """Keep what was loaded of runs that died; take out the rest, and the rows that it brought.

        Only while no other run of the stream can load: what is open is complete then, or dead.
        """
        from dlt.destinations.exceptions import DatabaseTerminalException

        if not self.is_kept(pipeline):
            return
        try:
            self._reconcile(pipeline)
        except DatabaseTerminalException:
            # a column may have been dropped; what else is wrong, the statements say again
            place = schema_changes.history.place_of(pipeline)
            if place is not None:
                schema_changes.history.make(place)
            self._reconcile(pipeline)

    def _reconcile(self, pipeline: dlt.Pipeline) -> None:
        alone = destinations.excludes_others(self.target)
        for each in open_loads.find(pipeline, self.target.name, self.stream):
            if each.is_complete:
                open_loads.complete(pipeline, each.load_id, each.steps)
            elif alone or each.load_id in self.dead:
                schema = destinations.stored_schema(pipeline, self.schema_name)
                if schema is not None:
                    destinations.undo(pipeline, schema, each.load_id)
                open_loads.retract(pipeline, each.load_id, is_over=True)
        for load_id in open_loads.cut_off(pipeline, self.target.name, self.stream) if alone else ():
            open_loads.retract(pipeline, load_id, is_over=True)

    def retract(self, pipeline: dlt.Pipeline) -> None:
        """Take out what was noted of a load that failed; its rows are the next run's to undo."""
        if not self.noted:
            return
        with suppress(Exception):  # the destination may be gone; the next run settles it
            for each in open_loads.find(pipeline, self.target.name, self.stream):
                if each.load_id in self.noted and not each.is_complete:
                    open_loads.retract(pipeline, each.load_id, is_over=False)

    def complete(self, pipeline: dlt.Pipeline, seconds: Mapping[str, float]) -> None:
        """Note that the loads are complete."""
        for load_id, is_complete in self.noted.items():
            if not is_complete:
                open_loads.complete(pipeline, load_id, seconds)
                self.noted[load_id] = True

    def before(self, pipeline: dlt.Pipeline, stored: SchemaVersion) -> SchemaVersion:
        """The stream's schema as complete loads have left it.

        Args:
            stored: as the destination stores it: with what a load that died had added. It holds
                where nothing is noted.
        """
        if not open_loads.can_note(pipeline):
            return stored
        schema = destinations.loaded_schema(pipeline, self.schema_name)
        return schema_changes.snapshot(schema) if schema else SchemaVersion()
