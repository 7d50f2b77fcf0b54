"""What each column holds, counted in the pass that makes it: no second read.

Numbers are exact but for `distinct`, which is estimated from the smallest hashes of a sample of the
values (K. Beyer et al., On Synopses for Distinct-Value Estimation, SIGMOD 2007), 3% off as a rule.
Parts of one column, from several workers, merge into the same result in any order.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from millstream.engine.writer import Aside, ColumnSet
from millstream.model import ColumnProfile

_HASHES = 256
_SPACE = 1 << 32
_SAMPLE = 128
_ENOUGH = 16
"""Samples of one column, each of about `_SAMPLE` values, until only one in eight is taken."""
_ROWS = 8192
"""Rows to count at once: what a call costs is mostly the call."""
_SHOWN = 80


@dataclass(slots=True)
class ColumnStats:
    """One column so far.

    Attributes:
        present: rows whose JSON had the key, null included.
        values: values that are not null.
        least, most: the range of numbers, moments, dates and booleans; None for everything else.
        longest: characters of the longest text.
        sampled: values that `hashes`, the smallest ones, come from.
    """

    present: int = 0
    values: int = 0
    least: Any = None
    most: Any = None
    longest: int | None = None
    sampled: int = 0
    hashes: tuple[int, ...] = ()

    def add(self, array: pa.ChunkedArray, *, sample: bool) -> None:
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
        if sample or not self.sampled:
            self._sample(array)

    def merge(self, other: ColumnStats) -> None:
        """Take in what another worker counted."""
        self.present += other.present
        self.values += other.values
        if other.least is not None:
            self._widen_plain(other.least, other.most)
        if other.longest is not None:
            self.longest = max(self.longest or 0, other.longest)
        self.sampled += other.sampled
        self.hashes = tuple(sorted({*self.hashes, *other.hashes})[:_HASHES])

    @property
    def distinct(self) -> int:
        """About how many different values there are; never above `values`."""
        if len(self.hashes) < _HASHES:
            seen = len(self.hashes)
            # a sample without repeats says that values hardly repeat at all
            return self.values if seen and seen == self.sampled else seen
        estimate = (_HASHES - 1) * _SPACE // max(self.hashes[-1], 1)
        if estimate > 0.9 * self.sampled:
            return self.values
        return min(estimate, self.values)

    def _sample(self, array: pa.ChunkedArray) -> None:
        if pa.types.is_timestamp(array.type):
            array = array.cast(pa.int64())  # Python's moments take ten times as long
        chunk = max(array.chunks, key=lambda each: len(each) - each.null_count)
        if chunk.null_count:
            chunk = chunk.drop_null()
        sample = chunk[:: max(len(chunk) // _SAMPLE, 1)].to_pylist()
        texts = [str(v).encode() for v in sample]
        self.sampled += len(texts)
        self.hashes = tuple(sorted({*self.hashes, *map(zlib.crc32, texts)})[:_HASHES])

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
        nulls: nulls of a column that were there as nulls.
    """

    rows: int = 0
    columns: dict[str, list[pa.Array]] = field(default_factory=dict)
    nulls: dict[str, int] = field(default_factory=dict)

    def add(self, batch: ColumnSet, skip: frozenset[str]) -> None:
        self.rows += len(batch)
        for name, array in batch.columns.items():
            if name in skip:
                continue
            self.columns.setdefault(name, []).append(array)
            if name in batch.present:
                values = len(array) - array.null_count
                self.nulls[name] = self.nulls.get(name, 0) + batch.present[name] - values


class Profile:
    """The statistics of every column of every table that passed by.

    A thread of its own counts: most of it needs no interpreter lock.
    """

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, ColumnStats]] = {}
        self.rows: dict[str, int] = {}
        self._waiting: dict[str, _Batches] = {}
        self._counted: Counter[str] = Counter()
        self._aside = Aside()

    def add(self, table: str, batch: ColumnSet, skip: frozenset[str]) -> None:
        """Count one batch of one table, soon; `skip` names the columns that link tables."""
        waiting = self._waiting.setdefault(table, _Batches())
        waiting.add(batch, skip)
        if waiting.rows >= _ROWS:
            self._aside.start(self._count, table, self._waiting.pop(table))

    def _count(self, table: str, batches: _Batches) -> None:
        number = self._counted[table] = self._counted[table] + 1
        known = self.tables.setdefault(table, {})
        self.rows[table] = self.rows.get(table, 0) + batches.rows
        sample = number <= _ENOUGH or number % 8 == 0  # it need not grow with the data
        for name, arrays in batches.columns.items():
            stats = known.setdefault(name, ColumnStats())
            stats.present += batches.nulls.get(name, 0)
            for alike in _alike(arrays):
                stats.add(alike, sample=sample)

    def _count_all(self) -> None:
        self._aside.close()
        for table in [*self._waiting]:
            self._count(table, self._waiting.pop(table))

    def to_json(self) -> dict[str, Any]:
        self._count_all()
        return {
            "rows": self.rows,
            "tables": {
                table: {name: _as_json(stats) for name, stats in columns.items()}
                for table, columns in self.tables.items()
            },
        }

    def take(self, document: Mapping[str, Any]) -> None:
        """Merge what `to_json` said, here or in another process."""
        for table, rows in document["rows"].items():
            self.rows[table] = self.rows.get(table, 0) + rows
        for table, columns in document["tables"].items():
            known = self.tables.setdefault(table, {})
            for name, values in columns.items():
                part = ColumnStats(**{**values, "hashes": tuple(values["hashes"])})
                known.setdefault(name, ColumnStats()).merge(part)

    def columns(self) -> dict[str, dict[str, ColumnProfile]]:
        """The profile of each column, by table."""
        self._count_all()
        return {
            table: {name: _profile(stats, self.rows[table]) for name, stats in known.items()}
            for table, known in self.tables.items()
        }


def _alike(arrays: Sequence[pa.Array]) -> Iterator[pa.ChunkedArray]:
    """Arrays of one type together, in their order: a column's type may change between batches."""
    for _, alike in groupby(arrays, key=lambda array: array.type):
        yield pa.chunked_array(list(alike))


def _plain(value: Any) -> Any:
    """A value as JSON can carry it and as it still compares: moments as ISO 8601 texts."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else float(value)


def _profile(stats: ColumnStats, rows: int) -> ColumnProfile:
    return ColumnProfile(
        rows=rows,
        present=stats.present,
        nulls=rows - stats.values,
        minimum=stats.least,
        maximum=stats.most,
        distinct=stats.distinct,
        longest=stats.longest,
        sketch=stats.hashes,
    )


def _as_json(stats: ColumnStats) -> dict[str, Any]:
    return {name: getattr(stats, name) for name in ColumnStats.__slots__}
