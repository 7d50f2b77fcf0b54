"""What somebody took out of the destination, or put there: the stream goes on."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from behaviour.conftest import Load
from behaviour.feed import FEED
from millstream.config import DltConfig
from millstream.errors import ConfigError, RunError
from services.places import Place


@pytest.fixture(
    params=["duckdb", pytest.param("postgres", marks=pytest.mark.xdist_group("postgres"))]
)
def place(request: pytest.FixtureRequest) -> Place:
    made: Place = request.getfixturevalue(f"{request.param}_place")
    return made


@pytest.mark.nightly_on("postgres")
@pytest.mark.parametrize("disposition", ["append", "merge"])
def test_what_was_removed_is_made_again(place: Place, load: Load, disposition: str) -> None:
    def row(number: int) -> dict[str, Any]:
        return {"id": number, "price": number, "items": [{"n": number, "tags": ["a"]}]}

    load([row(1)], disposition=disposition)
    for statement in (
        f"DROP TABLE {place.from_clause('orders__items__tags')}",
        f"ALTER TABLE {place.from_clause('orders')} DROP COLUMN price",
    ):
        place.query(statement)
    with pytest.raises(RunError) as error:
        load([row(2)], disposition=disposition)
    assert "no longer had `orders.price`, `orders__items__tags`" in str(error.value.hint)
    load([row(3)], disposition=disposition)
    rows = [(1, None), (2, 2), (3, 3)]
    assert place.query(f"SELECT id, price FROM {place.from_clause('orders')} ORDER BY 1") == rows
    assert place.column("orders__items", "n", "n") == [1, 2, 3]
    assert place.count("orders__items__tags") == 2


def test_history_that_was_removed_is_made_again(place: Place, load: Load) -> None:
    changes = "_millstream_schema_changes"
    load([{"id": 1}])
    place.query(f"DROP TABLE {place.from_clause('_millstream_loads')}")
    place.query(
        f"ALTER TABLE {place.from_clause('_millstream_profiles')} DROP COLUMN distinct_count"
    )
    for number in (2, 3):
        assert not load([{"id": number, f"new_{number}": 1}]).warnings
    assert place.count("_millstream_loads") == 2
    assert place.column(changes, "column_name", "column_name").count("new_2") == 1
    there = place.from_clause("_millstream_loads")
    place.query(f"ALTER TABLE {there} RENAME TO kept")
    kept = place.from_clause("kept")
    place.query(f"CREATE VIEW {there} AS SELECT DISTINCT * FROM {kept}")  # takes no rows
    (warning,) = load([{"id": 4, "new_4": 1}]).warnings
    assert "the schema's history was not written" in warning
    assert place.count("orders") == 4
    assert "new_4" not in place.column(changes, "column_name", "column_name")


def test_columns_of_the_history_that_were_removed_are_made_again(place: Place, load: Load) -> None:
    """Those by which the next run looks for loads that died, and those of which it counts."""
    lost = ("loads.seconds", "loads.stream", "profiles.pipeline", "schema_changes.stream")
    for number, each in enumerate((*lost, "profiles.nulls", "profiles.sketch")):
        load([{"id": number, f"new_{number}": 1}])
        table, column = each.split(".")
        there = place.from_clause(f"_millstream_{table}")
        place.query(f"ALTER TABLE {there} DROP COLUMN {column}")
    for number in (6, 7):
        assert not load([{"id": number, f"new_{number}": 1}]).warnings
    assert place.column("orders", "id") == [*range(8)]
    named = place.column("_millstream_schema_changes", "column_name", "column_name")
    assert [name for name in named if str(name).startswith("new_")] == [
        f"new_{number}" for number in range(1, 8)
    ]


@pytest.mark.nightly_on("postgres")
@pytest.mark.parametrize(
    ("disposition", "lost"),
    [
        ("merge", ("orders__items._dlt_root_id", "orders._dlt_load_id")),
        ("merge", ("orders__items__tags._dlt_root_id", "orders__items._dlt_parent_id")),
        ("append", ("orders__items._dlt_parent_id", "orders._dlt_load_id")),
        ("merge", ("orders._dlt_id",)),
    ],
)
def test_columns_that_may_not_be_null_are_made_again(
    place: Place, load: Load, disposition: str, lost: tuple[str, ...]
) -> None:
    """dlt would add them as such, which no table with rows accepts: the stream would stick."""

    def rows(*numbers: int) -> list[dict[str, Any]]:
        return [{"id": n, "items": [{"n": n, "tags": ["a", "b"]}]} for n in numbers]

    load(rows(1, 2), disposition=disposition)
    for each in lost:
        table, column = each.split(".")
        place.query(f"ALTER TABLE {place.from_clause(table)} DROP COLUMN {column}")
    with pytest.raises(RunError) as error:
        load(rows(2, 3), disposition=disposition)
    for each in lost:
        assert f"`{each}`" in str(error.value.hint)
    load([], disposition=disposition)
    if len(lost) == 2 and disposition == "merge":  # what links the rows follows from the others
        assert linked(place) == [(n, tag) for n in (1, 2, 3) for tag in ("a", "b")]
    load(rows(1, 2, 3), disposition=disposition, full_refresh=True)
    assert linked(place) == [(n, tag) for n in (1, 2, 3) for tag in ("a", "b")]
    assert [place.count(each) for each in ("orders", "orders__items", "orders__items__tags")] == [
        3,
        3,
        6,
    ]


@pytest.mark.parametrize("disposition", ["append", "merge"])
def test_a_column_that_someone_made_and_that_may_not_be_null(
    place: Place, load: Load, disposition: str
) -> None:
    """One that DuckDB's errors have in quotes."""
    load([{"id": 1}], disposition=disposition)
    table = place.from_clause("orders")
    place.query(f"ALTER TABLE {table} ADD COLUMN name INT DEFAULT 0")
    place.query(f"ALTER TABLE {table} ALTER COLUMN name SET NOT NULL")
    place.query(f"ALTER TABLE {table} ALTER COLUMN name DROP DEFAULT")
    with pytest.raises(RunError) as error:
        load([{"id": 2}], disposition=disposition)
    hint = str(error.value.hint)
    assert "nothing for `name`, which may not be null in the destination's `orders`" in hint
    place.query(f'ALTER TABLE {table} ALTER COLUMN "name" DROP NOT NULL')  # as the hint says
    load([], disposition=disposition)
    assert place.column("orders", "id") == [1, 2]


def test_a_column_that_was_renamed_in_case_alone_is_made_again(place: Place, load: Load) -> None:
    """PostgreSQL tells `Price` from `price`, where dlt does not; to DuckDB they are one column."""
    load([{"id": 1, "price": 1}])
    place.query(f'ALTER TABLE {place.from_clause("orders")} RENAME COLUMN price TO "Price"')
    if place.kind == "postgres":
        with pytest.raises(RunError, match="load failed"):
            load([{"id": 2, "price": 2}])
    load([{"id": 2, "price": 2}])
    assert place.column("orders", "price") == [None if place.kind == "postgres" else 1, 2]


@pytest.mark.parametrize("table", ["_dlt_pipeline_state", "_dlt_loads"])
def test_a_table_of_dlt_that_was_removed_is_made_again(
    place: Place, load: Load, table: str
) -> None:
    load([{"id": 1, "changed": 1}], source=_since())
    place.query(f"DROP TABLE {place.from_clause(table)}")
    with pytest.raises(RunError) as error:
        load([{"id": 2, "changed": 2}], source=_since())
    assert f"no longer had `{table}`" in str(error.value.hint)
    load([], source=_since())
    assert FEED.cursor == 2  # type: ignore[attr-defined]
    assert place.column("orders", "id") == [1, 2]


@pytest.mark.parametrize("place", ["filesystem"], indirect=True)
def test_folders_of_files_that_were_removed_are_made_again(place: Place, load: Load) -> None:
    def row(number: int) -> dict[str, Any]:
        return {"id": number, "items": [{"n": number}]}

    load([row(1)], disposition="append")
    for table in ("orders__items", "_dlt_pipeline_state"):
        shutil.rmtree(place.full_name(table))
    with pytest.raises(RunError) as error:
        load([row(2)], disposition="append")
    assert "no longer had `_dlt_pipeline_state`" in str(error.value.hint)
    load([row(3)], disposition="append")
    assert place.column("orders", "id") == [1, 2, 3]
    assert place.column("orders__items", "n", "n") == [2, 3]


def test_a_stream_that_appends_is_not_read_again_when_its_cursor_is_gone(
    place: Place, load: Load
) -> None:
    """`_dlt_loads` may be kept short by someone: dlt takes the state of listed loads alone."""
    appended = _since("append")
    load([{"id": 1, "changed": 1}], source=appended)
    state, loads = map(place.from_clause, ("_dlt_pipeline_state", "_dlt_loads"))
    place.query(f"DELETE FROM {loads}")
    with pytest.raises(ConfigError, match="the rows of `orders` doubled") as error:
        load([{"id": 1, "changed": 1}], source=appended)
    statement, _, _ = str(error.value.hint).partition(" lets it go on")
    place.query(statement)
    assert not load([{"id": 1, "changed": 1}, {"id": 2, "changed": 2}], source=appended).warnings
    assert place.column("orders", "id") == [1, 2]
    place.query(f"DELETE FROM {state}")
    with pytest.raises(ConfigError, match="doubled") as error:
        load([{"id": 2, "changed": 2}], source=appended)
    assert "INSERT" not in str(error.value.hint)
    (warning,) = load([{"id": 2, "changed": 2}], source=_since()).warnings
    assert "read from its start" in warning


def _since(disposition: str = "merge") -> DltConfig:
    return DltConfig(path="behaviour.feed:since", arguments={"write_disposition": disposition})


def linked(place: Place) -> list[tuple[int, str]]:
    return place.query(
        f"SELECT o.id, t.value FROM {place.from_clause('orders')} AS o "
        f"JOIN {place.from_clause('orders__items')} AS i ON i._dlt_parent_id = o._dlt_id "
        f"JOIN {place.from_clause('orders__items__tags')} AS t ON t._dlt_parent_id = i._dlt_id "
        "ORDER BY 1, 2"
    )
