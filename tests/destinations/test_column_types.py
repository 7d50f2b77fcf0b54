"""Columns that are declared anew: another type is taken only where no value would change."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from millstream.destinations.column_types import _holds, declared_anew
from millstream.model import Column


def column(name: str, kind: str, precision: int | None = None, scale: int | None = None) -> Any:
    return {"name": name, "data_type": kind, "precision": precision, "scale": scale}


def test_columns_whose_type_was_declared_anew() -> None:
    before = {
        "same": column("same", "decimal", 10, 2),
        "kind": column("kind", "bigint"),
        "size": column("size", "text", 5),
        "scale": column("scale", "decimal", 10, 2),
        "gone": column("gone", "text"),
        "untyped": {"name": "untyped"},
    }
    now = {
        "same": {**column("same", "decimal", 10, 2), "nullable": False},
        "kind": column("kind", "double"),
        "size": column("size", "text"),
        "scale": column("scale", "decimal", 10, 3),
        "untyped": column("untyped", "text"),
        "new": column("new", "text"),
    }
    found = list(declared_anew({"name": "t", "columns": before}, {"name": "t", "columns": now}))
    assert [(table, new["name"]) for table, _, new in found] == [
        ("t", "kind"), ("t", "size"), ("t", "scale"),
    ]  # fmt: skip
    assert all(old is before[new["name"]] for _, old, new in found)


sizes = st.integers(1, 38).flatmap(
    lambda digits: st.tuples(st.just(digits), st.integers(0, digits))
)


def largest(precision: int, scale: int) -> Decimal:
    return Decimal(10**precision - 1).scaleb(-scale)


@given(sizes, sizes)
def test_a_decimal_holds_another_if_it_holds_its_extremes(
    one: tuple[int, int], another: tuple[int, int]
) -> None:
    """The number of all nines needs each digit, and the smallest one each place."""
    (precision, scale), needed = one, largest(*another)
    smallest = Decimal(1).scaleb(-another[1])
    fits = needed <= largest(precision, scale) and smallest >= Decimal(1).scaleb(-scale)
    column, other = (Column("n", "decimal", precision=p, scale=s) for p, s in (one, another))
    # a number whose every digit is a place has none before its point
    assume(another[0] > another[1] or scale >= another[1])
    assert _holds(column, other) == fits
    assert _holds(column, column)


@given(sizes)
def test_a_decimal_holds_integers_if_it_has_their_digits(size: tuple[int, int]) -> None:
    precision, scale = size
    column = Column("n", "decimal", precision=precision, scale=scale)
    assert _holds(column, Column("n", "bigint")) == (largest(precision - scale, 0) >= 2**63 - 1)


@pytest.mark.parametrize(
    ("column", "other", "holds"),
    [
        (("text", None), ("bigint", None), True),
        (("text", 20), ("bigint", None), False),
        (("text", None), ("binary", None), False),
        (("text", None), ("text", 5), True),
        (("text", 5), ("text", 4), True),
        (("text", 5), ("text", None), False),
        (("text", 5), ("text", 6), False),
        (("bigint", None), ("bigint", 32), True),
        (("bigint", 32), ("bigint", None), False),
        (("double", None), ("bigint", None), False),
        (("bigint", None), ("double", None), False),
        (("timestamp", None), ("date", None), False),
        (("bool", None), ("bool", None), True),
    ],
)
def test_types_that_hold_others(column: Any, other: Any, holds: bool) -> None:
    one, another = (Column("c", kind, precision=size) for kind, size in (column, other))
    assert _holds(one, another) == holds
