"""What was quarantined, as the destination has it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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

    @property
    def load_id(self) -> str:
        """The load that read it last."""
        return str(self.fields["load_id"])

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
    destination: Any,
    dataset: str,
    entries: Sequence[Entry],
    schemas: Mapping[str, str],
    partitions: Mapping[str, Mapping[str, str]],
) -> list[Entry]:
    """The entries, those superseded whose rows a later load read again and replaced.

    A replay notes that; until then nothing in the table of entries says so.

    Args:
        schemas: the name of each stream's dlt schema.
        partitions: by stream, the partitions that loads loaded, by load id.
    """
    if not any(
        each.status == "waiting" and (_is_replaced(each) or each.load_id in partitions[each.stream])
        for each in entries
    ):
        return [*entries]
    columns = {"load_id": "text", "schema_name": "text"}
    rows = metadata_tables.read(destination, dataset, _SCHEMA, "_dlt_loads", columns, {})
    replays = {load_id for each in entries for load_id in each.loads}
    complete: dict[str, set[str]] = {}
    for row in rows:
        complete.setdefault(row["schema_name"], set()).add(row["load_id"])
    settled = []
    for each in entries:
        loads = complete.get(schemas.get(each.stream, ""), set())
        newest = max(loads - replays, default="") if _is_replaced(each) else ""
        newest = newest_of_partition(each.load_id, partitions[each.stream], loads) or newest
        is_old = each.status == "waiting" and each.load_id < newest
        fields = {**each.fields, "status": "superseded"}
        settled.append(replace(each, status="superseded", fields=fields) if is_old else each)
    return settled


def newest_of_partition(
    load_id: str, partitions: Mapping[str, str], complete: Collection[str]
) -> str | None:
    """The newest complete load of the partition that a load loaded; None where it loaded none.

    Args:
        partitions: by load id.
    """
    key = partitions.get(load_id)
    same = (load for load, each in partitions.items() if each == key and load in complete)
    return max(same, default=None) if key is not None else None


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
