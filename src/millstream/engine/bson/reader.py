"""Blocks of documents -> tables; and lines of rows, for documents that columns can't take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from millstream.engine.bson import values
from millstream.engine.bson.documents import Documents
from millstream.engine.bson.plan import Plan, Table
from millstream.engine.bson.walk import Found, Rows, Walk
from millstream.engine.coerce_values import TypedTable
from millstream.engine.flatten import FlatTable
from millstream.engine.schema_rules import NotVectorizableError, Rules

if TYPE_CHECKING:
    from millstream.formats.raw_part import DocumentReader

TEACH = 256
"""Documents that go through Python where there is something new, before the rest is tried again."""

_LINE = 2000
_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Tables:
    """What some documents became.

    Attributes:
        settled: tables, parents first.
        raw: the root's columns that its ids may be made of.
        documents: the same, end to end, as they came.
    """

    settled: list[TypedTable]
    raw: dict[str, pa.Array]
    documents: Callable[[], bytes]


class BsonReader:
    """Reads the blocks of one root table.

    Args:
        ready: whether the schema leaves rows of the root to columns now.
        has_table: whether the schema has a table and the columns that link it.
    """

    def __init__(
        self,
        root: str,
        rules: Rules,
        exact: DocumentReader,
        ready: Callable[[], bool],
        has_table: Callable[[FlatTable], bool],
    ) -> None:
        self._root = root
        self._rules = rules
        self._exact = exact
        self._ready = ready
        self._has_table = has_table
        self._plan: Plan | None = None

    def read(self, block: tuple[bytes, list[int]]) -> Iterator[Tables | bytes]:
        """A block as tables, and as documents that only `DocumentReader.line` can read.

        Between two of them the schema may have changed.
        """
        documents = Documents(*block)
        chosen = np.arange(len(documents))
        if places := self._exact.suspects(block[0]):
            suspects = np.unique(np.searchsorted(documents.ends, places))
            yield from self._lines(documents, suspects)
            chosen = np.delete(chosen, suspects)
        for turn in range(_ROUNDS):
            if not chosen.size:
                return
            plan = self._planned()
            if plan is not None:
                tables, chosen = self._tables(documents, plan, chosen)
                if tables is not None:
                    yield tables
            if turn < _ROUNDS - 1:
                yield from self._lines(documents, chosen[:TEACH])
                chosen = chosen[TEACH:]
        yield from self._lines(documents, chosen)

    def _lines(self, documents: Documents, chosen: np.ndarray) -> Iterator[bytes]:
        for start in range(0, len(chosen), _LINE):
            yield documents.of(chosen[start : start + _LINE])

    def _planned(self) -> Plan | None:
        if not self._ready():
            return None
        if self._plan is None:
            exact = self._exact
            if not all(isinstance(value, datetime | str) for value in exact.extra.values()):
                return None
            try:
                self._plan = Plan(
                    self._root,
                    self._rules,
                    self._has_table,
                    key=exact.key,
                    reserved=exact.reserved,
                    extra=exact.extra,
                )
            except NotVectorizableError:
                return None
        self._plan.forget()
        return self._plan

    def _tables(
        self, documents: Documents, plan: Plan, chosen: np.ndarray
    ) -> tuple[Tables | None, np.ndarray]:
        """Tables of the documents that fit, and the other documents."""
        unfit: list[np.ndarray] = []
        while chosen.size:
            walk = Walk(documents, plan, chosen)
            bad = walk.bad
            if not bad.any():
                try:
                    settled = _Settling(documents, plan, self._rules, self._exact).run(walk)
                except NotVectorizableError:
                    break
                if settled is not None:
                    tables = Tables(settled, _raw(settled[0]), partial(documents.of, chosen))
                    return tables, np.sort(np.concatenate([*unfit, chosen[:0]]))
            unfit.append(chosen[bad[chosen]])
            chosen = chosen[~bad[chosen]]
        return None, np.sort(np.concatenate([*unfit, chosen]))


def _raw(root: TypedTable) -> dict[str, pa.Array]:
    return {
        f"{root.table.name}.{name}": array
        for name, (array, index) in root.arrays.items()
        if index is None
    }


class _Settling:
    """Values of one walk as typed columns; None where more documents turned out bad."""

    def __init__(
        self, documents: Documents, plan: Plan, rules: Rules, exact: DocumentReader
    ) -> None:
        self._documents = documents
        self._plan = plan
        self._rules = rules
        self._exact = exact

    def run(self, walk: Walk) -> list[TypedTable] | None:
        made: dict[Table, TypedTable] = {}
        for table, rows in walk.tables.items():
            name = table.name
            parent = made[table.parent].table if table.parent is not None else None
            at = position = None
            if parent is not None:
                at, position = np.concatenate(rows.at), np.concatenate(rows.position)
            below = FlatTable(name, table.path, table.own, 0, rows.size, (), parent, at, position)
            settled = made[table] = TypedTable(below)
            for column, found in rows.found.items():
                self._column(settled, column, found, rows, walk.bad)
            for column, count in rows.nulls.items():
                if not self._rules.allows_null(name, column):
                    raise NotVectorizableError(f"null in {name}.{column}")
                settled.present[column] = settled.present.get(column, 0) + count
        if walk.bad.any():
            return None
        self._extra(made[self._plan.table])
        return list(made.values())

    def _column(
        self, settled: TypedTable, name: str, found: list[Found], rows: Rows, bad: np.ndarray
    ) -> None:
        arrays = []
        for each in found:
            wrong = np.zeros(len(each.at), np.bool_)
            arrays.append(values.make(self._documents, each.kind, each.at, each.leaf, wrong))
            if wrong.any():
                bad[each.documents[wrong]] = True
        leaf = found[0].leaf
        count = sum(map(len, arrays))
        settled.present[name] = count
        if leaf.required and count < rows.size:
            raise NotVectorizableError(f"{leaf.table.name}.{name} is missing in some")
        if len(arrays) == 1:
            index = None if count == rows.size else found[0].rows
            settled.arrays[name] = (arrays[0], index)
            return
        array, index = pa.concat_arrays(arrays), np.concatenate([each.rows for each in found])
        if count == rows.size:
            array, index = array.take(pa.array(np.argsort(index))), None
        settled.arrays[name] = (array, index)

    def _extra(self, root: TypedTable) -> None:
        for name, value in self._exact.extra.items():
            leaf = self._plan.beside(name)
            if isinstance(value, str):
                fits, array = leaf.data_type == "text", pa.scalar(value, pa.string())
            else:
                fits, array = (
                    leaf.data_type == "timestamp",
                    pa.scalar(value, pa.timestamp("us", "UTC")),
                )
            if not fits:
                raise NotVectorizableError(f"{name} is {leaf.data_type}")
            array = pa.repeat(array, root.table.size)
            root.arrays[leaf.name] = (array.view(leaf.type), None)
            root.present[leaf.name] = root.table.size
