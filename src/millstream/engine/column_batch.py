"""Column sets of one table, lined up with the columns that its file has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pyarrow as pa


class ColumnBatch:
    """n rows of one table as columns, in no order and perhaps not all of the table's.

    dlt's writers count the rows of whatever has a `shape` by `len`.

    Attributes:
        documents: columns whose texts are JSON.
    """

    __slots__ = ("columns", "documents", "present", "shape")

    def __init__(
        self, columns: Mapping[str, pa.Array], size: int, present: Mapping[str, int] | None = None
    ) -> None:
        self.columns = columns
        self.present = present or {}
        self.documents: frozenset[str] = frozenset()
        self.shape = (size, len(columns))

    def __len__(self) -> int:
        return self.shape[0]


def align(sets: Sequence[ColumnBatch], schema: pa.Schema) -> pa.Table:
    """All rows of the sets, in order, as a table of this schema; absent columns are null."""
    nulls: dict[tuple[pa.DataType, int], pa.Array] = {}
    arrays = []
    for field in schema:
        chunks = []
        for item in sets:
            chunk = item.columns.get(field.name)
            if chunk is None:
                key = (field.type, len(item))
                chunk = nulls.get(key)
                if chunk is None:
                    chunk = nulls[key] = pa.nulls(len(item), field.type)
            elif chunk.type != field.type:
                chunk = chunk.cast(field.type)
            chunks.append(chunk)
        arrays.append(pa.chunked_array(chunks, field.type))
    return pa.Table.from_arrays(arrays, schema=schema)


def runs(items: Sequence[Any]) -> Iterator[tuple[bool, list[Any]]]:
    """Neighbours of one kind together: `(True, column sets)` or `(False, dicts)`.

    >>> [(columnar, len(part)) for columnar, part in runs([{}, {}, ColumnBatch({}, 3), {}])]
    [(False, 2), (True, 1), (False, 1)]
    """
    run: list[Any] = []
    columnar = False
    for item in items:
        kind = isinstance(item, ColumnBatch)
        if run and kind is not columnar:
            yield columnar, run
            run = []
        columnar = kind
        run.append(item)
    if run:
        yield columnar, run


class BackgroundWorker:
    """A thread that does one thing at a time, beside the one that asks for it.

    One for each that needs it, made when it does: a thread that is made for each thing is waited
    for until it runs, which takes milliseconds while others have the interpreter's lock; and worker
    processes may be forked, which no thread survives.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._doing: Future[Any] | None = None

    def wait(self) -> None:
        """Wait for what is being done; raises what it raised."""
        doing, self._doing = self._doing, None
        if doing is not None:
            doing.result()

    def start(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Do something, once what was started before is done; raises what that raised."""
        self.wait()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "millstream-columns")
        self._doing = self._pool.submit(function, *args, **kwargs)

    def close(self) -> None:
        """End the thread, and settle; another `start` makes a new one."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()
        self.wait()
