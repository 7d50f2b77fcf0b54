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

from millstream.engine.fast_path.row_shape import Field, Shape
from millstream.engine.row_ids import Ids
from millstream.engine.schema_rules import NotVectorizableError, Rules
from millstream.engine.transpose import split

MANY_LEVELS = 900
_NONE = type(None)
# Arrow takes exactly these Python types for these columns, so the types need not be looked at first
_STRICT = {"text": pa.string(), "bool": pa.bool_()}


@dataclass(slots=True)
class ColumnValues:
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
class FlatTable:
    """The rows of one table in one batch, as leaves.

    Attributes:
        parents: paths of normalized names above and of the table itself, as dlt builds names.
        level: how many levels of nesting are left; 0 keeps everything whole.
        at: for each row, the position of its parent in the parent table's rows.
        position: for each row, its position in its list.
        only_null: rows that have a key of which every value is null, by column.
    """

    name: str
    path: tuple[str, ...]
    own: tuple[str, ...]
    level: int
    size: int
    items: Sequence[Any]
    parent: FlatTable | None = None
    at: np.ndarray | None = None
    position: np.ndarray | None = None
    leaves: dict[str, ColumnValues] = field(default_factory=dict)
    only_null: dict[str, int] = field(default_factory=dict)
    ids: Ids | None = None
    claims: dict[str, tuple[tuple[str, ...], str]] = field(default_factory=dict)


def flatten_rows(
    items: Sequence[dict[str, Any]], root: str, level: int, rules: Rules, shape: Shape
) -> list[FlatTable]:
    """The tables of a batch, parents before children.

    Args:
        items: n >= 1 rows.
        shape: learns what the rows look like.

    Raises:
        NotVectorizableError: two keys fall into one column or one table, or the like.
    """
    return _Unfolder(rules).run(items, root, level, shape)


class _Unfolder:
    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.marked = rules.marked
        self.tables: dict[str, FlatTable] = {}

    def run(
        self, items: Sequence[dict[str, Any]], root: str, level: int, shape: Shape
    ) -> list[FlatTable]:
        if not self.rules.check_table(root, root=True):
            raise NotVectorizableError("the root table is filtered")
        table = FlatTable(root, (), (root,), level, len(items), items)
        self.tables[root] = table
        self.objects(table, items, None, (), level, shape)
        return list(self.tables.values())

    def objects(
        self,
        table: FlatTable,
        rows: Sequence[dict[str, Any]],
        index: np.ndarray | None,
        path: tuple[str, ...],
        level: int,
        shape: Shape,
    ) -> None:
        above = (*table.path, *table.own)
        found = list(split(rows))
        if fresh := [key for key, _, _ in found if key not in shape]:
            self.rules.name_keys(above, path, fresh)
        for key, values, positions in found:
            field = shape.get(key)
            if field is None:
                field = shape[key] = Field(*self.rules.column_name(above, path, key))
            field.ragged = field.ragged or positions is not None
            self.cells(table, path, key, values, _within(index, positions), level, field)

    def cells(
        self,
        table: FlatTable,
        path: tuple[str, ...],
        key: str,
        values: Sequence[Any],
        index: np.ndarray | None,
        level: int,
        field: Field,
    ) -> None:
        name = field.name
        if not self.marked and (column := self.rules.column(table.name, name)) is not None:
            strict = _STRICT.get(column["data_type"])
            if strict is not None and self.rules.max_length(column) is None:
                try:
                    array = pa.array(values, type=strict, from_pandas=False)
                except (pa.ArrowInvalid, pa.ArrowTypeError):
                    pass
                else:
                    leaf = ColumnValues(name, values, index, frozenset(), array)
                    field.saw("value", array.null_count > 0)
                    self.leaf(table, path, key, leaf, array.null_count > 0)
                    return
        kinds = set(map(type, values))
        if self.marked and str in kinds:
            values = [self.rules.decode(v) if type(v) is str else v for v in values]
            kinds = set(map(type, values))
        nested = kinds & {dict, list}
        if nested and not self.rules.stored_as_json(table.name, name, level):
            plain = kinds - {dict, list}
            if dict in kinds:
                field.saw("object", _NONE in kinds)
                some, at = _only(dict, kinds, values, index)
                self.objects(table, some, at, (*path, field.own), level - 1, field.fields)
            if list in kinds:
                field.saw("list", _NONE in kinds)
                some, at = _only(list, kinds, values, index)
                self.lists(table, (*path, self._list_name(table, path, key)), some, at, field)
            if not plain:
                return
            positions = [
                i for i, v in enumerate(values) if type(v) is not dict and type(v) is not list
            ]
            values, index, kinds = [values[i] for i in positions], _within(index, positions), plain
        elif nested and self.marked:
            values = [self.rules.decode(v) if type(v) in (dict, list) else v for v in values]
        if float in kinds:
            self.rules.check_floats(values)
        if kinds != {_NONE}:
            field.saw("value", _NONE in kinds)
        else:
            field.saw(None, True)
        leaf = ColumnValues(name, values, index, frozenset(kinds - {_NONE}))
        self.leaf(table, path, key, leaf, _NONE in kinds)

    def leaf(
        self, table: FlatTable, path: tuple[str, ...], key: str, leaf: ColumnValues, has_null: bool
    ) -> None:
        # within one row the last of two keys would win, which depends on their order
        if table.claims.setdefault(leaf.name, (path, key)) != (path, key):
            raise NotVectorizableError(f"two keys for column {table.name}.{leaf.name}")
        if self.rules.filtered(table.name, leaf.name):
            return
        if has_null and not self.rules.allows_null(table.name, leaf.name):
            raise NotVectorizableError(f"null in {table.name}.{leaf.name}")
        if leaf.array is not None or leaf.kinds:
            # objects under two keys of one name, `Foo` and `foo`, share their inner columns
            if leaf.name in table.leaves:
                raise NotVectorizableError(f"two objects for column {table.name}.{leaf.name}")
            table.leaves[leaf.name] = leaf
        else:
            table.only_null[leaf.name] = len(leaf.values)

    def _list_name(self, table: FlatTable, path: tuple[str, ...], key: str) -> str:
        return self.rules.list_name((*table.path, *table.own), path, key)

    def lists(
        self,
        table: FlatTable,
        own: tuple[str, ...],
        lists: Sequence[list[Any]],
        index: np.ndarray | None,
        field: Field,
    ) -> None:
        path = table.path + table.own
        name = self.rules.table_name(path + own)
        if not name or name in self.tables:
            raise NotVectorizableError(f"two lists for table {name}")
        items = list(chain.from_iterable(lists))
        if not items or not self.rules.check_table(name, root=False):
            return
        lengths = np.fromiter(map(len, lists), np.int64, len(lists))
        at = np.repeat(np.arange(len(lists)) if index is None else index, lengths)
        starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
        level = table.level - 1
        kinds = set(map(type, items))
        if list in kinds:
            if dict in kinds and level < MANY_LEVELS:
                raise NotVectorizableError(f"objects and lists in one list for {name}")
            level -= 1
        child = FlatTable(
            name, path, own, level, len(items), items, table, at, np.arange(len(items)) - starts
        )
        self.tables[name] = child
        field.own_path, field.table = own, name
        item = field.item = field.item or Field(self.rules.value, self.rules.value)
        if dict not in kinds:
            self.scalars(child, items, kinds, item)
            return
        item.saw("object", _NONE in kinds)
        if kinds == {dict}:
            self.objects(child, items, None, (), level, item.fields)
        else:
            item.mixed = True
            rows = [as_row(each, self.rules) for each in items]
            self.objects(child, rows, None, (), level, item.fields)

    def scalars(
        self, table: FlatTable, items: Sequence[Any], kinds: set[type], item: Field
    ) -> None:
        """A list without objects: one column for its lists, one for everything else."""
        if list not in kinds:
            self.cells(table, (), self.rules.value, items, None, table.level, item)
            return
        positions = [i for i, each in enumerate(items) if type(each) is list]
        index = None if len(positions) == len(items) else np.array(positions)
        # nested lists go through a column `list`, which is an item's own name for them
        inner = [items[i] for i in positions]
        name, own = self.rules.column_name((*table.path, *table.own), (), "list")
        if self.rules.stored_as_json(table.name, name, table.level):
            item.saw("list", False)
            self.cells(table, (), "list", inner, index, table.level, Field(name, own))
        else:
            self.cells(table, (), "list", inner, index, table.level, item)
        if index is not None:
            item.mixed = True
            rest = [i for i, each in enumerate(items) if type(each) is not list]
            values = [items[i] for i in rest]
            plain = Field(self.rules.value, self.rules.value)
            self.cells(table, (), self.rules.value, values, np.array(rest), table.level, plain)


def as_row(item: Any, rules: Rules) -> dict[str, Any]:
    """An item of a list as the row that dlt makes of it."""
    if type(item) is dict:
        return item
    return {"list": item} if type(item) is list else {rules.value: item}


def _only(
    kind: type, kinds: set[type], values: Sequence[Any], index: np.ndarray | None
) -> tuple[Sequence[Any], np.ndarray | None]:
    """The objects, or the lists, among a column's values, and the rows that they are in."""
    if kinds == {kind}:
        return values, index
    positions = [i for i, value in enumerate(values) if type(value) is kind]
    return [values[i] for i in positions], _within(index, positions)


def _within(index: np.ndarray | None, positions: list[int] | None) -> np.ndarray | None:
    if positions is None:
        return index
    return np.array(positions, np.int64) if index is None else index[positions]
