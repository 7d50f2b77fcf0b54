"""Whole columns to Arrow: the same values as Python makes of them, or an error."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from millstream.engine.casts import convert

UTC = datetime.timezone.utc
MOMENTS = pa.timestamp("us", "UTC")
WALL_CLOCK = pa.timestamp("us")
two_digits = st.integers(0, 23) | st.integers(0, 99)


def timestamps(*texts: str | None, to: pa.DataType = MOMENTS, form: Any = None) -> list[Any]:
    found: list[Any] = convert("timestamp", frozenset({str}), texts, to, texts=form).to_pylist()
    return found


@given(
    year=st.integers(1000, 2999),
    parts=st.tuples(st.integers(0, 13), st.integers(0, 32), two_digits, two_digits, two_digits),
    fraction=st.none() | st.text("0123456789", min_size=1, max_size=6),
    offset=st.sampled_from(["", "Z", "+00:00", "-00:00"])
    | st.builds("{}{:02}:{:02}".format, st.sampled_from("+-"), two_digits, two_digits),
)
@example(2024, (2, 29, 23, 59, 59), "999999", "+14:00")
@example(2024, (1, 1, 24, 0, 0), None, "Z")
@example(2016, (12, 31, 23, 59, 60), None, "Z")
def test_times_are_those_of_pythons_calendar(
    year: int, parts: tuple[int, ...], fraction: str | None, offset: str
) -> None:
    month, day, hour, minute, second = parts
    text = f"{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
    text += f".{fraction}" if fraction else ""
    text += offset
    micros = int((fraction or "0").ljust(6, "0"))
    try:
        moment = datetime.datetime(year, *parts, micros, UTC)  # type: ignore[arg-type, misc]
        if offset not in ("", "Z"):
            away = datetime.timedelta(hours=int(offset[1:3]), minutes=int(offset[4:]))
            moment = moment - away if offset[0] == "+" else moment + away
            assert int(offset[1:3]) < 24
            assert int(offset[4:]) < 60
    except (ValueError, AssertionError):
        with pytest.raises(ValueError):
            timestamps(text)
        return
    assert timestamps(text) == [moment]
    assert timestamps(text, None, to=WALL_CLOCK) == [moment.replace(tzinfo=None), None]


@pytest.mark.parametrize(
    "texts",
    [
        ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00"),
        ("2024-01-01",),
        ("20240101T000000Z",),
        ("2024-01-01T00:00:00.1234567Z",),
        ("9998-01-01T00:00:00Z",),
        ("2024-01-01T00:00:00Z\n",),
        ("",),
    ],
)
def test_odd_times_take_the_slow_way(texts: tuple[str, ...]) -> None:
    with pytest.raises(ValueError):
        timestamps(*texts)


@pytest.mark.parametrize(
    ("form", "taken"),
    [("utc", ["Z", "+00:00"]), ("local", [""]), ("either", ["Z", "+00:00", ""]), ("none", [])],
)
def test_a_column_takes_times_of_its_form_alone(form: str, taken: list[str]) -> None:
    found = []
    for offset in ("Z", "+00:00", "", "+02:00"):
        try:
            (value,) = timestamps(f"2024-05-01 10:00:00{offset}", form=form)
        except (ValueError, KeyError):
            continue
        assert value == datetime.datetime(2024, 5, 1, 10, tzinfo=UTC)
        found.append(offset)
    assert found == taken


@given(st.lists(st.none() | st.integers() | st.floats(allow_nan=False), min_size=1, max_size=5))
def test_integers_enter_doubles_as_python_rounds_them(values: list[Any]) -> None:
    kinds = frozenset(map(type, values)) - {type(None)}
    if not kinds:
        return
    expected = [None if value is None else float(value) for value in values]
    assert convert("double", kinds, values, pa.float64()).to_pylist() == expected
    is_exact = all(value is None or float(value) == value for value in values)
    try:
        found = convert("double", kinds, values, pa.float64(), is_exact=True).to_pylist()
    except ValueError:
        assert any(type(value) is int and abs(value) > 2**53 for value in values)
    else:
        assert is_exact
        assert found == expected


@pytest.mark.parametrize(
    ("data_type", "value", "to"),
    [
        ("text", "é\0", pa.string()),
        ("bool", False, pa.bool_()),
        ("bigint", -(2**63), pa.int64()),
        ("date", datetime.date(1, 1, 1), pa.date32()),
        ("time", datetime.time(23, 59, 59, 999999), pa.time64("us")),
        ("decimal", Decimal("-1.500000000"), pa.decimal128(38, 9)),
        ("binary", b"\0\xff", pa.binary()),
        ("timestamp", datetime.datetime(2024, 1, 1, 5, tzinfo=UTC), MOMENTS),
    ],
)
def test_a_type_holds_its_own_values_and_null(data_type: str, value: Any, to: Any) -> None:
    array = convert(data_type, frozenset({type(value)}), [None, value], to)
    assert array.type == to
    assert array.to_pylist() == [None, value]


@pytest.mark.parametrize(
    ("data_type", "value", "to"),
    [
        ("text", 1, pa.string()),
        ("bigint", True, pa.int64()),
        ("bigint", 1.0, pa.int64()),
        ("bool", 1, pa.bool_()),
        ("date", "2024-01-01", pa.date32()),
        ("timestamp", datetime.datetime(2024, 1, 1, tzinfo=UTC), pa.timestamp("ns", "UTC")),
    ],
)
def test_other_types_have_no_fast_way(data_type: str, value: Any, to: Any) -> None:
    with pytest.raises(KeyError):
        convert(data_type, frozenset({type(value)}), [value], to)


def test_moments_of_any_zone_are_stored_in_utc() -> None:
    zone = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
    moment = datetime.datetime(2024, 1, 1, 2, tzinfo=zone)
    found = convert("timestamp", frozenset({datetime.datetime}), [moment], WALL_CLOCK)
    assert found.to_pylist() == [datetime.datetime(2023, 12, 31, 20, 30)]
