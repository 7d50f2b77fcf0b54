"""Rows to columns: a list of dicts becomes one sequence per key, without a loop over cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from operator import itemgetter
from typing import Any

Split = tuple[str, Sequence[Any], list[int] | None]


def split(rows: Sequence[dict[str, Any]]) -> Iterator[Split]:
    """Yield `(key, values, positions)` for each key of any row, in order of first appearance.

    n rows -> m <= n values; `positions` says which rows they belong to, None for all of them. A row
    without the key is left out; an explicit null stays, as None.

    >>> list(split([{"a": 1}, {"a": None, "b": 2}]))
    [('a', [1, None], None), ('b', [2], [1])]
    """
    first = rows[0]
    if set(map(len, rows)) == {len(first)}:
        if not first:
            return iter(())
        # as many keys as the first row, and all of its keys: the same keys
        try:
            if len(first) == 1:
                (key,) = first
                return iter([(key, list(map(itemgetter(key), rows)), None)])
            return zip(first, zip(*map(itemgetter(*first), rows)), repeat(None))
        except KeyError:
            pass
    counts = Counter(chain.from_iterable(rows))
    if len(counts) * len(rows) > 4 * counts.total():
        return _sparse(rows, len(rows))
    return _ragged(rows, counts)


def _ragged(rows: Sequence[dict[str, Any]], counts: Counter[str]) -> Iterator[Split]:
    for key, count in counts.items():
        if count == len(rows):
            yield key, list(map(itemgetter(key), rows)), None
        else:
            positions = [i for i, row in enumerate(rows) if key in row]
            yield key, [rows[i][key] for i in positions], positions


def _sparse(rows: Sequence[dict[str, Any]], size: int) -> Iterator[Split]:
    # hundreds of keys, few of them in each row: one pass over what is there
    columns: dict[str, tuple[list[Any], list[int]]] = {}
    for i, row in enumerate(rows):
        for key, value in row.items():
            column = columns.get(key)
            if column is None:
                column = columns[key] = ([], [])
            column[0].append(value)
            column[1].append(i)
    for key, (values, positions) in columns.items():
        yield key, values, None if len(positions) == size else positions
