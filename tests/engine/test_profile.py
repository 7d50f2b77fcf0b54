from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import dlt
import pyarrow as pa
import pytest

from millstream.config import TargetConfig
from millstream.engine.column_batch import ColumnBatch
from millstream.engine.profile import Profile
from millstream.runs.runner import run_data


def distinct(*batches: list[str | None]) -> int:
    profile = Profile()
    for values in batches:
        profile.add("t", ColumnBatch({"c": pa.array(values, pa.string())}, len(values)))
    return profile.columns()["t"]["c"].distinct


SOME = [f"v{n}" for n in range(40)]


@pytest.mark.parametrize(
    "batches",
    [
        pytest.param([[None] * 100, SOME], id="a longer batch has none"),
        # every 32nd value of 4,096 is looked at
        pytest.param([[v for each in SOME for v in (None, each)] + [None] * 4016], id="few"),
        pytest.param([[None] * 4096] * 17 + [SOME], id="they come late"),
    ],
)
def test_values_among_nulls_are_counted(batches: list[list[str | None]]) -> None:
    assert distinct(*batches) == 40


@pytest.mark.parametrize("first", [True, False], ids=["value first", "value last"])
def test_a_key_counts_while_it_is_only_null(first: bool, tmp_path: Path) -> None:
    """Twelve pages of rows with the key, of which one has a value, on the first or last page."""
    where = 0 if first else 11

    def pages() -> Iterator[list[dict[str, Any]]]:
        for page in range(12):
            yield [{"id": n, "at": "now" if (page, n) == (where, 5) else None} for n in range(100)]

    report = run_data(
        dlt.resource(pages, name="tickets"), TargetConfig(name="shop", project=tmp_path)
    )
    seen = report.schema.table["tickets"].column["at"].profile
    assert seen is not None
    assert (seen.rows, seen.present, seen.nulls) == (1200, 1200, 1199)


ROWS: list[dict[str, Any]] = [
    {
        "id": n,
        "at": "2024-01-01T00:00:00Z" if n % 2 else None,
        "price": n / 4,
        "ok": n % 3 == 0,
        "blob": bytes([n % 256]),
        "never": None,
        "user": {"login": f"u{n}"} if n % 5 else None,
        "labels": [{"name": f"label {n}", "color": None}] if n % 4 == 0 else [],
        **({"rare": "x" * n} if n % 10 == 0 else {}),
    }
    for n in range(120)
]


def profiles(data: Any, project: Path) -> tuple[Any, Mapping[str, int]]:
    report = run_data(data, TargetConfig(name="shop", project=project))
    return (
        {
            # the ids of the rows that hold a list are random
            (table.name, column.name): column.profile
            if column.name != "_dlt_list_idx" or column.profile is None
            else replace(column.profile, sketch=(len(column.profile.sketch),))
            for table in report.schema.tables
            for column in table.columns
            if not column.name.startswith("_dlt_") or column.name == "_dlt_list_idx"
        },
        report.engine_rows,
    )


def test_it_is_the_same_by_dlts_own_normalizer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, by = profiles(dlt.resource(ROWS, name="tickets"), tmp_path / "ours")
    assert by == {"millstream": len(ROWS)}
    monkeypatch.setenv("MILLSTREAM_ENGINE", "dlt")
    theirs, by = profiles(dlt.resource(ROWS, name="tickets"), tmp_path / "theirs")
    assert by == {"dlt": len(ROWS)}
    assert theirs == ours
    assert ours["tickets", "at"].present == 120
    assert ours["tickets", "rare"].present == 12
    lists = ours["tickets__labels", "_dlt_list_idx"]
    assert (lists.present, lists.sketch, lists.distinct) == (30, (30,), None)


def test_rows_of_both_ways_count_in_one(tmp_path: Path) -> None:
    unlike = {"id": 120, "Rare": "a", "rare": "b", "at": None}  # two keys for one column
    found, by = profiles(dlt.resource([*ROWS, unlike], name="tickets"), tmp_path)
    assert by["dlt"] > 0
    assert by["millstream"] > 0
    assert found["tickets", "at"].rows == 121
    assert found["tickets", "at"].present == 121
    assert found["tickets", "at"].nulls == 61
    assert found["tickets", "rare"].present == 13


@pytest.mark.parametrize("kind", ["arrow", "pandas", "polars"])
def test_tables_and_frames_are_counted(kind: str, tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": range(120),
            "Some Name": pa.array([None, "é"] * 60, pa.large_string()),
            "kind": pa.array(["a", None, "b"] * 40).dictionary_encode(),
            "none": pa.nulls(120, pa.string()),
            "price": pa.array([0.5, None] * 60),
        }
    )
    data: Any = table
    if kind == "pandas":
        data = pytest.importorskip("pandas") and table.to_pandas()
    elif kind == "polars":
        data = pytest.importorskip("polars").from_arrow(table)
    found, by = profiles(dlt.resource([data], name="tickets"), tmp_path)
    assert by == {"arrow": 120}
    name = found["tickets", "some_name"]
    assert (name.rows, name.present, name.nulls, name.longest) == (120, 120, 60, 1)
    assert found["tickets", "kind"].nulls == 40
    assert (found["tickets", "id"].minimum, found["tickets", "id"].maximum) == (0, 119)
    assert found["tickets", "price"].distinct == 1
