"""What loads left in the destination, compared with what was noted when they were loaded."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from millstream import destinations
from millstream.common.sql_client import sql_client
from millstream.config import PipelineConfig
from millstream.model import Receipt
from millstream.receipts import audit, store
from millstream.receipts.layout import Layout
from millstream.runs.audited_tables import delivered_rows, which_of_load
from millstream.runs.context import RunContext


@dataclass(frozen=True, slots=True)
class AuditedLoad:
    """One load of one root table.

    Attributes:
        is_read_again: whether the tables were read; else a later load may have replaced rows, and
            the receipts are those of when it was loaded.
        found: the rows that differ, where they were asked for.
    """

    stream: str
    load_id: str
    verified_at: datetime
    receipts: tuple[Receipt, ...]
    is_read_again: bool
    found: tuple[str, ...] = ()

    @property
    def is_delivered(self) -> bool:
        return not any(receipt.problems for receipt in self.receipts)


def audit_loads(
    config: PipelineConfig,
    streams: Collection[str],
    *,
    load_id: str | None = None,
    find: bool = False,
) -> list[AuditedLoad]:
    """Audit the last load of each stream and root table, or one load.

    Raises:
        DestinationError: it can't be read.
    """
    with destinations.reader(config) as destination:
        known = store.read(destination, config.dataset, config.name)
        newest = {(each.stream, each.root): each for each in known}
        chosen = [
            each
            for each in known
            if each.stream in streams
            and (each.load_id == load_id if load_id else each is newest[each.stream, each.root])
        ]
        return [_audited(config, each, find=find) for each in chosen]


def _audited(config: PipelineConfig, stored: store.Stored, *, find: bool) -> AuditedLoad:
    context = RunContext(config, stored.stream)
    made = AuditedLoad(stored.stream, stored.load_id, stored.verified_at, stored.receipts, False)
    with TemporaryDirectory() as folder:
        pipeline = context.pipeline(Path(folder))
        schema = destinations.stored_schema(pipeline, context.schema)
        loads = destinations.load_ids(pipeline, context.schema)
        is_newest = stored.load_id == max(loads, default=None)
        if schema is None or not is_newest or stored.root not in schema.tables:
            return made
        pipeline.schemas.save_schema(schema)
        opened = sql_client(pipeline, context.schema)
        if opened is None:
            return made
        with opened as client:
            dialect = pipeline.destination.capabilities().sqlglot_dialect
            layout = Layout(schema, stored.root, names_keys=config.names_keys, dialect=dialect)
            which = which_of_load(schema.tables[stored.root], layout, stored.load_id)
            delivered_of = delivered_rows(pipeline, client, layout, which)
            receipts = audit.audit(stored, layout, delivered_of)
            rows = audit.find(stored, delivered_of) if find else ()
    return replace(made, receipts=receipts, is_read_again=True, found=tuple(rows))
