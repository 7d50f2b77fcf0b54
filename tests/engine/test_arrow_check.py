"""Rows of Arrow tables that their columns would not give back leave the table, all others stay."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import dlt
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from millstream.engine.arrow_check import ArrowCheck
from millstream.quarantine import envelope

CAPS = dlt.destinations.duckdb().capabilities()
NORMALIZE = dlt.Schema("unit").naming.normalize_identifier


def checked(
    table: Any, columns: dict[str, Any], *, exact: bool = True
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The rows that stay; and those that left, as JSON, with what is wrong."""
    named = {name: {"name": name, **column} for name, column in columns.items()}
    check = ArrowCheck(lambda _: "orders", lambda _: named, NORMALIZE, CAPS, is_exact=exact)
    rows: list[dict[str, Any]] = []
    left: dict[str, str] = {}
    for part in check(table):
        if isinstance(part, pa.Table):
            rows += part.to_pylist()
        else:
            assert envelope.is_one(part)
            inside = part[envelope.KEY]
            text = json.dumps(part["row"], default=str, separators=(",", ":"))
            left[text] = inside["refused"]
    return rows, left


@pytest.mark.parametrize("precision", [8, 16, 32, 64, None])
@given(values=st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=8))
@example(values=[2**31, 2**31 - 1, -(2**31), -(2**31) - 1, 2**15, -(2**15) - 1, 127, -129])
def test_integers_of_more_bits_than_the_column(precision: int | None, values: list[Any]) -> None:
    column = {"data_type": "bigint", "precision": precision}
    bits = precision or 64
    good = [v for v in values if v is None or -(2 ** (bits - 1)) <= v < 2 ** (bits - 1)]
    rows, left = checked(pa.table({"n": pa.array(values, pa.int64())}), {"n": column})
    assert [row["n"] for row in rows] == good
    assert [json.loads(text)["n"] for text in left] == [
        *dict.fromkeys(v for v in values if v not in good)
    ]
    assert all(detail == f"`n`: more than {bits} bits" for detail in left.values())


def test_unsigned_integers_beyond_the_sign_leave() -> None:
    values = pa.array([1, 2**63 - 1, 2**63], pa.uint64())
    rows, left = checked(pa.table({"n": values}), {"n": {"data_type": "bigint"}})
    assert [row["n"] for row in rows] == [1, 2**63 - 1]
    assert len(left) == 1


@given(st.lists(st.none() | st.floats(allow_nan=False) | st.integers(-9, 9).map(float), max_size=6))
def test_doubles_enter_integers_only_if_they_are_whole(values: list[Any]) -> None:
    def fits(value: Any) -> bool:
        return value is None or (value.is_integer() and abs(value) < 2**63 and str(value) != "-0.0")

    rows, left = checked(
        pa.table({"n": pa.array(values, pa.float64())}), {"n": {"data_type": "bigint"}}
    )
    assert [row["n"] for row in rows] == [v for v in values if fits(v)]
    assert len(left) == len({repr(v) for v in values if not fits(v)})


@pytest.mark.parametrize(
    ("array", "column", "good", "detail"),
    [
        (
            pa.array(["ab", "äöü", "abcd", None]),
            {"data_type": "text", "precision": 3},
            ["ab", "äöü", None],
            "`n`: more than 3 characters",
        ),
        (
            pa.array([b"ab", b"abcd"]),
            {"data_type": "binary", "precision": 3},
            [b"ab"],
            "`n`: more than 3 bytes",
        ),
        (
            pa.array([Decimal("1.50"), Decimal("1.55")], pa.decimal128(5, 2)),
            {"data_type": "decimal", "precision": 4, "scale": 1},
            [Decimal("1.5")],
            None,
        ),
        (pa.array(["5", "x"]), {"data_type": "bigint"}, [], None),
    ],
)
def test_values_of_more_digits_than_the_column(
    array: Any, column: Any, good: list[Any], detail: str | None
) -> None:
    rows, left = checked(pa.table({"n": array}), {"n": column})
    assert [row["n"] for row in rows] == good
    assert len(left) == len(array) - len(good)
    if detail:
        assert set(left.values()) == {detail}


def test_nanoseconds_are_not_cut() -> None:
    array = pa.array([1_000, 1_001, None], pa.timestamp("ns", "UTC"))
    rows, left = checked(pa.table({"t": array, "k": [1, 2, 3]}), {"t": {"data_type": "timestamp"}})
    assert [row["k"] for row in rows] == [1, 3]
    ((text, detail),) = left.items()
    assert json.loads(text) == {"t": "1970-01-01 00:00:00.000001001", "k": 2}
    assert detail == "`t`: more than 6 digits of a second"


@pytest.mark.parametrize(
    ("array", "column", "becomes"),
    [
        (pa.array([5], pa.int16()), {"data_type": "bigint"}, pa.int64()),
        (pa.array([5], pa.int64()), {"data_type": "bigint", "precision": 16}, pa.int16()),
        (pa.array([200], pa.uint8()), {"data_type": "bigint", "precision": 16}, pa.int16()),
        (pa.array([200], pa.uint8()), {}, pa.int16()),
        (pa.array([5], pa.uint64()), {}, pa.int64()),
        (pa.array([b"ab"], pa.binary(2)), {"data_type": "binary"}, pa.binary()),
        (pa.array([5], pa.timestamp("s")), {}, pa.timestamp("us")),
        (pa.array([5], pa.timestamp("s", "UTC")), {"data_type": "timestamp"}, "us"),
        (pa.array([5000], pa.timestamp("us")), {"data_type": "timestamp", "precision": 3}, "ms"),
        (pa.array([5], pa.time32("s")), {}, pa.time64("us")),
        (pa.array([Decimal("1.5")]), {"data_type": "decimal"}, pa.decimal128(38, 9)),
    ],
)
def test_a_table_takes_the_size_of_its_column(array: Any, column: Any, becomes: Any) -> None:
    """dlt would give the column the size of the table that came last."""
    named = {"n": {"name": "n", **column}}
    check = ArrowCheck(lambda _: "orders", lambda _: named, NORMALIZE, CAPS, is_exact=True)
    (table,) = check(pa.table({"n": array}))
    kind = table.schema.field("n").type
    assert becomes in (kind, getattr(kind, "unit", None))
    assert table.column("n").cast(array.type).to_pylist() == array.to_pylist()


@pytest.mark.parametrize("kind", [pa.timestamp("us", "UTC"), pa.timestamp("us"), pa.time64("us")])
def test_digits_of_a_second_beyond_the_column_leave(kind: Any) -> None:
    """PostgreSQL would round them in silence."""
    data_type = "time" if pa.types.is_time(kind) else "timestamp"
    column = {"data_type": data_type, "precision": 0}
    table = pa.table({"t": pa.array([1_000_000, 1_000_001, None], kind), "k": [1, 2, 3]})
    rows, left = checked(table, {"t": column})
    assert [row["k"] for row in rows] == [1, 3]
    assert list(left.values()) == ["`t`: more than 0 digits of a second"]


@pytest.mark.parametrize("exact", [True, False])
def test_rows_without_a_key_leave(exact: bool) -> None:
    columns = {"id": {"data_type": "bigint", "primary_key": True}, "x": {"data_type": "text"}}
    rows, left = checked(pa.table({"Id": [1, None], "x": ["a", "b"]}), columns, exact=exact)
    assert rows == [{"Id": 1, "x": "a"}]
    assert left == {'{"Id":null,"x":"b"}': "`id`, which may not be null, is missing"}
    rows, left = checked(pa.table({"x": ["a", "b"]}), columns, exact=exact)
    assert (rows, len(left)) == ([], 2)


def test_what_is_not_arrow_passes() -> None:
    check = ArrowCheck(str, lambda _: {}, NORMALIZE, CAPS, is_exact=True)
    for item in ({"a": 1}, [{"a": 1}], [], "text"):
        assert check(item) is item
    table, batch = pa.table({"a": [1]}), pa.record_batch({"a": [2]})
    assert [part.to_pylist() for part in check([table, batch])] == [[{"a": 1}], [{"a": 2}]]
