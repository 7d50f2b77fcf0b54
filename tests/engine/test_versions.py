"""Which of several rows with one key is loaded, against a plain loop over the rows."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dlt
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.engine.versions import (
    FileVersions,
    RowKey,
    confirm_outdated,
    file_versions,
    find_outdated,
    leave_out_of_parquet,
    outdated_rows,
    row_key,
)

LOAD = "1.5"
keys = st.none() | st.integers(0, 3)
files_of_rows = st.lists(
    st.lists(st.fixed_dictionaries({"id": keys, "at": keys}), max_size=8), min_size=1, max_size=3
)


def table_of(strategy: str = "delete-insert", sort: str | None = None, **hints: Any) -> Any:
    columns: dict[str, Any] = {"id": {"data_type": "bigint"}, "at": {"data_type": "bigint"}}
    if sort:
        columns["at"]["dedup_sort"] = sort
    disposition = {"disposition": "merge", "strategy": strategy}
    hints = {"write_disposition": disposition, "primary_key": "id", **hints}
    return dlt.resource([], name="orders", columns=columns, **hints).compute_table_schema()


def winners(files: list[Any], sort: str | None, *, nulls_match: bool) -> list[list[bool]]:
    """Whether each row is loaded: of equal keys the last one, or the one of the best `at`."""
    best: dict[Any, tuple[Any, tuple[int, int]]] = {}
    rows = [(f, n, row) for f, file in enumerate(files) for n, row in enumerate(file)]
    for f, n, row in rows:
        rank = 0
        if sort and row["at"] is not None:
            rank = row["at"] + 1 if sort == "desc" else 1000 - row["at"]
        if row["id"] not in best or rank >= best[row["id"]][0]:
            best[row["id"]] = (rank, (f, n))
    keep = [[False] * len(file) for file in files]
    for f, n, row in rows:
        is_apart = row["id"] is None and not nulls_match
        keep[f][n] = is_apart or best[row["id"]][1] == (f, n)
    return keep


@settings(max_examples=40)
@given(
    files_of_rows,
    st.sampled_from([None, "desc", "asc"]),
    st.sampled_from(["delete-insert", "upsert"]),
    st.booleans(),
)
def test_one_row_a_key_is_loaded(
    files: list[Any], sort: str | None, strategy: str, in_columns: bool
) -> None:
    table = table_of(strategy, sort)
    names = [f"orders.{number}.typed-jsonl" for number in range(len(files))]
    expected = winners(files, sort, nulls_match=strategy == "delete-insert")
    with TemporaryDirectory() as folder:
        working = Path(folder)
        for name, rows in zip(names, files):
            noted = file_versions(table, str(working / "load"), LOAD, name)
            assert noted is not None
            assert noted.notes
            if in_columns:
                columns = {c: pa.array([r[c] for r in rows], pa.int64()) for c in ("id", "at")}
                noted.note_columns(columns, len(rows))
            else:
                noted.note_rows(rows)
            noted.save()
        found = find_outdated(
            working, LOAD, {"orders": table}, names, replaced=False, arrow_files={}
        )

        assert found == (not all(map(all, expected)))
        if found:
            confirm_outdated(working, LOAD)
        for name, rows, keep in zip(names, files, expected):
            again = file_versions(table, str(working / "load"), LOAD, name)
            assert again is not None
            if not found:
                continue
            half = len(rows) // 2
            assert again.has_outdated(half) == (not all(keep[:half]))
            assert again.current(half) + again.current(len(rows) - half) == keep
        lost = sum(not each for keep in expected for each in keep)
        assert outdated_rows(working, [LOAD]) == ({"orders": lost} if lost else {})


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (table_of(), RowKey(("id",))),
        (table_of(sort="asc"), RowKey(("id",), sort="at", descending=False)),
        (table_of("upsert", sort="desc"), RowKey(("id",), sort="at", nulls_match=False)),
        (table_of("insert-only"), RowKey(("id",), first=True, nulls_match=False)),
        (table_of("scd2"), RowKey(("_dlt_id",), nulls_match=False)),
        (table_of(write_disposition="append"), None),
        (table_of(write_disposition="replace"), None),
        (table_of(primary_key=None), None),
    ],
)
def test_the_key_follows_the_tables_schema(table: Any, expected: RowKey | None) -> None:
    assert row_key(table) == expected


def test_tables_that_are_replaced_have_a_key_where_asked() -> None:
    table = table_of(write_disposition="replace")
    assert row_key(table, replaced=True) == RowKey(("id",))
    assert row_key({**table, "parent": "customers"}, replaced=True) is None


def test_keys_of_several_columns_count_together(tmp_path: Path) -> None:
    table = table_of(primary_key=["id", "at"])
    noted = FileVersions(RowKey(("id", "at")), tmp_path / "engine" / LOAD / "keys" / "f.arrow", "t")
    rows = [{"id": 1, "at": 2}, {"id": 2, "at": 1}, {"id": 1, "at": 2}, {"id": 1}, {"id": 1}]
    noted.note_rows(rows)
    noted.save()
    assert find_outdated(tmp_path, LOAD, {"t": table}, ["f"], replaced=False, arrow_files={})
    confirm_outdated(tmp_path, LOAD)
    found = np.load(tmp_path / "engine" / LOAD / "outdated" / "f.npy")
    assert found.tolist() == [0, 3]


def test_rows_that_lost_leave_a_parquet_file(tmp_path: Path) -> None:
    path = tmp_path / "orders.1.parquet"
    pq.write_table(pa.table({"id": [1, 2, 1], "x": ["old", "b", "new"]}), path)
    files = {"orders": [path]}
    tables = {"orders": table_of()}
    assert find_outdated(tmp_path, LOAD, tables, [path.name], replaced=False, arrow_files=files)
    confirm_outdated(tmp_path, LOAD)
    leave_out_of_parquet(tmp_path, LOAD, path)
    assert pq.read_table(path).to_pylist() == [{"id": 2, "x": "b"}, {"id": 1, "x": "new"}]


def test_a_refused_version_outdates_none_and_may_be_outdated(tmp_path: Path) -> None:
    """`+` lands, `-` goes to quarantine; -0.0 is the key 0.0."""
    noted = FileVersions(RowKey(("id",)), tmp_path / "engine" / LOAD / "keys" / "f.arrow", "orders")
    versions = [
        ("-", 1.0), ("+", 2.0), ("+", 0.0), ("-", 3.0), ("+", 1.0), ("-", 2.0), ("+", -0.0),
        ("-", 3.0), ("-", None), ("-", 2.0),
    ]  # fmt: skip
    for mark, key in versions:
        if mark == "+":
            noted.note_rows([{"id": key}])
        else:
            noted.note_refused({"id": key})
        noted.passed(1)
    noted.save()
    tables = {"orders": table_of()}
    assert find_outdated(tmp_path, LOAD, tables, ["f"], replaced=False, arrow_files={})
    confirm_outdated(tmp_path, LOAD)
    assert np.load(tmp_path / "engine" / LOAD / "outdated" / "f.npy").tolist() == [0, 2]
