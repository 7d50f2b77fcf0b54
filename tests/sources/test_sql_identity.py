"""A table that is another one than before is read from its beginning, and takes its place."""

from __future__ import annotations

import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.places import Place
from services.postgres import Postgres
from sources.sql_kit import MERGING, SqlProject, sqlite_project

MADE = "CREATE TABLE orders (id int PRIMARY KEY, at timestamptz, items jsonb)"


@pytest.fixture(name="project")
def of_postgres(sql_of_postgres: SqlProject) -> SqlProject:
    return sql_of_postgres


def insert(project: SqlProject, *rows: tuple[int, str, str]) -> None:
    for row in rows:
        project.execute("INSERT INTO orders VALUES (%s, %s, %s)", *row)


def orders(project: SqlProject) -> list[tuple[Any, ...]]:
    """Ids with the values of their items, which hang on them."""
    orders, items = map(project.place.from_clause, ("orders", "orders__items"))
    return project.place.query(
        f"SELECT o.id, i.value FROM {orders} AS o LEFT JOIN {items} AS i "
        "ON i._dlt_parent_id = o._dlt_id ORDER BY 1, 2"
    )


@pytest.mark.nightly_on("postgres", "bigquery")
@MERGING
def test_a_table_that_is_made_anew_is_read_whole(project: SqlProject) -> None:
    project.execute(MADE)
    insert(project, (1, "2024-05-01", "[1]"), (2, "2024-05-02", "[2, 3]"))
    project.define("orders", settings={"orders": {"cursor": "at"}})
    project.run()
    project.execute("DROP TABLE orders")
    project.execute(MADE)
    insert(project, (2, "2023-01-01", "[4]"), (5, "2023-01-02", "[5, 6]"))
    assert "table orders: earlier runs read another table" in project.run()
    assert orders(project) == [(2, 4), (5, 5), (5, 6)]
    # from then on by the cursor of the new one
    project.execute("UPDATE orders SET items = '[]'")
    insert(project, (1, "2023-01-03", "[7]"))
    assert "another table" not in project.run()
    assert orders(project) == [(1, 7), (2, 4), (5, None)]
    project.execute("ALTER TABLE orders RENAME TO former")
    project.execute(MADE.replace("orders", "new_orders"))
    project.execute("ALTER TABLE new_orders RENAME TO orders")
    assert "another table" in project.run()
    assert orders(project) == []


@pytest.mark.parametrize("place", ["duckdb"], indirect=True)
@pytest.mark.parametrize("settings", [{}, {"cursor": "at"}])
def test_another_database_takes_the_place_of_the_first(
    project: SqlProject, postgres_server: Postgres, settings: dict[str, str]
) -> None:
    project.execute(MADE)
    insert(project, (1, "2024-05-01", "[1]"), (2, "2024-05-02", "[2]"))
    project.define("orders", settings={"orders": settings})
    project.run()
    # another address of the same one
    project.url += "?application_name=other"
    project.url = project.url.replace("127.0.0.1", "localhost")
    project.define("orders", settings={"orders": settings})
    assert "another table" not in project.run()
    other = postgres_server.new_database()
    postgres_server.query(other, MADE)
    postgres_server.query(other, "INSERT INTO orders VALUES (2, '2023-01-01', '[3]')")
    project.url = postgres_server.url(other)
    project.define("orders", settings={"orders": settings})
    assert "another table" in project.run()
    assert orders(project) == [(2, 3)]


@pytest.mark.parametrize("place", ["duckdb"], indirect=True)
def test_appended_rows_of_another_table_stay(project: SqlProject) -> None:
    project.execute(MADE)
    insert(project, (1, "2024-05-01", "[1]"))
    settings = {"orders": {"cursor": "at", "write_disposition": "append"}}
    project.define("orders", settings=settings)
    project.run()
    project.execute("DROP TABLE orders")
    project.execute(MADE)
    insert(project, (2, "2023-01-01", "[2]"))
    assert "the rows are loaded by `append`" in project.run()
    assert orders(project) == [(1, 1), (2, 2)]


def test_a_file_of_sqlite_is_known_from_the_project_on(
    duckdb_place: Place,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = sqlite_project(duckdb_place, capsys, monkeypatch)
    table = "CREATE TABLE orders (id INTEGER PRIMARY KEY, n INTEGER)"
    project.execute(table)
    project.execute("INSERT INTO orders VALUES (1, 10)")
    project.define("orders", settings={"orders": {"cursor": "n"}})
    project.run()
    project.url = f"sqlite:///{project.place.project}/source.db"
    project.define("orders", settings={"orders": {"cursor": "n"}})
    assert "another table" not in project.run()
    with sqlite3.connect(project.place.project / "other.db") as other:
        other.execute(table)
        other.execute("INSERT INTO orders VALUES (2, 5)")
    other.close()
    project.url = "sqlite:///other.db"
    project.define("orders", settings={"orders": {"cursor": "n"}})
    assert "another table" in project.run()
    assert project.rows("id, n", "orders") == [(2, 5)]


@pytest.mark.parametrize("place", ["duckdb"], indirect=True)
def test_columns_that_get_a_wider_type_take_their_new_rows(project: SqlProject) -> None:
    project.execute("CREATE TABLE orders (id int PRIMARY KEY, n int, price numeric(5, 2))")
    project.execute("INSERT INTO orders VALUES (1, 10, 1.25), (2, 9, 2.5)")
    project.define("orders", settings={"orders": {"cursor": "n"}})
    project.run()
    project.execute("ALTER TABLE orders ALTER n TYPE text, ALTER price TYPE numeric(12, 4)")
    project.execute("INSERT INTO orders VALUES (3, '1a', 12345.6789)")
    assert "the cursor `n` is text now" in project.run()
    prices = [
        (1, "10", Decimal("1.25")),
        (2, "9", Decimal("2.5")),
        (3, "1a", Decimal("12345.6789")),
    ]
    assert project.rows("id, n, price", "orders") == prices
    project.execute("INSERT INTO orders VALUES (4, 'b', 0)")
    assert "the cursor" not in project.run()
    assert project.rows("id, n, price", "orders") == [*prices, (4, "b", Decimal(0))]


def test_text_that_is_not_json_stays_text(
    duckdb_place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = sqlite_project(duckdb_place, capsys, monkeypatch)
    project.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, doc TEXT)")
    project.execute("""INSERT INTO orders VALUES (1, '{"n": 1}'), (2, '{bad'), (3, NULL)""")
    project.define("orders", settings={"orders": {"types": {"doc": "nested"}}})
    project.run()
    assert project.rows("id, doc__n, doc", "orders") == [
        (1, 1, None),
        (2, None, "{bad"),
        (3, None, None),
    ]


@pytest.mark.nightly_on("postgres", "bigquery")
@MERGING
def test_a_table_that_gets_a_key_takes_the_place_of_its_rows_without(project: SqlProject) -> None:
    """They have no value of the key, and would stay beside those that have."""
    project.execute("CREATE TABLE orders (at timestamptz, items jsonb)")
    project.execute("INSERT INTO orders VALUES ('2024-05-01', '[1]'), ('2024-05-02', '[2, 3]')")
    project.define("orders")
    project.run()
    project.execute("ALTER TABLE orders ADD COLUMN id serial PRIMARY KEY")
    said = project.run()
    assert "table orders: it has a primary key now" in said
    assert "never replaced" not in said
    assert orders(project) == [(1, 1), (2, 2), (2, 3)]
    project.execute("UPDATE orders SET items = '[4]' WHERE id = 1")
    project.execute("DELETE FROM orders WHERE id = 2")
    assert "it has a primary key now" not in project.run()
    assert orders(project) == [(1, 4), (2, 2), (2, 3)]
