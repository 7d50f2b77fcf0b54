"""Lines of JSON from columns: what a JSON parser reads is what the columns held."""

from __future__ import annotations

import datetime
import json
import math
from base64 import b64decode
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from millstream.engine.column_batch import ColumnBatch
from millstream.engine.json_lines_writer import json_lines

UTC = datetime.timezone.utc
moments = st.datetimes(datetime.datetime(1000, 1, 1), timezones=st.just(UTC))
decimals = st.integers(-(10**12), 10**12).map(lambda n: Decimal(n).scaleb(-6))
# how JSON's values are read again, by column
READERS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any], Any]] = {
    "text": (pa.string(), st.text(max_size=6) | st.text('"\\\n\x00\x1f/é', max_size=6), str),
    "int": (pa.int64(), st.integers(-(2**63), 2**63 - 1), int),
    "double": (pa.float64(), st.floats(allow_nan=False, allow_infinity=False), float),
    "bool": (pa.bool_(), st.booleans(), bool),
    "bytes": (pa.binary(), st.binary(max_size=5), b64decode),
    "moment": (pa.timestamp("us", "UTC"), moments, datetime.datetime.fromisoformat),
    "decimal": (pa.decimal128(38, 9), decimals, Decimal),
    "date": (pa.date32(), st.dates(), datetime.date.fromisoformat),
    "time": (pa.time64("us"), st.times(), datetime.time.fromisoformat),
}
cells = {name: st.none() | values for name, (_, values, _) in READERS.items()}


@settings(max_examples=50)
@given(st.lists(st.fixed_dictionaries(cells), min_size=1, max_size=5), st.integers(0, 2))
@example([dict.fromkeys(READERS), {**dict.fromkeys(READERS), "text": "\\u0000,"}], 0)
def test_each_line_holds_the_values_of_its_row(rows: list[Any], cut: int) -> None:
    columns = {}
    for name, (kind, _, _) in READERS.items():
        # a batch may be part of longer arrays
        array = pa.array([None] * cut + [row[name] for row in rows], kind)
        columns[name] = array.slice(cut)

    lines = bytes(json_lines(ColumnBatch(columns, len(rows)))).decode().split("\n")

    assert lines.pop() == ""
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows):
        found = json.loads(line)
        assert {k: READERS[k][2](v) for k, v in found.items()} == {
            k: v for k, v in row.items() if v is not None
        }
        if "double" in found:  # else who infers types takes it for an integer
            assert type(found["double"]) is float
            assert math.copysign(1, found["double"]) == math.copysign(1, row["double"])


def test_json_stays_json_and_texts_among_it_are_quoted() -> None:
    column = pa.array(['{"a":1}', "[2]", 'plain "text"', None])
    batch = ColumnBatch({"d": column}, 4)
    batch.documents = frozenset({"d"})
    found = [json.loads(line) for line in bytes(json_lines(batch)).splitlines()]
    assert found == [{"d": {"a": 1}}, {"d": [2]}, {"d": 'plain "text"'}, {}]


def test_doubles_that_json_lacks_are_text() -> None:
    column = pa.array([math.nan, math.inf, -math.inf, 1.5, 2.0])
    found = [
        json.loads(line)["d"]
        for line in bytes(json_lines(ColumnBatch({"d": column}, 5))).splitlines()
    ]
    assert list(map(type, found)) == [str, str, str, float, float]
    assert [math.isnan(float(found[0])), *map(float, found[1:])] == [
        True, math.inf, -math.inf, 1.5, 2.0,
    ]  # fmt: skip


@pytest.mark.parametrize("columns", [{}, {"a": pa.nulls(2, pa.int64())}])
def test_rows_without_a_value_are_lines_too(columns: dict[str, Any]) -> None:
    assert bytes(json_lines(ColumnBatch(columns, 2))) == b"{}\n{}\n"


def test_names_of_columns_are_escaped() -> None:
    found = json.loads(bytes(json_lines(ColumnBatch({'a"\\': pa.array(["x"])}, 1))))
    assert found == {'a"\\': "x"}
