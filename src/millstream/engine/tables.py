"""Typed columns to whole tables: values put in their rows, ids and links added."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from millstream.engine.coerce_values import TypedTable
from millstream.engine.flatten import FlatTable
from millstream.engine.row_ids import Ids, nested_ids, to_arrow


@dataclass(frozen=True, slots=True)
class LinkNames:
    """What the columns that link tables are called under the schema's naming."""

    id: str
    load_id: str
    parent_id: str
    list_idx: str
    root_id: str

    @classmethod
    def of_normalizer(cls, normalizer: Any) -> LinkNames:
        """What a relational normalizer of dlt's calls them."""
        return cls(
            normalizer.c_dlt_id,
            normalizer.c_dlt_load_id,
            normalizer.c_dlt_parent_id,
            normalizer.c_dlt_list_idx,
            normalizer.c_dlt_root_id,
        )

    def of(self, *, root: bool, propagate: bool) -> tuple[str, ...]:
        """The ones that a table has."""
        if root:
            return self.load_id, self.id
        links = (self.parent_id, self.list_idx, self.id)
        return (self.root_id, *links) if propagate else links

    def all(self) -> frozenset[str]:
        return frozenset((self.id, self.load_id, self.parent_id, self.list_idx, self.root_id))


def add_ids(tables: list[FlatTable], root_ids: Ids, size: int) -> None:
    """Give each row its id; children's follow from their parents'."""
    tables[0].ids = root_ids
    for table in tables[1:]:
        assert table.parent is not None
        assert table.parent.ids is not None
        assert table.at is not None
        assert table.position is not None
        table.ids = nested_ids(table.name, table.parent.ids[table.at], table.position, size)


def columns_of(
    settled: TypedTable, names: LinkNames, load_id: str, *, propagate: bool
) -> Mapping[str, pa.Array]:
    """Every column of a table in this batch, n values each."""
    table = settled.table
    inverses: dict[int, pa.Array] = {}
    columns = {}
    for name, (array, index) in settled.arrays.items():
        if index is not None and len(index) != table.size:
            inverse = inverses.get(id(index))
            if inverse is None:
                inverse = inverses[id(index)] = _inverse(index, table.size)
            array = array.take(inverse)
        columns[name] = array
    assert table.ids is not None
    columns[names.id] = to_arrow(table.ids)
    if table.parent is None:
        columns[names.load_id] = pa.repeat(load_id, table.size)
        return columns
    assert table.parent.ids is not None
    columns[names.parent_id] = to_arrow(table.parent.ids[table.at])
    columns[names.list_idx] = pa.array(table.position)
    if propagate:
        columns[names.root_id] = to_arrow(_root_ids(table))
    return columns


def _inverse(index: np.ndarray, size: int) -> pa.Array:
    at = np.full(size, -1, np.int64)
    at[index] = np.arange(len(index))
    return pa.array(at, mask=at < 0)


def _root_ids(table: FlatTable) -> Ids:
    at = table.at
    parent = table.parent
    assert parent is not None
    while parent.parent is not None:
        assert parent.at is not None
        at = parent.at[at]
        parent = parent.parent
    assert parent.ids is not None
    return parent.ids[at]
