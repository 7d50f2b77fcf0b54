"""The laws of the table that says which column takes a value of which type."""

from __future__ import annotations

import datetime
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from millstream.engine.coercion_rules import (
    RULES,
    ColumnLimits,
    InexactError,
    MisfitError,
    coerce,
)

SMALL = st.integers(-(2**53) - 3, 2**53 + 3)
DECIMALS = st.decimals(allow_nan=True, allow_infinity=True, places=None)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": st.text(max_size=6) | st.sampled_from(["5", "true", "NaN", "2020", "1.50", "0x1F"]),
    "bigint": st.integers(-(2**66), 2**66) | SMALL,
    "double": st.floats() | SMALL.map(float),
    "decimal": DECIMALS | st.floats(allow_nan=False, allow_infinity=False).map(Decimal),
    "wei": st.integers(0, 2**120).map(Decimal),
    "bool": st.booleans(),
    "binary": st.binary(max_size=4),
    "timestamp": st.datetimes(timezones=st.just(datetime.timezone.utc)),
    "date": st.dates(),
    "time": st.times(),
    "json": st.lists(st.integers()),
}
NUMBERS = ("bigint", "double", "decimal", "wei")
LIMITS = [
    ColumnLimits(texts="either"),
    ColumnLimits(bits=16, digits=(10, 2), fraction=3, texts="utc"),
    ColumnLimits(digits=(76, 0), texts="local"),
]
TYPES = st.sampled_from(sorted(VALUES))


@st.composite
def typed(draw: Any) -> tuple[str, Any]:
    data_type = draw(TYPES)
    return data_type, draw(VALUES[data_type])


@given(typed(), TYPES, st.sampled_from(LIMITS))
@example(("decimal", Decimal("sNaN")), "wei", LIMITS[0])
@example(("decimal", Decimal("sNaN")), "double", LIMITS[0])
def test_a_column_gives_back_what_it_takes(one: Any, wanted: str, limits: ColumnLimits) -> None:
    kind, value = one
    try:
        held = coerce(wanted, kind, value, limits)
    except (InexactError, MisfitError):
        return
    if wanted == kind:
        assert held is value or held == value
    elif kind == "text":
        assert wanted in ("timestamp", "date", "time")
        assert held.isoformat().startswith(value[:10].replace(" ", "T"))
    else:
        assert {wanted, kind} <= {*NUMBERS}
        assert held == value
        assert str(held).startswith("-") == str(value).startswith("-")


@given(typed())
def test_each_type_takes_itself(one: tuple[str, Any]) -> None:
    kind, value = one
    limits = ColumnLimits(digits=(10_000, 5_000), bits=128)
    if not (isinstance(value, Decimal) and not value.is_finite()):
        held = coerce(kind, kind, value, limits)
        assert held == value or (isinstance(value, float) and math.isnan(value))


@given(typed(), TYPES)
def test_refusals_do_not_depend_on_what_came_before(one: tuple[str, Any], wanted: str) -> None:
    def outcome() -> Any:
        try:
            return repr(coerce(wanted, *one, LIMITS[0]))
        except ValueError as error:
            return str(error)

    assert outcome() == outcome()


def test_only_numbers_times_and_lengths_are_in_the_table() -> None:
    for wanted, kind in RULES:
        is_number = {wanted, kind} <= {*NUMBERS}
        is_time = wanted in ("timestamp", "date", "time") and kind in (wanted, "text")
        is_length = wanted == kind and kind in ("text", "binary")
        assert is_number or is_time or is_length, (wanted, kind)


@pytest.mark.parametrize(
    ("wanted", "kind", "value"),
    [
        ("bigint", "text", "02139"),
        ("bigint", "bool", True),
        ("bigint", "double", 1.5),
        ("bigint", "double", -0.0),
        ("bigint", "double", 2.0e19),
        ("bigint", "decimal", Decimal("NaN")),
        ("double", "bigint", 2**53 + 1),
        ("double", "bigint", 10**400),
        ("double", "decimal", Decimal("0.1")),
        ("double", "text", "NaN"),
        ("decimal", "double", 0.1 + 0.2),
        ("decimal", "double", math.nan),
        ("decimal", "text", "1"),
        ("bool", "bigint", 1),
        ("bool", "text", "no"),
        ("text", "bigint", 5),
        ("text", "binary", b"x"),
        ("text", "json", {}),
        ("binary", "text", "word"),
        ("json", "text", "{}"),
        ("timestamp", "bigint", 5),
        ("timestamp", "date", datetime.date(2024, 1, 1)),
        ("date", "timestamp", datetime.datetime(2024, 1, 1)),
        ("timestamp", "text", "2020"),
        ("timestamp", "text", "2024-01-01"),
        ("timestamp", "text", "2024-01-01T00:00:00+02:00"),
        ("timestamp", "text", "2024-01-01T00:00:00-00:00"),
        ("timestamp", "text", "2024-01-01T00:00:00.123456789Z"),
        ("timestamp", "text", "2024-02-30T00:00:00Z"),
        ("timestamp", "text", "2024-01-01T00:00:60Z"),
        ("timestamp", "text", "٢٠٢٤-01-01T00:00:00Z"),
    ],
)
def test_what_no_column_gives_back(wanted: str, kind: str, value: Any) -> None:
    with pytest.raises(InexactError):
        coerce(wanted, kind, value, LIMITS[0])


@pytest.mark.parametrize(
    ("kind", "value", "limits"),
    [
        ("decimal", Decimal("5.555"), ColumnLimits(digits=(10, 2))),
        ("decimal", Decimal("123456789.00"), ColumnLimits(digits=(10, 2))),
        ("decimal", Decimal("Infinity"), ColumnLimits()),
        ("bigint", 2**63, ColumnLimits()),
        ("bigint", 2**15, ColumnLimits(bits=16)),
        ("timestamp", datetime.datetime(2024, 1, 1, 0, 0, 0, 1), ColumnLimits(fraction=3)),
    ],
)
def test_more_digits_than_the_column_holds(kind: str, value: Any, limits: ColumnLimits) -> None:
    with pytest.raises(MisfitError):
        coerce(kind, kind, value, limits)


@pytest.mark.parametrize(
    ("wanted", "kind", "value", "held"),
    [
        ("double", "bigint", 5, 5.0),
        ("double", "bigint", 2**60, float(2**60)),
        ("bigint", "double", 2.0, 2),
        ("decimal", "decimal", Decimal("5.550"), Decimal("5.55")),
        ("decimal", "double", 0.5, Decimal("0.5")),
        ("double", "decimal", Decimal("0.50"), 0.5),
        (
            "timestamp",
            "text",
            "2024-01-01 10:00:00.5+00:00",
            datetime.datetime(2024, 1, 1, 10, 0, 0, 500000, datetime.timezone.utc),
        ),
    ],
)
def test_what_a_column_gives_back(wanted: str, kind: str, value: Any, held: Any) -> None:
    found = coerce(wanted, kind, value, LIMITS[0])
    assert (found, type(found)) == (held, type(held))


@pytest.mark.parametrize(("texts", "taken"), [("none", 0), ("utc", 1), ("local", 1), ("either", 2)])
def test_the_texts_that_a_column_of_times_takes(texts: Any, taken: int) -> None:
    found = 0
    for text in ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00"):
        try:
            held = coerce("timestamp", "text", text, ColumnLimits(texts=texts))
        except InexactError:
            continue
        found += 1
        assert (held.tzinfo is not None) == text.endswith("Z")
    assert found == taken
