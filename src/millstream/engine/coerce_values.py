"""Leaves to typed columns: the schema's rules applied to whole columns, and value by value
elsewhere.

dlt settles types row by row: the first value decides a column's type, later ones are coerced to it
or go to a variant column. Columns do not influence one another, so each can be settled alone; what
must be remembered is which rows changed the schema. These rows, in order, are then shown to dlt, so
that dlt itself evolves the schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millstream.engine.casts import convert
from millstream.engine.flatten import ColumnValues, FlatTable
from millstream.engine.schema_rules import Columns, NotVectorizableError, Rules

_FIT_ERRORS = (KeyError, ValueError, TypeError, OverflowError)
_JSON = frozenset({dict, list})
_TELLING = frozenset({str, int, float, bool})


@dataclass(slots=True)
class TypedTable:
    """One table's columns, typed.

    Attributes:
        arrays: m <= n values by column name, and the rows that they belong to (None for all n).
        new: the definitions that the schema must come to have.
        schema_evolving_rows: rows that add a column.
        overflows: columns that only the rule for too large integers adds.
        present: rows that had a column's key, null included, where that is not just its values.
    """

    table: FlatTable
    arrays: dict[str, tuple[pa.Array, np.ndarray | None]] = field(default_factory=dict)
    new: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    schema_evolving_rows: set[int] = field(default_factory=set)
    overflows: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    present: dict[str, int] = field(default_factory=dict)


def coerce_table(table: FlatTable, rules: Rules) -> TypedTable:
    """Type each leaf of a table.

    Raises:
        NotVectorizableError: a variant falls into a column that the data has too, or a value
            fits nowhere.
    """
    settled = TypedTable(table, present={**table.only_null})
    columns: Columns | None = None
    for leaf in table.leaves.values():
        settled.present[leaf.name] = len(leaf.values)
        if leaf.array is not None:
            _put(settled, leaf, leaf.name, leaf.array)
            continue
        column = rules.column(table.name, leaf.name)
        if column is not None and _whole(settled, leaf, column, rules):
            continue
        if columns is None:
            columns = rules.columns(table.name)
        if column is None:
            column = _first(settled, leaf, columns, rules)
            if column is not None and _whole(settled, leaf, column, rules):
                continue
        _each(settled, leaf, columns, rules)
    return settled


def _whole(
    settled: TypedTable, leaf: ColumnValues, column: Mapping[str, Any], rules: Rules
) -> bool:
    to = rules.arrow_type(column)
    try:
        if column["data_type"] == "json":
            array = _documents(leaf, to, rules)
        else:
            array = convert(
                column["data_type"],
                leaf.kinds,
                leaf.values,
                to,
                is_exact=rules.is_exact,
                texts=rules.time_texts(column),
            )
    except _FIT_ERRORS:
        return False
    if not _is_short(array, rules.max_length(column)):
        return False
    _put(settled, leaf, leaf.name, array)
    return True


def _is_short(array: pa.Array, limit: int | None) -> bool:
    if limit is None:
        return True
    lengths = pc.utf8_length if pa.types.is_string(array.type) else pc.binary_length
    longest = pc.max(lengths(array)).as_py()
    return longest is None or longest <= limit


def _documents(leaf: ColumnValues, to: pa.DataType, rules: Rules) -> pa.Array:
    if not leaf.kinds <= _JSON or rules.marked:
        raise KeyError(leaf.name)
    texts = [None if v is None else rules.dumps(v) for v in leaf.values]
    return pa.array(texts, type=to, from_pandas=False)


def _first(
    settled: TypedTable, leaf: ColumnValues, columns: Columns, rules: Rules
) -> Mapping[str, Any] | None:
    """Let the first value decide a new column's type; None when it went elsewhere."""
    at, value = next((i, v) for i, v in enumerate(leaf.values) if v is not None)
    target, column, _ = rules.coerce(columns, settled.table.name, leaf.name, value)
    if column is None or target != leaf.name:
        return None
    _add(settled, leaf, columns, target, column, at)
    return column


def _each(settled: TypedTable, leaf: ColumnValues, columns: Columns, rules: Rules) -> None:
    """Value by value through dlt's own coercion, but for those that it leaves as they are."""
    table = settled.table.name
    size = len(leaf.values)
    targets: dict[str, list[Any]] = {}
    plain = rules.passthrough_types(columns.get(leaf.name))
    known: dict[tuple[type, Any], tuple[str, Any]] = {}
    if plain and not (int in plain and any(map(_is_too_large, leaf.values))):
        targets[leaf.name] = [v if type(v) in plain else None for v in leaf.values]
        others = [i for i, v in enumerate(leaf.values) if v is not None and type(v) not in plain]
    else:
        others = [i for i, v in enumerate(leaf.values) if v is not None]
    for at in others:
        value = leaf.values[at]
        # of equal values of these types dlt makes the same; `0.0` equals `-0.0`
        key = (type(value), value) if type(value) in _TELLING and value != 0 else None
        found = known.get(key) if key else None
        if found is None:
            target, column, result = rules.coerce(columns, table, leaf.name, value)
            if column is not None:
                _add(settled, leaf, columns, target, column, at)
            if _is_too_large(result) and columns[target]["data_type"] == "bigint":
                target, column, result = rules.too_large(columns, table, target, result)
                if column is not None:
                    _claim(settled, leaf, target)
                    columns[target] = settled.overflows[target] = column
            if key:
                known[key] = (target, result)
        else:
            target, result = found
        values = targets.get(target)
        if values is None:
            values = targets[target] = [None] * size
        values[at] = result
    for target, values in targets.items():
        column = columns[target]
        if column["data_type"] == "json":
            values = [v if v is None or type(v) is str else rules.dumps(v) for v in values]
        try:
            array = pa.array(values, type=rules.arrow_type(column), from_pandas=False)
        except _FIT_ERRORS as error:
            raise NotVectorizableError(f"{table}.{target}: {type(error).__name__}") from error
        _put(settled, leaf, target, array)


def _is_too_large(value: Any) -> bool:
    return type(value) is int and not -(2**63) <= value < 2**63


def _put(settled: TypedTable, leaf: ColumnValues, name: str, array: pa.Array) -> None:
    if name in settled.arrays:
        raise NotVectorizableError(f"{settled.table.name}.{name} is a variant and a column")
    settled.arrays[name] = (array, leaf.index)


def _add(
    settled: TypedTable,
    leaf: ColumnValues,
    columns: Columns,
    name: str,
    column: Mapping[str, Any],
    at: int,
) -> None:
    _claim(settled, leaf, name)
    columns[name] = settled.new[name] = column
    settled.schema_evolving_rows.add(at if leaf.index is None else int(leaf.index[at]))


def _claim(settled: TypedTable, leaf: ColumnValues, name: str) -> None:
    claims = settled.table.claims
    if claims.setdefault(name, claims[leaf.name]) != claims[leaf.name]:
        raise NotVectorizableError(f"{settled.table.name}.{name} is a variant and a column")
