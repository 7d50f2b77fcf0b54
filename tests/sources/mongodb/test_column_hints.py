"""What dlt is told of a part: columns whose values do not show their type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dlt
import pytest

from millstream.sources.mongodb.column_hints import PartEmitter
from millstream.sources.mongodb.spool import Part

FILE = Path("part.typed-jsonl")


def emitter(columns: dict[str, Any] | None = None) -> PartEmitter:
    schema = dlt.Schema("shop")
    if columns:
        schema.update_table(dlt.resource([], name="orders", columns=columns).compute_table_schema())
    return PartEmitter("orders", schema, "duckdb")


def hints(emit: PartEmitter, *not_finite: tuple[str, ...]) -> Any:
    return emit(Part(FILE, 3, not_finite=not_finite)).meta.hints


def test_a_part_is_handed_on_as_its_file() -> None:
    emit = emitter()
    assert not emit.has_told
    meta = emit(Part(FILE, 3)).meta
    assert (meta.file_path, meta.metrics.items_count) == (str(FILE), 3)
    assert emit.has_told


def test_columns_with_nan_are_double_and_told_once() -> None:
    emit = emitter()
    assert hints(emit, ("price",))["columns"].keys() == {"price"}
    assert emit.columns == {"price": {"name": "price", "data_type": "double"}}
    assert hints(emit, ("price",)) is None
    hints(emit, ("user", "taxRate"))
    assert emit.columns.keys() == {"price", "user__tax_rate"}


def test_columns_of_lists_are_hints_of_their_tables() -> None:
    emit = emitter()
    found = hints(emit, ("lines", "[]", "taxes", "[]", "rate"))
    assert emit.columns == {}
    nested = found["nested_hints"]
    assert nested[("lines",)]["parent_table_name"] == "orders"
    inner = nested[("lines", "taxes")]
    assert inner["parent_table_name"] == "orders__lines"
    assert inner["columns"] == {"rate": {"name": "rate", "data_type": "double"}}


def test_a_column_that_has_a_type_keeps_it() -> None:
    emit = emitter({"price": {"data_type": "bigint"}})
    hints(emit, ("price",), ("other",))
    assert emit.columns.keys() == {"other"}


@pytest.mark.parametrize(
    ("kind", "data_type"),
    [("oid", "text"), ("any", "text"), ("int", "bigint"), ("date", "timestamp")],
)
def test_the_key_has_the_type_of_its_kind(kind: Any, data_type: str) -> None:
    emit = emitter()
    emit.kind = kind
    hints(emit, ("_id",))
    assert emit.columns == {"_id": {"name": "_id", "data_type": data_type, "nullable": False}}


def test_a_table_is_emptied_only_where_there_is_one() -> None:
    assert list(emitter().nothing()) == []
    (item,) = emitter({"a": {"data_type": "text"}}).nothing()
    assert item.meta.hints["write_disposition"] == "replace"
    emit = emitter()
    emit.replace = True
    assert hints(emit)["write_disposition"] == "replace"
