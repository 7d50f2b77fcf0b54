"""Files for COPY: what PostgreSQL reads from them is what was written."""

from __future__ import annotations

import io
import json
from typing import Any

import dlt
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from millstream.engine.column_batch import ColumnBatch
from millstream.engine.copy_writer import CopyWriter
from millstream.formats import copy_files
from millstream.formats.copy_files import NUL_SIGN

COLUMNS: dict[str, Any] = {
    "n": {"name": "n", "data_type": "bigint"},
    "t": {"name": "t", "data_type": "text"},
    "b": {"name": "b", "data_type": "binary"},
    "j": {"name": "j", "data_type": "json"},
}
documents = st.recursive(
    st.none() | st.text('a\0\\u0"', max_size=8),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text("a\0\\", max_size=3), inner)
    ),
)
rows_of_all_types = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "n": st.none() | st.integers(-(2**63), 2**63 - 1),
            "t": st.none() | st.text(max_size=8) | st.text('",\n\r\0\\N x', max_size=8),
            "b": st.none() | st.binary(max_size=5),
            "j": documents.map(lambda each: {"d": each}),
        },
    ),
    min_size=1,
    max_size=6,
)


def written(*items: Any) -> bytes:
    file = io.BytesIO()
    writer = CopyWriter(file, dlt.destinations.postgres().capabilities())
    writer.write_header(COLUMNS)
    writer.write_data(items)
    writer.write_footer()
    writer.close()
    return file.getvalue()


def read(data: bytes) -> list[list[str | None]]:
    """CSV as PostgreSQL reads it: a field without quotes and text is null."""
    file = io.BytesIO(data)
    assert copy_files.columns(file) == list(COLUMNS)
    rows: list[list[str | None]] = []
    row: list[str | None] = []
    text, at = file.read().decode(), 0
    while at < len(text):
        if text[at] == '"':
            value, at = "", at + 1
            while text[at] != '"' or text[at + 1] == '"':
                value += text[at]
                at += 2 if text[at] == '"' else 1
            row.append(value)
            at += 1
        else:
            end = min(found for mark in ",\n" if (found := text.find(mark, at)) >= 0)
            row.append(text[at:end] or None)
            at = end
        if text[at] == "\n":
            rows.append(row)
            row = []
        at += 1
    return rows


def without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", NUL_SIGN)
    if isinstance(value, list):
        return [without_nul(each) for each in value]
    if isinstance(value, dict):
        return {without_nul(key): without_nul(each) for key, each in value.items()}
    return value


@settings(max_examples=40)
@given(rows_of_all_types)
@example([{"t": ""}, {"t": None}, {"t": '"'}, {"t": "\\."}])
@example([{"j": {"d": "\\u0000"}}, {"j": {"d": "\\\0"}}])
def test_postgresql_reads_what_was_written(rows: list[dict[str, Any]]) -> None:
    found = read(written(*rows))
    assert len(found) == len(rows)
    for (n, t, b, j), row in zip(found, rows):
        assert (None if n is None else int(n)) == row.get("n")
        assert t == without_nul(row.get("t"))
        data = row.get("b")
        assert b == (None if data is None else "\\x" + data.hex())
        assert (None if j is None else json.loads(j)) == without_nul(row.get("j"))


def test_rows_columns_and_tables_give_the_same_lines() -> None:
    columns = {"t": pa.array(["a", None, ""]), "n": pa.array([1, 2, None], pa.int64())}
    rows = [{"t": "a", "n": 1}, {"n": 2}, {"t": ""}]
    expected = [["1", "a", None, None], ["2", None, None, None], [None, "", None, None]]
    assert read(written(*rows)) == expected
    assert read(written(ColumnBatch(columns, 3))) == expected
    assert read(written(pa.table(columns))) == expected
    assert read(written(rows[0], ColumnBatch(columns, 3), *rows[1:])) == [
        expected[0], *expected, *expected[1:],
    ]  # fmt: skip


def test_bytes_of_a_slice_are_its_own() -> None:
    array = pa.array([b"\x01", None, b"\xff\x00", b"", b"\x02"], pa.binary())
    batch = ColumnBatch({"b": array.slice(1, 3)}, 3)
    assert [row[2] for row in read(written(batch))] == [None, "\\xff00", "\\x"]


@pytest.mark.parametrize("text", [b"a,b\n1,2\n", b"", b'#millstream {"form": "lines"}\n'])
def test_other_files_are_not_taken_for_these(text: bytes) -> None:
    assert copy_files.columns(io.BytesIO(text)) is None
