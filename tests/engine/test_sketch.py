"""Sketches: the same for the same values, however they come; checked by counting with Python."""

from __future__ import annotations

import doctest
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from millstream.engine import sketch
from millstream.engine.sketch import SIZE, hash_values, smallest


def hashes(values: list[Any], kind: pa.DataType | None = None) -> list[int]:
    array = pa.array(values, kind, from_pandas=False)
    return [int(each) for each in hash_values(array)]


def test_the_example_in_the_docstring() -> None:
    result = doctest.testmod(sketch)
    assert result.attempted == 1
    assert result.failed == 0


@settings(deadline=None)
@given(st.lists(st.text(max_size=60), max_size=300))
@example(["", "0"])
def test_texts_of_48_bytes_differ_and_equal_ones_agree(values: list[str]) -> None:
    values = [value for value in values if len(value.encode("utf-8", "ignore")) <= 48]
    values = [value for value in values if value.isprintable()]
    found = set(hashes(values, pa.string()))
    assert len(found) == len(set(values))


@settings(deadline=None)
@given(
    st.lists(st.text(max_size=9), min_size=1, max_size=40),
    st.randoms(use_true_random=False),
    st.integers(0, 40),
)
def test_order_repeats_and_batches_change_nothing(values: list[str], dice: Any, cut: int) -> None:
    values = [value for value in values if value.isprintable()]
    other = [*values, *values[:5]]
    dice.shuffle(other)
    together = smallest((), hash_values(pa.array(values, pa.string())))
    parts = smallest((), hash_values(pa.array(other[:cut], pa.string())))
    assert smallest(parts, hash_values(pa.array(other[cut:], pa.string()))) == together


@pytest.mark.parametrize(
    "values", [[1, 2], [1.0, 2.0], [Decimal("1.00"), Decimal("2.00")], ["1", "2"]]
)
def test_a_whole_number_has_one_hash_in_every_type(values: list[Any]) -> None:
    assert hashes(values) == hashes([1, 2], pa.int64())


@pytest.mark.parametrize(
    "kind",
    [
        pa.date32(),
        pa.date64(),
        pa.time32("s"),
        pa.time32("ms"),
        pa.time64("us"),
        pa.timestamp("us"),
        pa.timestamp("ns", "UTC"),
        pa.duration("ms"),
    ],
    ids=str,
)
def test_every_kind_of_time_is_hashed(kind: pa.DataType) -> None:
    steps = [0, 86_400_000, None] if kind == pa.date64() else [0, 1, None]
    assert len(set(hash_values(pa.array(steps, kind)))) == 2


def test_what_is_written_otherwise_is_another_value() -> None:
    texts = ["1", "01", "1.0", "+1", " 1", "-1", "--1", "1" * 19, "", "true"]
    assert len(set(hashes(texts) + hashes([True]) + hashes([0.5]))) == len(texts) + 2


def test_nulls_and_nan_have_none() -> None:
    assert hashes([None, float("nan"), 0.0, -0.0]) == hashes([0, 0], pa.int64())


def test_a_slice_is_hashed_as_what_it_holds() -> None:
    whole = pa.array(["zz", "a", "b", None, "c" * 70])
    assert list(hash_values(whole.slice(1))) == list(hash_values(pa.array(["a", "b", "c" * 70])))


@pytest.mark.parametrize("count", [SIZE - 1, SIZE, 5_000, 100_000])
def test_the_smallest_of_many_are_kept(count: int) -> None:
    array = pa.array([f"value {n}" for n in range(count)])
    found = smallest((), hash_values(array))
    assert list(found) == sorted({int(each) for each in hash_values(array)})[:SIZE]


@pytest.mark.parametrize(
    "kind",
    [
        pa.date32(),
        pa.date64(),
        pa.time32("s"),
        pa.time64("us"),
        pa.timestamp("us", "UTC"),
        pa.timestamp("ns"),
        pa.duration("us"),
        pa.int8(),
        pa.uint64(),
        pa.float32(),
        pa.decimal128(38, 9),
        pa.decimal256(50, 0),
        pa.binary(),
        pa.large_string(),
    ],
    ids=str,
)
def test_each_type_of_a_column_has_hashes(kind: pa.DataType) -> None:
    if pa.types.is_binary(kind) or pa.types.is_large_string(kind):
        array = pa.array(["a", "b", "a", None]).cast(kind)
    elif pa.types.is_temporal(kind):
        whole = pa.int32() if kind.bit_width == 32 else pa.int64()
        array = pa.array([86_400_000, 172_800_000, 86_400_000, None], whole).view(kind)
    else:
        array = pa.array([1, 2, 1, None]).cast(kind)
    assert len(set(hash_values(array).tolist())) == 2
    assert len(hash_values(array.slice(1, 2))) == 2
