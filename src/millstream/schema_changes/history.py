"""The history of the schema: tables beside the data, in every destination dlt has.

    _millstream_schema_versions   each schema that a run loaded and that was new then
    _millstream_schema_changes    each change, what the policy said of it, and the run that made it
    _millstream_profiles          what each load saw in each column, where the engine counted
    _millstream_loads             each load: rows, bytes and seconds

Rows are appended before their load is sent (see `open_loads`), and only those of a load that died
are taken out: runs that write at the same time take nothing from one another.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from hashlib import sha256
from struct import pack, unpack
from typing import TYPE_CHECKING, Any, Literal

from millstream.common import metadata_tables
from millstream.common.sql_client import sql_client
from millstream.model import ColumnProfile, RunReport, SchemaVersion
from millstream.schema_changes import accepted_file
from millstream.schema_changes.diff import DATA_ALONE
from millstream.schema_changes.evaluate import fingerprint
from millstream.schema_changes.profile import LoadProfile, profile_of, settled
from millstream.schema_changes.sketch import SIZE
from millstream.schema_changes.snapshot import Profile

if TYPE_CHECKING:
    import dlt

SCHEMA_NAME = "millstream_ledger"
NEWEST_LOADS = 5_000
NEWEST_PROFILES = 20_000
"""Rows read to find the last loads: a row is a column, and a history may hold years."""

HistoryTable = Literal[
    "_millstream_schema_versions",
    "_millstream_schema_changes",
    "_millstream_profiles",
    "_millstream_loads",
]
CHANGES: HistoryTable = "_millstream_schema_changes"
PARTITION = "partition_key"
"""A column that tables of earlier versions lack until the next load: asked for by itself."""
_RUN = {
    "pipeline": "text",
    "stream": "text",
    "load_id": "text",
    "recorded_at": "timestamp",
}
# in the destination a word such as `table` or `new` would have to be quoted by every reader
_COLUMNS: dict[HistoryTable, dict[str, str]] = {
    "_millstream_schema_versions": {
        **_RUN,
        "version": "text",
        "table_count": "bigint",
        "column_count": "bigint",
        "definition": "text",
    },
    "_millstream_schema_changes": {
        **_RUN,
        "change_id": "text",
        "position": "bigint",
        "kind": "text",
        "table_name": "text",
        "column_name": "text",
        "was": "text",
        "is_now": "text",
        "severity": "text",
        "action": "text",
        "reason": "text",
        "message": "text",
        "row_count": "bigint",
    },
    "_millstream_profiles": {
        **_RUN,
        "table_name": "text",
        "column_name": "text",
        "row_count": "bigint",
        "present": "bigint",
        "nulls": "bigint",
        "minimum": "text",
        "maximum": "text",
        "distinct_count": "bigint",
        "longest": "bigint",
        "sketch": "text",
        "is_settled": "bool",
    },
    "_millstream_loads": {
        **_RUN,
        "started_at": "timestamp",
        "seconds": "double",
        "steps": "text",
        "row_count": "bigint",
        "byte_count": "bigint",
        "table_rows": "text",
        PARTITION: "text",
    },
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a history lies: a dlt destination, with its credentials, and a dataset."""

    destination: Any
    dataset: str


@dataclass(frozen=True, slots=True)
class Load:
    """One load of one stream.

    Attributes:
        seconds: of the whole run, but for the writing of this; `steps`: of each of its steps.
        rows: of the stream's own table; `tables`: of every table.
    """

    stream: str
    load_id: str
    started_at: datetime
    seconds: float
    steps: Mapping[str, float]
    rows: int
    bytes: int
    tables: Mapping[str, int]


def place_of(pipeline: dlt.Pipeline) -> Place | None:
    """The place that a pipeline loads into; None where it holds no tables to query.

    A function, a queue, a vector store: a history's rows are not for it.
    """
    if sql_client(pipeline) is None:
        return None
    assert pipeline.destination is not None
    return Place(pipeline.destination, pipeline.dataset_name)


def record(pipeline: dlt.Pipeline, report: RunReport) -> bool:
    """Append what a run changed to the history in the place that its pipeline loads into.

    The rows are in one load package: a history has all of a run or none of it, except in
    destinations without transactions.

    Returns:
        False where there was nothing to say, or the destination holds no tables to query.

    Raises:
        Exception: dlt's, when the destination still refuses after some attempts.
    """
    place = place_of(pipeline)
    return place is not None and append(place, report)


def append(place: Place, report: RunReport, *, is_open: bool = False) -> bool:
    """As `record`, to a place that is known to hold tables.

    Args:
        is_open: the load is not sent yet; its row has no `seconds` (see `open_loads`).
    """
    rows = rows_of(report)
    if is_open and any(rows.values()):
        rows["_millstream_loads"] = [
            {**row, "seconds": None} for row in _load_rows(report, _run_of(report), even_empty=True)
        ]
    if not any(rows.values()):
        return False
    _append(place, rows)
    return True


def rows_of(report: RunReport) -> dict[HistoryTable, list[dict[str, Any]]]:
    """The rows that a report adds to each table of the history."""
    run = _run_of(report)
    return {
        "_millstream_schema_versions": _version_rows(report, run),
        "_millstream_schema_changes": _change_rows(report, run),
        "_millstream_profiles": _profile_rows(report, run),
        "_millstream_loads": _load_rows(report, run),
    }


def versions(
    place: Place,
    pipeline: str,
    stream: str | None = None,
    *,
    unsettled: Collection[str] | None = None,
) -> list[dict[str, Any]]:
    """The versions of a pipeline's schema, oldest first; none where there is no history yet.

    `definition` reads with `version_from`.

    Args:
        unsettled: what `unsettled_loads` says, for who asks for more than this.
    """
    rows = _read(place, "_millstream_schema_versions", pipeline, stream)
    return _settled(place, pipeline, rows, unsettled)


def changes(
    place: Place,
    pipeline: str,
    stream: str | None = None,
    *,
    unsettled: Collection[str] | None = None,
) -> list[dict[str, Any]]:
    """The changes of a pipeline's schema, oldest first; none where there is no history yet."""
    return _settled(place, pipeline, _read(place, CHANGES, pipeline, stream), unsettled)


def loads(place: Place, pipeline: str) -> list[Load]:
    """The newest loads of a pipeline, oldest first, at most `NEWEST_LOADS` of all its streams."""
    return [
        Load(
            stream=row["stream"],
            load_id=row["load_id"],
            started_at=row["started_at"],
            seconds=row["seconds"],
            steps=json.loads(row["steps"]),
            rows=row["row_count"],
            bytes=row["byte_count"],
            tables=json.loads(row["table_rows"]),
        )
        for row in _read(place, "_millstream_loads", pipeline, None, newest=NEWEST_LOADS)
        if row["seconds"] is not None  # else it is under way, or died
    ]


def profiles(
    place: Place,
    pipeline: str,
    stream: str,
    *,
    loads: int = 10,
    unsettled: Collection[str] | None = None,
) -> Sequence[tuple[str, Profile]]:
    """What the last loads of a stream saw, oldest first: load id and profile.

    Fewer loads where they had so many columns that `NEWEST_PROFILES` rows do not hold them all.
    """
    found = seen(place, pipeline, stream, loads=loads, unsettled=unsettled)
    return [(load_id, each.profile) for load_id, each in found]


def seen(
    place: Place,
    pipeline: str,
    stream: str,
    *,
    loads: int = 10,
    unsettled: Collection[str] | None = None,
    among: Collection[str] | None = None,
) -> Sequence[tuple[str, LoadProfile]]:
    """As `profiles`, with what was settled with each load.

    Args:
        among: only these loads.
    """
    found: dict[str, dict[str, dict[str, ColumnProfile]]] = {}
    settled: dict[str, set[tuple[str, str]]] = {}
    rows = _read(place, "_millstream_profiles", pipeline, stream, newest=NEWEST_PROFILES)
    if len(rows) == NEWEST_PROFILES:
        cut_off = rows[0]["load_id"]
        rows = [row for row in rows if row["load_id"] != cut_off] or rows
    rows = _settled(place, pipeline, rows, unsettled)
    for row in rows:
        if among is not None and row["load_id"] not in among:
            continue
        tables = found.setdefault(row["load_id"], {})
        tables.setdefault(row["table_name"], {})[row["column_name"]] = ColumnProfile(
            rows=row["row_count"],
            present=row["present"],
            nulls=row["nulls"],
            minimum=row["minimum"],
            maximum=row["maximum"],
            distinct=row["distinct_count"],
            longest=row["longest"],
            sketch=_unpacked(row["sketch"]),
        )
        if row["is_settled"]:
            settled.setdefault(row["load_id"], set()).add((row["table_name"], row["column_name"]))
    return [
        (load_id, LoadProfile(tables, frozenset(settled.get(load_id, ()))))
        for load_id, tables in list(found.items())[-loads:]
    ]


def partitions(place: Place, pipeline: str, stream: str) -> dict[str, str]:
    """The partition that each of the newest loads of a stream loaded, by load id."""
    from dlt.destinations.exceptions import DatabaseException

    try:
        rows = metadata_tables.read(
            place.destination,
            place.dataset,
            SCHEMA_NAME,
            "_millstream_loads",
            _COLUMNS["_millstream_loads"],
            {"pipeline": pipeline, "stream": stream},
            only=["pipeline", "stream", "load_id", PARTITION, "recorded_at"],
            newest_by="recorded_at",
            limit=NEWEST_LOADS,
        )
    except DatabaseException:  # of a version that noted none
        return {}
    return {row["load_id"]: row[PARTITION] for row in rows if row[PARTITION] is not None}


def recent(
    pipeline: dlt.Pipeline,
    name: str,
    stream: str,
    *,
    loads: int = 10,
    is_settled: bool = False,
    partition: str | None = None,
) -> Sequence[LoadProfile]:
    """What the last loads of a stream saw, oldest first; empty where no history tells.

    Args:
        pipeline: any dlt pipeline that loads into the place of the history.
        name: Millstream's name of the pipeline.
        is_settled: no load of the stream is under way, and those that died were taken out.
        partition: only loads of this partition.
    """
    place = place_of(pipeline)
    if place is None:
        return ()
    unsettled, among = () if is_settled else None, None
    if partition is not None:
        known = partitions(place, name, stream)
        among = {load_id for load_id, key in known.items() if key == partition}
    found = seen(place, name, stream, loads=loads, unsettled=unsettled, among=among)
    return [each for _, each in found]


def version_from(row: Mapping[str, Any]) -> SchemaVersion:
    """The schema that a row of `versions` describes."""
    return accepted_file.parse(row["definition"]).get(row["stream"], SchemaVersion())


def _run_of(report: RunReport) -> dict[str, Any]:
    return {
        "pipeline": report.pipeline,
        "stream": report.stream,
        "load_id": report.load_id,
        "recorded_at": datetime.now(timezone.utc),
    }


def _version_rows(report: RunReport, run: Mapping[str, Any]) -> list[dict[str, Any]]:
    if all(change.kind in DATA_ALONE for change in report.changes):
        return []
    definition = accepted_file.render({report.stream: report.schema}, header=False)
    return [
        {
            **run,
            "version": sha256(definition.encode()).hexdigest()[:16],
            "table_count": len(report.schema.tables),
            "column_count": sum(len(table.columns) for table in report.schema.tables),
            "definition": definition,
        }
    ]


def _change_rows(report: RunReport, run: Mapping[str, Any]) -> list[dict[str, Any]]:
    decided = {fingerprint(decision.change): decision for decision in report.decisions}
    # a change of the file's making (accepted ahead) has no decision; one that the destination
    # does not show (a jump of the null share) is no change of the schema: tell both
    told = {fingerprint(change): change for change in report.changes}
    told.update({name: decision.change for name, decision in decided.items()})
    rows = {table.name: table.rows for table in report.tables}
    return [
        {
            **run,
            "change_id": name,
            "position": position,
            "kind": change.kind,
            "table_name": change.table,
            "column_name": change.column,
            "was": change.old,
            "is_now": change.new,
            "severity": change.severity,
            "action": decided[name].action if name in decided else "allow",
            "reason": decided[name].reason if name in decided else "accepted",
            "message": change.message,
            "row_count": rows.get(change.table, 0),
        }
        for position, (name, change) in enumerate(told.items())
    ]


def _profile_rows(report: RunReport, run: Mapping[str, Any]) -> list[dict[str, Any]]:
    decided = settled(report.decisions, profile_of(report.schema))
    return [
        {
            **run,
            "table_name": table.name,
            "column_name": column.name,
            "row_count": seen.rows,
            "present": seen.present,
            "nulls": seen.nulls,
            "minimum": _words(seen.minimum),
            "maximum": _words(seen.maximum),
            "distinct_count": seen.distinct,
            "longest": seen.longest,
            "sketch": _packed(seen.sketch[:SIZE]),
            "is_settled": (table.name, column.name) in decided,
        }
        for table in report.schema.tables
        for column in table.columns
        if (seen := column.profile) is not None
        and (seen.rows or (table.name, column.name) in decided)
    ]


def _load_rows(
    report: RunReport, run: Mapping[str, Any], *, even_empty: bool = False
) -> list[dict[str, Any]]:
    tables = {table.name: table.rows for table in report.tables}
    if report.load_id is None or not (even_empty or any(tables.values())):
        return []  # there was nothing to load
    return [
        {
            **run,
            "started_at": report.started_at,
            "seconds": report.total_seconds,
            "steps": json.dumps({step: round(s, 3) for step, s in report.seconds.items()}),
            "row_count": report.rows,
            "byte_count": sum(table.bytes for table in report.tables),
            "table_rows": json.dumps(tables),
            PARTITION: report.partition,
        }
    ]


def _append(place: Place, rows: Mapping[HistoryTable, Sequence[Mapping[str, Any]]]) -> None:
    tables = {str(name): table for name, table in rows.items()}
    columns = {str(name): each for name, each in _COLUMNS.items()}
    metadata_tables.append(place.destination, place.dataset, SCHEMA_NAME, tables, columns)


def _read(
    place: Place,
    table: HistoryTable,
    pipeline: str,
    stream: str | None,
    *,
    newest: int | None = None,
) -> list[dict[str, Any]]:
    where = {"pipeline": pipeline} | ({} if stream is None else {"stream": stream})
    rows = metadata_tables.read(
        place.destination,
        place.dataset,
        SCHEMA_NAME,
        table,
        _COLUMNS[table],
        where,
        only=[name for name in _COLUMNS[table] if name != PARTITION],
        newest_by="recorded_at",
        limit=newest,
    )
    return sorted(rows, key=lambda row: (row["recorded_at"], row.get("position") or 0))


def unsettled_loads(place: Place, pipeline: str) -> set[str]:
    """The loads that are noted, and under way or dead (see `open_loads`)."""
    noted = metadata_tables.read(
        place.destination,
        place.dataset,
        SCHEMA_NAME,
        "_millstream_loads",
        _COLUMNS["_millstream_loads"],
        {"pipeline": pipeline},
        only=["pipeline", "load_id", "seconds", "recorded_at"],
        newest_by="recorded_at",
        limit=NEWEST_LOADS,
    )
    found = {row["load_id"] for row in noted if row["seconds"] is None}
    return found - _loaded(place) if found else found


def _settled(
    place: Place,
    pipeline: str,
    rows: Sequence[dict[str, Any]],
    unsettled: Collection[str] | None,
) -> list[dict[str, Any]]:
    """The rows of loads that are complete."""
    if unsettled is None:
        unsettled = unsettled_loads(place, pipeline) if rows else ()
    return [row for row in rows if row["load_id"] not in unsettled]


def _loaded(place: Place) -> set[str]:
    """The newest loads that dlt has completed: its own rows of them say so."""
    columns = {"load_id": "text", "inserted_at": "timestamp"}
    rows = metadata_tables.read(
        place.destination,
        place.dataset,
        SCHEMA_NAME,
        "_dlt_loads",
        columns,
        {},
        newest_by="inserted_at",
        limit=NEWEST_LOADS,
    )
    return {row["load_id"] for row in rows}


def _words(value: object) -> str | None:
    return None if value is None else str(value)


def _packed(sketch: tuple[int, ...]) -> str | None:
    return base64.b64encode(pack(f">{len(sketch)}Q", *sketch)).decode() if sketch else None


def _unpacked(text: str | None) -> tuple[int, ...]:
    data = base64.b64decode(text or "")
    return unpack(f">{len(data) // 8}Q", data)
