"""Rows of Millstream's own tables, appended by statements or by dlt, come back as they were."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from millstream.common import metadata_tables
from millstream.config import TargetConfig
from millstream.destinations import build
from services.places import Place

NAME = "_millstream_notes"
COLUMNS = {"pipeline": "text", "number": "bigint", "at": "timestamp", "share": "double"}
AT = datetime(2024, 2, 29, 23, 59, 59, 123456, tzinfo=timezone.utc)


def rows(first: int, count: int = 1, **more: Any) -> list[dict[str, Any]]:
    given = {"pipeline": 'it\'s 100 % \\ "名前"', "at": AT, "share": None, **more}
    return [{"number": number, **given} for number in range(first, first + count)]


@pytest.mark.parametrize("kind", ["duckdb_place", "postgres_place"])
def test_rows_come_back(kind: str, request: pytest.FixtureRequest) -> None:
    place: Place = request.getfixturevalue(kind)
    config = TargetConfig.model_validate(
        {"name": "shop", "project": place.project, "destination": place.destination}
    )
    wider = {**COLUMNS, "is_new": "bool"}
    expected = []
    for columns, added in [
        (COLUMNS, rows(0)),  # makes the table
        (COLUMNS, rows(1, 250, share=0.1)),
        (COLUMNS, rows(251, pipeline="a\0b")),
        (wider, rows(252, is_new=True)),
        (wider, rows(253, is_new=False)),
    ]:
        metadata_tables.append(
            build(config), config.dataset, "notes", {NAME: added}, {NAME: columns}
        )
        expected += [{"is_new": None, **row} for row in added]
    expected[251]["pipeline"] = "a\N{SYMBOL FOR NULL}b"
    found = metadata_tables.read(build(config), config.dataset, "notes", NAME, wider, {})
    assert sorted(found, key=lambda row: row["number"]) == expected


@pytest.mark.parametrize("kind", ["duckdb_place", "postgres_place"])
def test_rows_of_several_tables_come_together(kind: str, request: pytest.FixtureRequest) -> None:
    """Tables that are missing are made first; what is refused leaves no row in any table."""
    place: Place = request.getfixturevalue(kind)
    config = TargetConfig.model_validate(
        {"name": "shop", "project": place.project, "destination": place.destination}
    )
    names = [NAME, "_millstream_others"]

    def append(first: int, **more: Any) -> None:
        tables = {name: rows(first, **more) for name in names}
        columns = dict.fromkeys(names, COLUMNS)
        metadata_tables.append(build(config), config.dataset, "notes", tables, columns)

    def numbers() -> list[list[Any]]:
        return [place.column(name, "number", "number") for name in names]

    append(0)
    place.query(f"DROP TABLE {place.from_clause(names[1])}")
    append(1, pipeline="half a pair: \ud800")
    assert numbers() == [[0, 1], [1]]
    place.query(f"ALTER TABLE {place.from_clause(names[1])} DROP COLUMN share")
    append(2)
    assert numbers() == [[0, 1, 2], [1, 2]]
    assert place.column(NAME, "pipeline", "number")[1] == "half a pair: \N{REPLACEMENT CHARACTER}"
    place.query(f"CREATE UNIQUE INDEX one ON {place.from_clause(names[1])} (number)")
    with pytest.raises(Exception, match=r"(?i)unique|duplicate"):
        append(2)
    assert numbers() == [[0, 1, 2], [1, 2]]
