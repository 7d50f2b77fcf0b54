"""Nested rows to tables: objects flatten into their table, each list becomes a child table.

n rows -> one root table of n rows and, per list, a table of m >= 0 rows that know their parents.
Nothing is typed here yet, and nothing is copied: a leaf holds the values as they came.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from millstream.engine.columns import split
from millstream.engine.ids import Ids
from millstream.engine.rules import Rules, Unfit

_MANY_LEVELS = 900
_NONE = type(None)
# Arrow takes exactly these Python types for these columns, so the types need not be looked at first
_STRICT = {"text": pa.string(), "bool": pa.bool_()}


@dataclass(slots=True)
class Leaf:
    """One column of one table in one batch.

    Attributes:
        values: m <= n values as they came; None is an explicit null.
        index: the m rows that they belong to, None for all n.
        kinds: the Python types of the values, without None; empty where `array` is set.
        array: the m values in Arrow, where the column's type is known and fits.
    """

    name: str
    values: Sequence[Any]
    index: np.ndarray | None
    kinds: frozenset[type]
    array: pa.Array | None = None


@dataclass(slots=True)
class TableRows:
    """The rows of one table in one batch, as leaves.

    Attributes:
        parents: paths of normalized names above and of the table itself, as dlt builds names.
        level: how many levels of nesting are left; 0 keeps everything whole.
        at: for each row, the position of its parent in the parent table's rows.
        position: for each row, its position in its list.
    """

    name: str
    path: tuple[str, ...]
    own: tuple[str, ...]
    level: int
    size: int
    items: Sequence[Any]
    parent: TableRows | None = None
    at: np.ndarray | None = None
    position: np.ndarray | None = None
    leaves: dict[str, Leaf] = field(default_factory=dict)
    ids: Ids | None = None
    claims: dict[str, tuple[tuple[str, ...], str]] = field(default_factory=dict)


def unfold(
    items: Sequence[dict[str, Any]], root: str, level: int, rules: Rules
) -> list[TableRows]:
    """The tables of a batch, parents before children.

    Args:
        items: n >= 1 rows.

    Raises:
        Unfit: two keys fall into one column or one table, or the like.
    """
    return _Unfolder(rules).run(items, root, level)


class _Unfolder:
    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.marked = rules.marked
        self.tables: dict[str, TableRows] = {}

    def run(self, items: Sequence[dict[str, Any]], root: str, level: int) -> list[TableRows]:
        if not self.rules.check_table(root, root=True):
            raise Unfit("the root table is filtered")
        table = TableRows(root, (), (root,), level, len(items), items)
        self.tables[root] = table
        self.objects(table, items, None, (), level)
        return list(self.tables.values())

    def objects(
        self,
        table: TableRows,
        rows: Sequence[dict[str, Any]],
        index: np.ndarray | None,
        path: tuple[str, ...],
        level: int,
    ) -> None:
        for key, values, positions in split(rows):
            self.cells(table, path, key, values, _within(index, positions), level)

    def cells(
        self,
        table: TableRows,
        path: tuple[str, ...],
        key: str,
        values: Sequence[Any],
        index: np.ndarray | None,
        level: int,
    ) -> None:
        name, own = self.rules.column_name(path, key)
        if not self.marked and (column := self.rules.column(table.name, name)) is not None:
            strict = _STRICT.get(column["data_type"])
            if strict is not None:
                try:
                    array = pa.array(values, type=strict, from_pandas=False)
                except (pa.ArrowInvalid, pa.ArrowTypeError):
                    pass
                else:
                    leaf = Leaf(name, values, index, frozenset(), array)
                    self.leaf(table, path, key, leaf, array.null_count > 0)
                    return
        kinds = set(map(type, values))
        if self.marked and str in kinds:
            values = [self.rules.decode(v) if type(v) is str else v for v in values]
            kinds = set(map(type, values))
        nested = kinds & {dict, list}
        if nested and not self.rules.keeps_whole(table.name, name, level):
            plain = kinds - {dict, list}
            if dict in kinds:
                self.part(table, path + (own,), values, index, kinds, dict, level)
            if list in kinds:
                self.part(table, (*path, self.rules.list_name(key)), values, index, kinds, list, level)
            if not plain:
                return
            positions = [i for i, v in enumerate(values) if type(v) is not dict and type(v) is not list]
            values, index, kinds = [values[i] for i in positions], _within(index, positions), plain
        elif nested and self.marked:
            values = [self.rules.decode(v) if type(v) in (dict, list) else v for v in values]
        if float in kinds:
            self.rules.check_floats(values)
        leaf = Leaf(name, values, index, frozenset(kinds - {_NONE}))
        self.leaf(table, path, key, leaf, _NONE in kinds)

    def part(
        self,
        table: TableRows,
        path: tuple[str, ...],
        values: Sequence[Any],
        index: np.ndarray | None,
        kinds: set[type],
        kind: type,
        level: int,
    ) -> None:
        """The objects, or the lists, among a column's values."""
        if kinds != {kind}:
            positions = [i for i, v in enumerate(values) if type(v) is kind]
            values, index = [values[i] for i in positions], _within(index, positions)
        if kind is dict:
            self.objects(table, values, index, path, level - 1)
        else:
            self.lists(table, path, values, index)

    def leaf(
        self, table: TableRows, path: tuple[str, ...], key: str, leaf: Leaf, has_null: bool
    ) -> None:
        # within one row the last of two keys would win, which depends on their order
        if table.claims.setdefault(leaf.name, (path, key)) != (path, key):
            raise Unfit(f"two keys for column {table.name}.{leaf.name}")
        if self.rules.filtered(table.name, leaf.name):
            return
        if has_null and not self.rules.may_be_null(table.name, leaf.name):
            raise Unfit(f"null in {table.name}.{leaf.name}")
        if leaf.array is not None or leaf.kinds:
            table.leaves[leaf.name] = leaf

    def lists(
        self,
        table: TableRows,
        own: tuple[str, ...],
        lists: Sequence[list[Any]],
        index: np.ndarray | None,
    ) -> None:
        path = table.path + table.own
        name = self.rules.table_name(path + own)
        if not name or name in self.tables:
            raise Unfit(f"two lists for table {name}")
        items = list(chain.from_iterable(lists))
        if not items or not self.rules.check_table(name, root=False):
            return
        lengths = np.fromiter(map(len, lists), np.int64, len(lists))
        at = np.repeat(np.arange(len(lists)) if index is None else index, lengths)
        starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
        level = table.level - 1
        kinds = set(map(type, items))
        if list in kinds:
            if dict in kinds and level < _MANY_LEVELS:
                raise Unfit(f"objects and lists in one list for {name}")
            level -= 1
        child = TableRows(
            name, path, own, level, len(items), items, table, at, np.arange(len(items)) - starts
        )
        self.tables[name] = child
        if dict not in kinds:
            self.scalars(child, items, kinds)
        elif kinds == {dict}:
            self.objects(child, items, None, (), level)
        else:
            self.objects(child, [as_row(item, self.rules) for item in items], None, (), level)

    def scalars(self, table: TableRows, items: Sequence[Any], kinds: set[type]) -> None:
        """A list without objects: one column for its lists, one for everything else."""
        if list not in kinds:
            self.cells(table, (), self.rules.value, items, None, table.level)
            return
        positions = [i for i, item in enumerate(items) if type(item) is list]
        index = None if len(positions) == len(items) else np.array(positions)
        self.cells(table, (), "list", [items[i] for i in positions], index, table.level)
        if index is not None:
            rest = [i for i, item in enumerate(items) if type(item) is not list]
            self.cells(
                table, (), self.rules.value, [items[i] for i in rest], np.array(rest), table.level
            )


def as_row(item: Any, rules: Rules) -> dict[str, Any]:
    """An item of a list as the row that dlt makes of it."""
    if type(item) is dict:
        return item
    return {"list": item} if type(item) is list else {rules.value: item}


def _within(index: np.ndarray | None, positions: list[int] | None) -> np.ndarray | None:
    if positions is None:
        return index
    return np.array(positions, np.int64) if index is None else index[positions]
