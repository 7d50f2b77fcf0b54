"""Columns that somebody gave another type in the destination: no value is changed in silence."""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import pytest

from behaviour.conftest import Load
from millstream.errors import ConfigError, RunError
from services.places import Place

AT = datetime(2024, 1, 1, 12, 30, 0, 123456, tzinfo=timezone.utc)


def row(number: int) -> dict[str, Any]:
    values = {"ratio": number + 0.25, "price": Decimal("1.234567"), "seen": AT, "zip": "02139"}
    return {"id": number, "count": number, **values, "items": [{"weight": 0.5}]}


KINDS = [
    ("orders", "ratio", "BIGINT"),
    ("orders", "price", "NUMERIC(10,2)"),
    ("orders", "seen", "DATE"),
    ("orders", "zip", "INTEGER"),
    ("orders__items", "weight", "REAL"),
]
EACH_TIME = {("duckdb", "ratio"), ("duckdb", "weight"), ("postgres", "price"), ("postgres", "seen")}


@pytest.mark.parametrize(
    ("place", "table", "column", "kind"),
    [
        pytest.param(
            place,
            *kind,
            marks=[
                *([] if place == "duckdb" else [pytest.mark.xdist_group(place)]),
                *([] if (place, kind[1]) in EACH_TIME else [pytest.mark.nightly]),
            ],
        )
        for place in ("duckdb", "postgres")
        for kind in KINDS
    ],
    indirect=["place"],
)
def test_a_type_that_would_change_values_is_refused(
    place: Place, load: Load, table: str, column: str, kind: str
) -> None:
    load([row(1)])
    alter = f"ALTER TABLE {place.from_clause(table)} ALTER COLUMN {column} TYPE "
    place.query(f"{alter}{kind} USING {column}::{kind}")
    with pytest.raises(ConfigError) as error:
        load([row(2)])
    assert f"the column `{column}` of table {table} is " in str(error.value)
    assert place.column("orders", "id") == [1]
    statement = str(error.value.hint).split("back: ")[1].split(";")[0]
    place.query(statement)
    load([row(2), row(3)])
    found = place.query(
        f"SELECT id, ratio, price, zip FROM {place.from_clause('orders')} WHERE id > 1 ORDER BY 1"
    )
    assert found == [(n, n + 0.25, Decimal("1.234567"), "02139") for n in (2, 3)]
    assert place.column("orders", "seen") == [AT] * 3 or column == "seen"


@pytest.mark.parametrize("place", ["duckdb"], indirect=True)
def test_a_type_that_holds_all_values_is_taken(place: Place, load: Load) -> None:
    load([row(1)])
    for column, kind in (("count", "DECIMAL(38,9)"), ("ratio", "VARCHAR"), ("id", "BIGINT")):
        place.query(f"ALTER TABLE {place.from_clause('orders')} ALTER COLUMN {column} TYPE {kind}")
    load([row(2)])
    assert place.count("orders") == 2


@pytest.mark.parametrize(
    ("column", "kind"),
    [("count", "smallint"), pytest.param("zip", "varchar(5)", marks=pytest.mark.nightly)],
)
@pytest.mark.parametrize(
    "place", [pytest.param("postgres", marks=pytest.mark.xdist_group("postgres"))], indirect=True
)
def test_a_column_that_a_value_does_not_fit_is_named(
    place: Place, load: Load, column: str, kind: str
) -> None:
    """PostgreSQL says `smallint out of range`."""
    load([row(1)])
    table = place.from_clause("orders")
    place.query(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE {kind}")
    with pytest.raises(RunError) as error:
        load([{**row(2), "count": 70_000, "zip": "longer"}])
    hint = str(error.value.hint)
    assert f"(it is {kind})" in hint
    place.query(hint.split("back by ")[1].split(" (it is")[0])
    load([])
    assert place.column("orders", column)[1] == {"count": 70_000, "zip": "longer"}[column]
