"""What each column holds, counted in the pass that makes it: no second read.

Numbers are exact, `distinct` below `sketch.SIZE`; above, it is estimated from the sketch, 6% off as
a rule. Parts of one column, from several workers, merge into the same result in any order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from millstream.engine.column_batch import BackgroundWorker, ColumnBatch
from millstream.engine.sketch import SIZE, hash_values, smallest
from millstream.formats import hash_sketch
from millstream.formats.object_names import is_list_index, objects_around, profile_key
from millstream.model import ColumnProfile

if TYPE_CHECKING:
    from millstream.engine.tables import LinkNames

_ROWS = 8192
"""Rows to count at once: what a call costs is mostly the call."""
_RARE = 0.25
"""Share of rows up to which the fields of an object tell little of the object."""


@dataclass(slots=True)
class ColumnStats:
    """One column so far.

    Attributes:
        present: rows whose JSON had the key, null included.
        values: values that are not null.
        least, most: the range of numbers, moments, dates and booleans; None for everything else.
        longest: characters of the longest text.
        hashes: the sketch of all values.
    """

    present: int = 0
    values: int = 0
    least: Any = None
    most: Any = None
    longest: int | None = None
    hashes: tuple[int, ...] = ()

    def add(self, array: pa.ChunkedArray) -> None:
        """Count n values."""
        values = len(array) - array.null_count
        self.values += values
        self.present += values
        if not values:
            return
        kind = array.type
        if pa.types.is_string(kind):
            # a text has at most as many characters as bytes, and bytes need no counting
            if self.longest is None or pc.max(pc.binary_length(array)).as_py() > self.longest:
                longest = pc.max(pc.utf8_length(array)).as_py()
                self.longest = max(self.longest or 0, longest)
        elif not pa.types.is_binary(kind):
            found = pc.min_max(array)
            self._widen(found["min"], found["max"])
        self.hashes = smallest(self.hashes, hash_values(pa.concat_arrays(array.chunks)))

    def merge(self, other: ColumnStats) -> None:
        """Take in what another worker counted."""
        self.present += other.present
        self.values += other.values
        if other.least is not None:
            self._widen_plain(other.least, other.most)
        if other.longest is not None:
            self.longest = max(self.longest or 0, other.longest)
        self.hashes = tuple(sorted({*self.hashes, *other.hashes})[:SIZE])

    @property
    def distinct(self) -> int:
        """How many different values there are, about; never above `values`."""
        return min(hash_sketch.distinct(self.hashes, SIZE)[0], self.values)

    def _widen(self, least: pa.Scalar, most: pa.Scalar) -> None:
        try:
            self._widen_plain(_plain(least.as_py()), _plain(most.as_py()))
        except (OverflowError, ValueError):
            pass  # a moment that Python's calendar does not have

    def _widen_plain(self, least: Any, most: Any) -> None:
        if self.least is None or least < self.least:
            self.least = least
        if self.most is None or most > self.most:
            self.most = most


@dataclass(slots=True)
class _Batches:
    """Batches of one table that wait to be counted together.

    Attributes:
        starts: of each array of a column, the number of its first row.
        nulls: nulls of a column that were there as nulls.
        holders: the ids of the rows that hold the lists that the rows were items of, each once.
    """

    rows: int = 0
    holders: list[pa.Array] = field(default_factory=list)
    columns: dict[str, list[pa.Array]] = field(default_factory=dict)
    starts: dict[str, list[int]] = field(default_factory=dict)
    nulls: dict[str, int] = field(default_factory=dict)

    def add(self, batch: ColumnBatch, skip: frozenset[str], links: LinkNames | None) -> None:
        if links is not None and {links.list_idx, links.parent_id} <= batch.columns.keys():
            is_first = pc.equal(batch.columns[links.list_idx], 0)
            self.holders.append(batch.columns[links.parent_id].filter(is_first))
        for name, array in batch.columns.items():
            if name in skip:
                continue
            self.columns.setdefault(name, []).append(array)
            self.starts.setdefault(name, []).append(self.rows)
            if name in batch.present:
                values = len(array) - array.null_count
                self.nulls[name] = self.nulls.get(name, 0) + batch.present[name] - values
        for name, present in batch.present.items():
            if name not in batch.columns and name not in skip:  # only null so far, of no type yet
                self.nulls[name] = self.nulls.get(name, 0) + present
        self.rows += len(batch)

    def objects(self) -> Iterator[tuple[str, int]]:
        """Each object of several fields, and in how many rows one of them has a value, at least."""
        fields: dict[str, list[str]] = {}
        for name in self.columns:
            for around in objects_around(name):
                fields.setdefault(around, []).append(name)
        values = {
            name: sum(len(array) - array.null_count for array in arrays)
            for name, arrays in self.columns.items()
        }
        for around, names in fields.items():
            rows = max(values[name] for name in names)
            if len(names) > 1 and rows <= _RARE * self.rows:
                rows = np.count_nonzero(self._any_of(names))
            yield around, int(rows)

    def _any_of(self, names: Sequence[str]) -> npt.NDArray[np.bool_]:
        """For each row, whether one of the columns has a value."""
        found = np.zeros(self.rows, np.bool_)
        for name in names:
            for start, array in zip(self.starts[name], self.columns[name]):
                valid = array.is_valid().to_numpy(zero_copy_only=False)
                found[start : start + len(array)] |= valid
        return found


class Profile:
    """The statistics of every column of every table that passed by.

    Rows that tell of a deletion are counted in `deletions` alone: they lack what the rows have.

    A thread of its own counts: most of it needs no interpreter lock.
    """

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, ColumnStats]] = {}
        self.rows: dict[str, int] = {}
        self.deletions: dict[str, int] = {}
        self.objects: dict[str, dict[str, int]] = {}
        self._waiting: dict[str, _Batches] = {}
        self._list_index: dict[str, str] = {}
        self._aside = BackgroundWorker()

    def add(
        self,
        table: str,
        batch: ColumnBatch,
        links: LinkNames | None = None,
        deletion: str | None = None,
    ) -> None:
        """Count one batch of one table, soon, but for the columns that link tables.

        Of `links.list_idx`, `present` counts the lists that the rows come from, and the sketch is
        that of the rows that hold them, so that lists of one object may be counted together.
        `deletion` is the column that marks rows as deletions; it is not counted either.
        """
        skip = links.all() if links is not None else frozenset[str]()
        if deletion is not None:
            skip |= {deletion}
        if deletion in batch.columns:
            rows, batch = len(batch), _without_deletions(batch, str(deletion))
            self.deletions[table] = self.deletions.get(table, 0) + rows - len(batch)
        if links is not None and links.list_idx in batch.columns:
            self._list_index[table] = links.list_idx
        waiting = self._waiting.setdefault(table, _Batches())
        waiting.add(batch, skip, links)
        if waiting.rows >= _ROWS:
            self._aside.start(self._count, table, self._waiting.pop(table))

    def _count(self, table: str, batches: _Batches) -> None:
        known = self.tables.setdefault(table, {})
        self.rows[table] = self.rows.get(table, 0) + batches.rows
        if table in self._list_index:
            stats = known.setdefault(self._list_index[table], ColumnStats())
            stats.values += batches.rows
            for holders in batches.holders:
                stats.present += len(holders)
                stats.hashes = smallest(stats.hashes, hash_values(holders))
        for name, nulls in batches.nulls.items():
            known.setdefault(name, ColumnStats()).present += nulls
        for name, arrays in batches.columns.items():
            stats = known.setdefault(name, ColumnStats())
            for alike in _alike(arrays):
                stats.add(alike)
        for name, rows in batches.objects():
            objects = self.objects.setdefault(table, {})
            objects[name] = objects.get(name, 0) + rows

    def _count_all(self) -> None:
        self._aside.close()
        for table in [*self._waiting]:
            self._count(table, self._waiting.pop(table))

    def to_json(self) -> dict[str, Any]:
        self._count_all()
        return {
            "rows": self.rows,
            "deletions": self.deletions,
            "objects": self.objects,
            "tables": {
                table: {name: _as_json(stats) for name, stats in columns.items()}
                for table, columns in self.tables.items()
            },
        }

    def take(self, document: Mapping[str, Any]) -> None:
        """Merge what `to_json` said, here or in another process."""
        for table, rows in document["rows"].items():
            self.rows[table] = self.rows.get(table, 0) + rows
        for table, rows in document.get("deletions", {}).items():
            self.deletions[table] = self.deletions.get(table, 0) + rows
        for table, objects in document.get("objects", {}).items():
            counted = self.objects.setdefault(table, {})
            for name, rows in objects.items():
                counted[name] = counted.get(name, 0) + rows
        for table, columns in document["tables"].items():
            known = self.tables.setdefault(table, {})
            for name, values in columns.items():
                part = ColumnStats(**{**values, "hashes": tuple(values["hashes"])})
                known.setdefault(name, ColumnStats()).merge(part)

    def columns(self) -> dict[str, dict[str, ColumnProfile]]:
        """The profile of each column, by table.

        An object that more rows have than any of its fields has one, too, under its `profile_key`.
        """
        self._count_all()
        return {
            table: {
                **{name: _profile(name, stats, self.rows[table]) for name, stats in known.items()},
                **dict(self._sparse_objects(table)),
            }
            for table, known in self.tables.items()
        }

    def _sparse_objects(self, table: str) -> Iterator[tuple[str, ColumnProfile]]:
        most: dict[str, int] = {}
        for name, stats in self.tables[table].items():
            for around in objects_around(name):
                most[around] = max(most.get(around, 0), stats.present)
        total = self.rows[table]
        for name, rows in self.objects.get(table, {}).items():
            if rows > most[name]:
                yield profile_key(name), ColumnProfile(total, rows, total - rows)


def _without_deletions(batch: ColumnBatch, marker: str) -> ColumnBatch:
    """The rows of a batch that are none: true in `marker`, or of another type and not null."""
    marks = batch.columns[marker]
    deleted = pc.fill_null(marks, False) if pa.types.is_boolean(marks.type) else marks.is_valid()
    gone = deleted.true_count
    if not gone:
        return batch
    kept, size = pc.invert(deleted), len(batch) - gone
    columns = {name: array.filter(kept) for name, array in batch.columns.items()}
    present = {}
    for name, count in batch.present.items():
        # which of the rows had a key with null is not known: as many as may be
        if (array := batch.columns.get(name)) is not None:
            count += array.null_count - len(array) + size - columns[name].null_count
        present[name] = min(count, size)
    return ColumnBatch(columns, size, present)


def _alike(arrays: Sequence[pa.Array]) -> Iterator[pa.ChunkedArray]:
    """Arrays of one type together, in their order: a column's type may change between batches."""
    for _, alike in groupby(arrays, key=lambda array: array.type):
        yield pa.chunked_array(list(alike))


def _plain(value: Any) -> Any:
    """A value as JSON can carry it and as it still compares: moments as ISO 8601 texts."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else float(value)


def _profile(name: str, stats: ColumnStats, rows: int) -> ColumnProfile:
    return ColumnProfile(
        rows=rows,
        present=stats.present,
        nulls=rows - stats.values,
        minimum=stats.least,
        maximum=stats.most,
        distinct=None if is_list_index(name) else stats.distinct,
        longest=stats.longest,
        sketch=stats.hashes,
    )


def _as_json(stats: ColumnStats) -> dict[str, Any]:
    return {name: getattr(stats, name) for name in ColumnStats.__slots__}
