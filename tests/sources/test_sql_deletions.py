"""`deletes: snapshot`: rows that are gone from the source's table go from the destination's."""

from __future__ import annotations

from typing import Any

import pytest

from services.places import Place
from sources.sql_kit import MERGING, SqlProject, sqlite_project


@pytest.fixture(name="project")
def of_postgres(sql_of_postgres: SqlProject) -> SqlProject:
    return sql_of_postgres


def orders(project: SqlProject) -> list[tuple[Any, ...]]:
    """Ids and names with the values of their items, which hang on them."""
    orders, items = map(project.place.from_clause, ("orders", "orders__items"))
    return project.place.query(
        f"SELECT o.id, o.name, i.value FROM {orders} AS o LEFT JOIN {items} AS i "
        "ON i._dlt_parent_id = o._dlt_id ORDER BY 1, 3"
    )


def left_items(project: SqlProject) -> int:
    return project.place.count("orders__items")


SNAPSHOT = {"orders": {"cursor": "at", "deletes": "snapshot"}}


@pytest.mark.nightly_on("bigquery", "postgres")
@MERGING
def test_rows_that_are_gone_go(project: SqlProject) -> None:
    """With their child rows; beside rows that are new or changed, or were deleted and came back."""
    project.execute(
        "CREATE TABLE orders (id int PRIMARY KEY, name text, at timestamptz, items jsonb)"
    )
    for number in range(1, 6):
        project.execute(
            "INSERT INTO orders VALUES (%s, %s, %s, %s)",
            *(number, f"n{number}", f"2024-05-0{number}", f"[{number}, 0]"),
        )
    project.define("orders", settings=SNAPSHOT)
    project.run()
    project.execute("DELETE FROM orders WHERE id IN (2, 5)")
    project.execute("UPDATE orders SET name = 'other', at = '2024-06-01' WHERE id = 3")
    project.execute("INSERT INTO orders VALUES (9, 'n9', '2024-06-02', '[9]')")
    project.run()
    assert orders(project) == [
        (1, "n1", 0),
        (1, "n1", 1),
        (3, "other", 0),
        (3, "other", 3),
        (4, "n4", 0),
        (4, "n4", 4),
        (9, "n9", 9),
    ]
    assert left_items(project) == 7
    project.execute("INSERT INTO orders VALUES (2, 'again', '2024-06-03', '[]')")
    project.execute("DELETE FROM orders WHERE id = 1")
    project.run()
    assert [row[:2] for row in orders(project) if row[0] < 3] == [(2, "again")]
    project.execute("DELETE FROM orders")
    assert "of 4 loaded rows none is there any more; nothing was deleted" in project.run()
    assert len({row[0] for row in orders(project)}) == 4
    project.run("--full-refresh")
    assert orders(project) == []


@pytest.mark.nightly_on("postgres")
@pytest.mark.parametrize(
    "place",
    ["duckdb", pytest.param("postgres", marks=pytest.mark.xdist_group("postgres"))],
    indirect=True,
)
def test_a_table_that_was_created_again(project: SqlProject) -> None:
    """Its rows replace those of the table before: none is left to be taken out."""

    def create(*ids: int) -> None:
        project.execute("CREATE TABLE orders (id int PRIMARY KEY, name text)")
        for number in ids:
            project.execute("INSERT INTO orders VALUES (%s, 'x')", number)

    create(1, 2, 3, 4)
    project.define("orders", settings={"orders": {"deletes": "snapshot"}})
    project.run()
    project.execute("DROP TABLE orders")
    create(3, 4, 5)
    assert "replaces the rows in the destination" in project.run()
    assert project.rows("id, name", "orders") == [(3, "x"), (4, "x"), (5, "x")]
    project.execute("DELETE FROM orders WHERE id = 3")
    project.run()
    assert project.rows("id, name", "orders") == [(4, "x"), (5, "x")]


@pytest.mark.parametrize("place", ["duckdb"], indirect=True)
def test_a_cursor_that_is_new(project: SqlProject) -> None:
    """It is where the rows are, not where those that are gone would put it."""
    project.execute("CREATE TABLE orders (id int PRIMARY KEY, at int)")
    project.execute("INSERT INTO orders SELECT i, i FROM generate_series(1, 9) AS i")
    project.define("orders")
    project.run()
    project.define("orders", settings={"orders": {"cursor": "at", "lag": 1, "deletes": "snapshot"}})
    for number, read in ((1, 9), (2, 3)):
        project.execute("DELETE FROM orders WHERE id = %s", number)
        project.execute("INSERT INTO orders VALUES (%s, %s)", number + 9, number + 9)
        said = project.run()
        assert f"orders: extract: orders {read + 1}" in said
        assert [row[0] for row in project.rows("id", "orders")] == [*range(number + 1, number + 10)]


@pytest.mark.nightly
@pytest.mark.parametrize(
    "place",
    ["duckdb", pytest.param("postgres", marks=pytest.mark.xdist_group("postgres"))],
    indirect=True,
)
def test_a_key_with_another_column(project: SqlProject) -> None:
    project.execute("CREATE TABLE orders (id int PRIMARY KEY)")
    project.execute("INSERT INTO orders VALUES (1), (2)")
    project.define("orders", settings={"orders": {"deletes": "snapshot"}})
    project.run()
    project.execute("ALTER TABLE orders DROP CONSTRAINT orders_pkey")
    project.execute(
        "ALTER TABLE orders ADD part int NOT NULL DEFAULT 0, ADD PRIMARY KEY (id, part)"
    )
    project.run()
    assert "2 loaded rows without a value in the key" in project.run()
    project.run("--full-refresh")
    project.execute("DELETE FROM orders WHERE id = 1")
    project.run()
    assert project.rows("id, part", "orders") == [(2, 0)]


@pytest.mark.nightly
@pytest.mark.parametrize(
    "place",
    ["duckdb", pytest.param("postgres", marks=pytest.mark.xdist_group("postgres"))],
    indirect=True,
)
def test_keys_with_a_nul(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which PostgreSQL has as another character."""
    project = sqlite_project(place, capsys, monkeypatch)
    project.execute("CREATE TABLE orders (id TEXT PRIMARY KEY, n INTEGER)")
    for number, key in enumerate(("a\0b", "a", "\0")):
        project.execute("INSERT INTO orders VALUES (?, ?)", key, number)
    project.define("orders", settings={"orders": {"deletes": "snapshot"}})
    project.run()
    project.run()
    assert [row[0] for row in project.rows("n", "orders")] == [0, 1, 2]
    project.execute("DELETE FROM orders WHERE n = 0")
    project.run()
    assert [row[0] for row in project.rows("n", "orders")] == [1, 2]


@pytest.mark.parametrize("place", ["duckdb"], indirect=True)
def test_keys_of_several_columns_and_types(project: SqlProject) -> None:
    """Each key is that of the destination, whatever its type: no other row goes."""
    project.execute(
        "CREATE TABLE orders (day date, at timestamptz, local timestamp, code uuid, total "
        "numeric(20, 4), label text, raw bytea, big bigint, rate float8, n int, "
        "PRIMARY KEY (day, at, local, code, total, label, raw, big, rate))"
    )
    for number in range(4):
        project.execute(
            "INSERT INTO orders VALUES ('2024-05-01', %s, '2024-05-01 10:00:00.123456', "
            "'00000000-0000-0000-0000-00000000000a', 1.50, %s, '\\x00ff', "
            "9007199254740993, 'NaN', 1)",
            *(f"1960-05-01 10:00:00.00000{number}+02", f" ž'{number}"),
        )
    project.define("orders", settings={"orders": {"deletes": "snapshot"}})
    project.run()
    project.run()
    assert len(project.rows("n", "orders")) == 4
    project.execute("DELETE FROM orders WHERE label LIKE '%%2'")
    project.run()
    assert [row[0] for row in project.rows("label", "orders")] == [" ž'0", " ž'1", " ž'3"]


@pytest.mark.parametrize("place", ["duckdb"], indirect=True)
def test_what_it_is_refused_for(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = sqlite_project(place, capsys, monkeypatch)
    project.execute("CREATE TABLE free (id INTEGER, name TEXT)")
    project.execute("CREATE TABLE taken (id INTEGER PRIMARY KEY, _deleted TEXT)")
    project.define(
        "free", "taken", settings={n: {"deletes": "snapshot"} for n in ("free", "taken")}
    )
    said = project.run(fails=True)
    assert "this table has no primary key" in said
    assert "has a column '_deleted', which `deletes: snapshot` needs for itself" in said


@pytest.mark.parametrize("place", ["filesystem"], indirect=True)
def test_files_can_not_lose_rows(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = sqlite_project(place, capsys, monkeypatch)
    project.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    project.execute("INSERT INTO orders VALUES (1)")
    project.define("orders", settings={"orders": {"deletes": "snapshot"}})
    assert "rows that are gone can't be taken out of filesystem" in project.run(fails=True)
