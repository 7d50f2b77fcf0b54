"""How rows leave the database: two loaders of dlt's `sql_database`, which chooses what is new.

`DriverLoader` takes what a driver returns. `CopyLoader` lets PostgreSQL write CSV, which Arrow
reads in columns: no row becomes a Python object, and each value is as the server writes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from dlt.sources.sql_database import BaseTableLoader
from pyarrow import csv

from millstream.formats.json_path import json_path
from millstream.quarantine import envelope
from millstream.sources import column_values
from millstream.sources.sql_database import errors, identity, queries
from millstream.sources.typed_columns import Column

_BYTES = 32 << 20
"""Of a chunk of CSV, however few rows that is."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What is read of one table.

    Attributes:
        what: for people: `table orders`.
        cursor: the column that the cursor goes by.
        where: rows that belong to a partition; None for all.
        extra: columns that have the same text in each row.
        check: is asked with the connection, before the rows are.
        parses_json: whether what comes behind looks into columns with JSON.
    """

    what: str
    columns: Sequence[Column]
    cursor: Column | None = None
    where: Any = None
    extra: Mapping[str, str] = field(default_factory=dict)
    check: Callable[[sa.Connection], None] | None = None
    parses_json: bool = False


class DriverLoader(BaseTableLoader):
    """Rows as the driver returns them."""

    reading: Reading

    def load_rows(self, backend_kwargs: Any = None) -> Iterator[Any]:
        reading = self.reading
        with errors.explained(reading.what), self.engine.connect() as connection:
            if reading.check is not None:
                reading.check(connection)
            for arrays in self.chunks(connection):
                found = column_values.item(reading.columns, arrays, reading.extra)
                if reading.parses_json:
                    found = column_values.parsed(found)
                if reading.cursor is not None and isinstance(found, list):
                    found = [_with_order(row, reading.cursor) for row in found]
                yield found

    def chunks(self, connection: sa.Connection) -> Iterator[list[column_values.Values]]:
        """The values of each column, a chunk of rows at once."""
        options = {"stream_results": True, "yield_per": self.chunk_size}
        with connection.execute(self.query(), execution_options=options) as result:
            for rows in result.partitions(self.chunk_size):
                yield [
                    column_values.from_values(column, each)
                    for column, each in zip(self.reading.columns, zip(*rows))
                ]

    def query(self) -> sa.Select[Any]:
        reading, dialect = self.reading, self.engine.dialect.name
        query = queries.select(self.table, reading.columns, dialect)
        if reading.where is not None:
            query = query.where(reading.where)
        if reading.cursor is not None and self.last_value is not None:
            at = self.table.c[reading.cursor.source]
            query = query.where(queries.since(reading.cursor, at, self.last_value, dialect))
        if self.limit and (rows := self.limit.limit(self.chunk_size)) is not None:
            query = query.limit(rows)
        return query


def _with_order(row: dict[str, Any], cursor: Column) -> dict[str, Any]:
    """A row; in an envelope where its cursor compares with no other, such as `infinity`."""
    if row[cursor.name] is None or identity.has_order(cursor, row[cursor.name]):
        return row
    detail = f"`{cursor.name}`, the cursor: not of the type {cursor.kind}"
    return envelope.refused(row, detail=detail, path=json_path("", cursor.name))


class CopyLoader(DriverLoader):
    """Rows as PostgreSQL's COPY writes them."""

    def chunks(self, connection: sa.Connection) -> Iterator[list[column_values.Values]]:
        raw: Any = connection.connection.dbapi_connection
        compiled = self.query().compile(dialect=self.engine.dialect)
        with raw.cursor() as cursor:
            cursor.execute(_SETTINGS)
            query = cursor.mogrify(str(compiled), compiled.params).decode(_encoding(raw))
            statement = f"COPY ({query}) TO STDOUT (FORMAT csv, ENCODING 'UTF8')"
            with closing(_Copied(cursor, statement, self.chunk_size)) as copied:
                for text in copied:
                    yield self._parsed(text)

    def _parsed(self, text: bytes) -> list[column_values.Values]:
        columns = self.reading.columns
        names = [str(number) for number in range(len(columns))]
        table = csv.read_csv(
            pa.BufferReader(text),
            read_options=csv.ReadOptions(
                column_names=names, block_size=len(text) + 1, use_threads=False
            ),
            parse_options=csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
            convert_options=csv.ConvertOptions(
                column_types={
                    name: each.arrow_type if each.kind in _PLAIN else pa.string()
                    for name, each in zip(names, columns)
                },
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                true_values=["t"],
                false_values=["f"],
            ),
        )
        return [
            _one(array) if each.kind in _PLAIN else column_values.from_texts(each, _one(array))
            for each, array in zip(columns, table.columns)
        ]


_PLAIN = ("text", "bigint", "bool")
"""Kinds of which every value that PostgreSQL writes is one that Arrow reads."""
_SETTINGS = (
    "SET TRANSACTION READ ONLY; SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD'; "
    "SET LOCAL IntervalStyle = 'postgres'; SET LOCAL extra_float_digits = 1"
)


class _Copied:
    """What COPY writes, a thread ahead, in chunks of whole rows.

    psycopg2 hands over a row at a time, so that nobody has to look for the ends of rows.
    """

    def __init__(self, cursor: Any, statement: str, rows: int) -> None:
        self._rows: list[bytes] = []
        self._limit, self._size = rows, 0
        self._chunks: Queue[bytes | None] = Queue(2)
        self._stopped = Event()
        self._error: BaseException | None = None
        self._cursor = cursor
        self._thread = Thread(
            target=self._run, args=(statement,), name="millstream-copy", daemon=True
        )
        self._thread.start()

    def __iter__(self) -> Iterator[bytes]:
        while (chunk := self._chunks.get()) is not None:
            yield chunk
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Stop what is still being written."""
        self._stopped.set()
        while self._thread.is_alive():
            try:
                self._chunks.get(timeout=0.01)
            except Empty:
                pass
        self._thread.join()

    def write(self, row: bytes) -> int:
        """A row, from psycopg2."""
        self._rows.append(row)
        self._size += len(row)
        if len(self._rows) >= self._limit or self._size >= _BYTES:
            self._flush()
        return len(row)

    def _flush(self) -> None:
        if self._rows:
            self._put(b"".join(self._rows))
            self._rows, self._size = [], 0

    def _put(self, chunk: bytes | None) -> None:
        while not self._stopped.is_set():
            try:
                self._chunks.put(chunk, timeout=1)
            except Full:
                continue
            return
        raise InterruptedError("nobody reads on")

    def _run(self, statement: str) -> None:
        try:
            self._cursor.copy_expert(statement, self)
            self._flush()
        except BaseException as error:  # raised where the chunks are read
            self._error = error
        finally:
            if not self._stopped.is_set():
                try:
                    self._put(None)
                except InterruptedError:
                    pass


def _one(array: pa.ChunkedArray) -> pa.Array:
    return array.combine_chunks() if array.num_chunks != 1 else array.chunk(0)


def _encoding(connection: Any) -> str:
    from psycopg2.extensions import encodings

    return str(encodings[connection.encoding])


def column_names(item: Any) -> list[str]:
    """All columns of a table, or of a row: by these dlt knows rows that it has read before."""
    return list(item.schema.names if isinstance(item, pa.Table) else item)


def loader(reading: Reading, dialect: str) -> type[DriverLoader]:
    """dlt's loader for one table."""
    base = CopyLoader if dialect == "postgresql" else DriverLoader
    return type("Loader", (base,), {"reading": reading})
