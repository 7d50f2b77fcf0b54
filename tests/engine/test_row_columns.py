"""Rows of dlt's own normalizer, and Arrow columns, as the columns of a load file."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.engine.row_columns import column_of_rows, plain_column


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1)))
def test_values_that_fit_keep_the_columns_type(values: list[int | None]) -> None:
    rows = [{} if value is None else {"n": value} for value in values]
    found = column_of_rows(rows, "n", pa.int64(), is_json=False)
    assert found.type == pa.int64()
    assert found.to_pylist() == values


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2**70, str(2**70)),
        ("word", "word"),
        (b"\x00\xff", "\\x00ff"),
        ({"a": [1]}, '{"a":[1]}'),
        (datetime.date(2024, 2, 29), "2024-02-29"),
        (Decimal("1.50"), "1.50"),
    ],
)
def test_one_value_that_does_not_fit_makes_texts_of_all(value: Any, text: str) -> None:
    found = column_of_rows([{"n": 1}, {"n": value}, {}], "n", pa.int64(), is_json=False)
    assert found.type == pa.string()
    assert found.to_pylist() == ["1", text, None]


def test_json_is_written_once() -> None:
    rows = [{"d": {"é": [None]}}, {"d": '{"is": "text"}'}, {"d": None}]
    found = column_of_rows(rows, "d", pa.string(), is_json=True)
    assert found.to_pylist() == ['{"é":[null]}', '{"is": "text"}', None]


@pytest.mark.parametrize(
    ("kind", "plain"),
    [
        (pa.large_string(), pa.string()),
        (pa.string_view(), pa.string()),
        (pa.dictionary(pa.int8(), pa.large_string()), pa.string()),
        (pa.binary(2), pa.binary()),
        (pa.large_binary(), pa.binary()),
        (pa.binary_view(), pa.binary()),
        (pa.int32(), pa.int32()),
    ],
)
def test_arrow_columns_keep_their_values(kind: pa.DataType, plain: pa.DataType) -> None:
    base = kind.value_type if pa.types.is_dictionary(kind) else kind
    is_text = pa.types.is_large_string(base) or pa.types.is_string_view(base)
    values: list[Any] = ["ab", None, "cd"] if is_text else [b"ab", None, b"cd"]
    values = [1, None, 2] if pa.types.is_integer(kind) else values
    array = pa.array(values, base)
    array = array.dictionary_encode() if pa.types.is_dictionary(kind) else array
    for column in (array, pa.chunked_array([array[:1], array[1:]])):
        found = plain_column(column)
        assert found.type == plain
        assert found.to_pylist() == values


def test_nested_arrow_values_become_json() -> None:
    values = [{"a": [1, 2]}, None, {"a": None}]
    array = pa.array(values, pa.struct({"a": pa.list_(pa.int64())}))
    found = plain_column(array)
    assert [each and json.loads(each) for each in found.to_pylist()] == values
