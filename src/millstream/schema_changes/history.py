"""The history of the schema: tables beside the data, in every destination dlt has.

    _millstream_schema_versions   each schema that a run loaded and that was new then
    _millstream_schema_changes    each change, what the policy said of it, and the run that made it
    _millstream_profiles          what each load saw in each column, where the engine counted
    _millstream_loads             each load: rows, bytes and seconds

Rows are appended before their load is sent (see `open_loads`), and only those of a load that died
are taken out: runs that write at the same time take nothing from one another.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from millstream.common import metadata_tables
from millstream.common.sql_client import sql_client
from millstream.model import ColumnProfile, Partition, RunReport, SchemaVersion
from millstream.schema_changes import accepted_file
from millstream.schema_changes.history_rows import (
    CHANGES as CHANGES,
)
from millstream.schema_changes.history_rows import (
    COLUMNS,
    PARTITION,
    HistoryTable,
    open_rows,
    profile_from,
)
from millstream.schema_changes.history_rows import (
    rows_of as rows_of,
)
from millstream.schema_changes.profile import LoadProfile
from millstream.schema_changes.snapshot import Profile

if TYPE_CHECKING:
    import dlt

SCHEMA_NAME = "millstream_ledger"
NEWEST_LOADS = 5_000
NEWEST_PROFILES = 20_000
"""Rows read to find the last loads: a row is a column, and a history may hold years."""


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

    Where one load package brings the rows, its tables are written side by side: a process that dies
    between two leaves some of them (see `open_loads.cut_off`).

    Returns:
        False where there was nothing to say, or the destination holds no tables to query.

    Raises:
        Exception: dlt's, when the destination still refuses after some attempts.
    """
    place = place_of(pipeline)
    return place is not None and append(place, report)


def append(
    place: Place,
    report: RunReport,
    *,
    is_open: bool = False,
    beside: Mapping[str, metadata_tables.Columns] | None = None,
) -> bool:
    """As `record`, to a place that is known to hold tables.

    Args:
        is_open: the load is not sent yet; its row has no `seconds` (see `open_loads`).
        beside: tables that are made where they are missing, with their columns.
    """
    rows = rows_of(report)
    if is_open and any(rows.values()):
        rows["_millstream_loads"] = open_rows(report)
    if not any(rows.values()):
        return False
    _append(place, rows, beside or {})
    return True


def make(place: Place) -> None:
    """Make the tables of the history, or what is missing of their columns: those are null."""
    columns = {str(name): each for name, each in COLUMNS.items()}
    metadata_tables.make(place.destination, place.dataset, SCHEMA_NAME, columns)


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


def has_loads(place: Place, pipeline: str, stream: str) -> bool:
    """Whether a stream has complete loads, but for those of partitions."""
    of_partitions = partitions(place, pipeline, stream)
    rows = _read(place, "_millstream_loads", pipeline, stream, newest=NEWEST_LOADS)
    return any(row["seconds"] is not None and row["load_id"] not in of_partitions for row in rows)


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
    among: Sequence[str] | None = None,
) -> Sequence[tuple[str, LoadProfile]]:
    """As `profiles`, with what was settled with each load.

    Args:
        among: only these loads, in their order.
    """
    found: dict[str, dict[str, dict[str, ColumnProfile]]] = {}
    settled: dict[str, set[tuple[str, str]]] = {}
    rows = _read(place, "_millstream_profiles", pipeline, stream, newest=NEWEST_PROFILES)
    if len(rows) == NEWEST_PROFILES:
        cut_off = rows[0]["load_id"]
        rows = [row for row in rows if row["load_id"] != cut_off] or rows
    rows = _settled(place, pipeline, rows, unsettled)
    for row in rows:
        if None in (row["row_count"], row["present"], row["nulls"]):
            continue  # written before someone dropped that column
        tables = found.setdefault(row["load_id"], {})
        tables.setdefault(row["table_name"], {})[row["column_name"]] = profile_from(row)
        if row["is_settled"]:
            settled.setdefault(row["load_id"], set()).add((row["table_name"], row["column_name"]))
    return [
        (load_id, LoadProfile(tables, frozenset(settled.get(load_id, ()))))
        for load_id, tables in [
            (each, found[each]) for each in (found if among is None else among) if each in found
        ][-loads:]
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
            COLUMNS["_millstream_loads"],
            {"pipeline": pipeline, "stream": stream},
            only=["pipeline", "stream", "load_id", PARTITION, "recorded_at"],
            newest_by="recorded_at",
            limit=NEWEST_LOADS,
        )
    except DatabaseException:  # of a version that noted none
        return {}
    return {row["load_id"]: row[PARTITION] for row in rows if row[PARTITION] is not None}


def beside(loaded: Mapping[str, str], partition: str, *, in_time: bool) -> list[str]:
    """The loads that one of a partition is compared with, by load id.

    Of a static partition its own. Of a window of time the last load of each window up to this one,
    in the order of time: what a later window has is not missed in an older one.

    Args:
        loaded: the partition of each load, the newest load first.
    """
    if not in_time:
        return sorted(load_id for load_id, key in loaded.items() if key == partition)
    last: dict[str, str] = {}
    for load_id, key in loaded.items():
        if key <= partition:
            last.setdefault(key, load_id)
    return [last[key] for key in sorted(last)]


def recent(
    pipeline: dlt.Pipeline,
    name: str,
    stream: str,
    *,
    loads: int = 10,
    is_settled: bool = False,
    partition: Partition | None = None,
) -> Sequence[LoadProfile]:
    """What the last loads of a stream saw, oldest first; empty where no history tells.

    Args:
        pipeline: any dlt pipeline that loads into the place of the history.
        name: Millstream's name of the pipeline.
        is_settled: no load of the stream is under way, and those that died were taken out.
        partition: what is loaded: only loads that it is compared with.
    """
    place = place_of(pipeline)
    if place is None:
        return ()
    unsettled, among = () if is_settled else None, None
    if partition is not None:
        known = partitions(place, name, stream)
        among = beside(known, partition.key, in_time=partition.window is not None)
    found = seen(place, name, stream, loads=loads, unsettled=unsettled, among=among)
    return [each for _, each in found]


def version_from(row: Mapping[str, Any]) -> SchemaVersion:
    """The schema that a row of `versions` describes."""
    return accepted_file.parse(row["definition"]).get(row["stream"], SchemaVersion())


def _append(
    place: Place,
    rows: Mapping[HistoryTable, Sequence[Mapping[str, Any]]],
    beside: Mapping[str, metadata_tables.Columns],
) -> None:
    tables = {**{str(name): table for name, table in rows.items()}, **dict.fromkeys(beside, ())}
    columns = {**{str(name): each for name, each in COLUMNS.items()}, **beside}
    metadata_tables.append(
        place.destination, place.dataset, SCHEMA_NAME, tables, columns, made=[*beside]
    )


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
        COLUMNS[table],
        where,
        only=[name for name in COLUMNS[table] if name != PARTITION],
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
        COLUMNS["_millstream_loads"],
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
