"""What was quarantined, as the destination has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from millstream.common import metadata_tables
from millstream.quarantine.entry import COLUMNS, TABLE, Status

_SCHEMA = "millstream_quarantine"
_LOAD = "_dlt_load_id"
_COLUMNS = {**COLUMNS, _LOAD: "text"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A row that was quarantined, as it is now.

    Attributes:
        fields: the columns of `_millstream_quarantine`; `document` only where it was asked for.
        put_aside: the same as they were at first.
        loads: the loads that replayed it, successfully or not.
    """

    id: str
    stream: str
    status: Status
    at: datetime
    fields: Mapping[str, Any]
    put_aside: Mapping[str, Any] = field(default_factory=dict)
    loads: frozenset[str] = frozenset()

    def without_document(self) -> dict[str, Any]:
        """Its fields, as an envelope carries them."""
        fields = {name: value for name, value in self.fields.items() if name != "document"}
        return {**fields, "quarantined_at": self.at.isoformat()}


def entries(
    destination: Any,
    dataset: str,
    pipeline: str,
    stream: str | None = None,
    *,
    documents: bool = False,
) -> list[Entry]:
    """All that was ever quarantined, each once, oldest first.

    Args:
        destination: a dlt destination.
        documents: whether to read the rows themselves.
    """
    only = [name for name in _COLUMNS if documents or name != "document"]
    where = {"pipeline": pipeline} | ({} if stream is None else {"stream": stream})
    rows = metadata_tables.read(destination, dataset, _SCHEMA, TABLE, _COLUMNS, where, only=only)
    found: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: (row[_LOAD], row["attempts"])):
        found.setdefault(row["id"], []).append(row)
    made = [_entry(history) for history in found.values()]
    return sorted(made, key=lambda entry: (entry.at, entry.id))


def settle_replaced(
    destination: Any, dataset: str, entries: Sequence[Entry], schemas: Mapping[str, str]
) -> list[Entry]:
    """The entries, those superseded whose table was replaced since by a later read of its source.

    A replay notes that; until then nothing in the table of entries says so.

    Args:
        schemas: the name of each stream's dlt schema.
    """
    if not any(each.status == "waiting" and _is_replaced(each) for each in entries):
        return [*entries]
    columns = {"load_id": "text", "schema_name": "text"}
    rows = metadata_tables.read(destination, dataset, _SCHEMA, "_dlt_loads", columns, {})
    replays = {load_id for each in entries for load_id in each.loads}
    newest: dict[str, str] = {}
    for row in rows:
        if row["load_id"] not in replays:
            newest[row["schema_name"]] = max(newest.get(row["schema_name"], ""), row["load_id"])
    return [
        replace(each, status="superseded", fields={**each.fields, "status": "superseded"})
        if each.status == "waiting"
        and _is_replaced(each)
        and str(each.put_aside["load_id"]) < newest.get(schemas.get(each.stream, ""), "")
        else each
        for each in entries
    ]


def _is_replaced(entry: Entry) -> bool:
    return bool(entry.fields["disposition"] == "replace")


def _entry(history: Sequence[Mapping[str, Any]]) -> Entry:
    last = history[-1]
    return Entry(
        id=last["id"],
        stream=last["stream"],
        status=last["status"],
        at=last["quarantined_at"],
        fields={name: value for name, value in last.items() if name != _LOAD},
        put_aside={name: value for name, value in history[0].items() if name != _LOAD},
        loads=frozenset(row[_LOAD] for row in history if row["attempts"]),
    )
