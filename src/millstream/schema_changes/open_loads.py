"""Loads that the history names already and that may not be complete: noted before they are sent.

The history of a load is written before the load, its row in `_millstream_loads` without `seconds`.
dlt's row in `_dlt_loads`, with which a load becomes one, decides for both: the row gets its
`seconds` afterwards, and what a process that died had noted is either kept or taken out by the next
run of the stream, on whichever machine. So a change is in the history exactly once, just as its
rows are in their tables.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from millstream.common.sql_client import kind_of, sql_client

if TYPE_CHECKING:
    import dlt

LOADS = "_millstream_loads"
_NOTED = ("_millstream_schema_versions", "_millstream_schema_changes", "_millstream_profiles")


@dataclass(frozen=True, slots=True)
class OpenLoad:
    """A load that was noted; `is_complete` where dlt completed it.

    Attributes:
        steps: the seconds of each step before the load.
    """

    load_id: str
    steps: Mapping[str, float]
    is_complete: bool


def can_note(pipeline: dlt.Pipeline) -> bool:
    """Whether a destination can take back what it was given: files can't be changed by rows."""
    return kind_of(pipeline.destination) != "filesystem" and sql_client(pipeline) is not None


def find(pipeline: dlt.Pipeline, name: str, stream: str) -> Sequence[OpenLoad]:
    """The loads of a stream that are noted, and that nobody has said the end of."""
    from dlt.common.destination.exceptions import DestinationUndefinedEntity

    with _client(pipeline) as (client, table, column):
        try:
            rows = client.execute_sql(
                f"SELECT n.{column('load_id')}, n.{column('steps')}, "  # noqa: S608 (escaped)
                f"(SELECT COUNT(*) FROM {table('_dlt_loads')} AS d "
                f"WHERE d.{column('load_id')} = n.{column('load_id')}) "
                f"FROM {table(LOADS)} AS n WHERE n.{column('pipeline')} = %s "
                f"AND n.{column('stream')} = %s AND n.{column('seconds')} IS NULL",
                name,
                stream,
            )
        except DestinationUndefinedEntity:  # no history yet, or no load at all
            return ()
    return [OpenLoad(row[0], json.loads(row[1]), bool(row[2])) for row in rows or ()]


def cut_off(pipeline: dlt.Pipeline, name: str, stream: str) -> Sequence[str]:
    """The loads of a stream that are noted in part: what lists them, `_millstream_loads`, does not.

    The tables of a history may be written side by side (see `history.record`). A process that died
    between two of them had sent nothing of its load.
    """
    from dlt.common.destination.exceptions import DestinationUndefinedEntity

    found: set[str] = set()
    with _client(pipeline) as (client, table, column):
        load_id = column("load_id")
        for each in _NOTED:
            try:
                rows = client.execute_sql(
                    f"SELECT DISTINCT {load_id} FROM {table(each)} "  # noqa: S608 (escaped)
                    f"WHERE {column('pipeline')} = %s AND {column('stream')} = %s "
                    f"AND {load_id} NOT IN (SELECT {load_id} FROM {table(LOADS)}) "
                    f"AND {load_id} NOT IN (SELECT {load_id} FROM {table('_dlt_loads')})",
                    name,
                    stream,
                )
            except DestinationUndefinedEntity:  # no history yet, or no load at all
                continue
            found |= {row[0] for row in rows or ()}
    return sorted(found)


def complete(pipeline: dlt.Pipeline, load_id: str, steps: Mapping[str, float]) -> None:
    """Note that a load is complete, and how long the steps of its run took."""
    with _client(pipeline) as (client, table, column):
        client.execute_sql(
            f"UPDATE {table(LOADS)} SET {column('seconds')} = %s, {column('steps')} = %s "  # noqa: S608
            f"WHERE {column('load_id')} = %s AND {column('seconds')} IS NULL",
            sum(steps.values()),
            json.dumps({step: round(seconds, 3) for step, seconds in steps.items()}),
            load_id,
        )


def retract(pipeline: dlt.Pipeline, load_id: str, *, is_over: bool) -> None:
    """Take out what was noted of a load that did not complete.

    Args:
        is_over: else rows of it may be in the tables still: that is remembered.
    """
    from dlt.common.destination.exceptions import DestinationUndefinedEntity

    with _client(pipeline) as (client, table, column):
        for each in (*_NOTED, *([LOADS] if is_over else ())):
            try:
                client.execute_sql(
                    f"DELETE FROM {table(each)} WHERE {column('load_id')} = %s",  # noqa: S608
                    load_id,
                )
            except DestinationUndefinedEntity:  # no load had anything for it yet
                continue


@contextmanager
def _client(pipeline: dlt.Pipeline) -> Iterator[tuple[Any, Any, Any]]:
    opened = sql_client(pipeline)
    assert opened is not None, "a destination that can't be queried has no history"
    with opened as client:
        yield client, client.make_qualified_table_name, client.escape_column_name
